# The platform's own scripts, so that one apply gives a working platform. stages/ and examples/ are ours;
# jobs/ belongs to the users, but for the clean-up script, which its message looks for there.
# The stages bring their own copy of the contract, so that they need no package in the image.

locals {
  pattern = "**/*.{py,json,txt,html,js}"

  stages   = { for file in fileset(var.stages_folder, local.pattern) : "stages/${file}" => "${var.stages_folder}/${file}" }
  contract = { for file in setunion(fileset(var.package_folder, "__init__.py"), fileset(var.package_folder, "contract/**/*.py")) : "stages/splatworks/${file}" => "${var.package_folder}/${file}" }
  clean_up = { for file in fileset(var.stages_folder, "cleanup_processor.py") : "jobs/${file}" => "${var.stages_folder}/${file}" }
  examples = { for file in fileset(var.examples_folder, "*.py") : "examples/${file}" => "${var.examples_folder}/${file}" }

  scripts = {
    for key, file in merge(local.stages, local.contract, local.clean_up, local.examples) : key => file
    if !can(regex("(^|/)(tests|__pycache__)/|(^|/)test_[^/]*$", key))
  }

  content_types = {
    py   = "text/x-python"
    json = "application/json"
    txt  = "text/plain"
    html = "text/html"
    js   = "text/javascript"
  }
}

resource "aws_s3_object" "script" {
  for_each = local.scripts

  bucket       = aws_s3_bucket.data["input"].id
  key          = each.key
  source       = each.value
  source_hash  = filemd5(each.value)
  content_type = local.content_types[regex("[a-z]+$", each.key)]

  # Versioned from the first object on; and encrypted, and never public, not even for a moment.
  depends_on = [
    aws_s3_bucket_versioning.data,
    aws_s3_bucket_public_access_block.data,
    aws_s3_bucket_server_side_encryption_configuration.data,
  ]
}
