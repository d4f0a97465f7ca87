resource "aws_ecr_repository" "image" {
  #checkov:skip=CKV_AWS_51:"latest" has to move, so that a push reaches the next job without another apply; each push has its own tag too.
  #checkov:skip=CKV_AWS_136:Encrypted with AES-256; a key of our own would add a price per pull.
  for_each = { gpu = "ml-python", cpu = "ml-python-slim" }

  name         = "${var.project_name}-${each.value}"
  force_delete = var.force_destroy

  image_scanning_configuration {
    scan_on_push = true
  }
}

resource "aws_ecr_lifecycle_policy" "image" {
  for_each = aws_ecr_repository.image

  repository = each.value.name

  policy = jsonencode({
    rules = [
      {
        rulePriority = 1
        description  = "What lost its tag is superseded"
        selection    = { tagStatus = "untagged", countType = "sinceImagePushed", countUnit = "days", countNumber = 7 }
        action       = { type = "expire" }
      },
      {
        rulePriority = 2
        description  = "The last five builds are enough to go back to"
        selection    = { tagStatus = "any", countType = "imageCountMoreThan", countNumber = 5 }
        action       = { type = "expire" }
      },
    ]
  })
}

locals {
  images = {
    for type, settings in local.compute :
    type => settings.image != "" ? settings.image : "${aws_ecr_repository.image[type].repository_url}:latest"
  }
}
