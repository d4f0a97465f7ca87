data "aws_iam_policy_document" "assume" {
  for_each = toset(["ec2", "ecs-tasks"])

  statement {
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["${each.key}.amazonaws.com"]
    }
  }
}

# --- Host: joins the cluster ---

resource "aws_iam_role" "host" {
  name               = "${var.project_name}-ml-host"
  assume_role_policy = data.aws_iam_policy_document.assume["ec2"].json
}

resource "aws_iam_role_policy_attachment" "host" {
  role       = aws_iam_role.host.name
  policy_arn = "arn:${data.aws_partition.current.partition}:iam::aws:policy/service-role/AmazonEC2ContainerServiceforEC2Role"
}

resource "aws_iam_instance_profile" "host" {
  name = "${var.project_name}-ml-host"
  role = aws_iam_role.host.name
}

# --- Execution: pulls the image, opens the log ---

resource "aws_iam_role" "execution" {
  name               = "${var.project_name}-ml-execution"
  assume_role_policy = data.aws_iam_policy_document.assume["ecs-tasks"].json
}

data "aws_iam_policy_document" "execution" {
  statement {
    sid       = "RegistryLogin"
    actions   = ["ecr:GetAuthorizationToken"]
    resources = ["*"]
  }

  # Any repository of the account: ml_container_image may name one that is not ours.
  statement {
    sid       = "Pull"
    actions   = ["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"]
    resources = ["arn:${data.aws_partition.current.partition}:ecr:*:${var.account_id}:repository/*"]
  }

  statement {
    sid       = "Log"
    actions   = ["logs:CreateLogStream", "logs:PutLogEvents"]
    resources = ["${aws_cloudwatch_log_group.jobs.arn}:*"]
  }
}

resource "aws_iam_role_policy" "execution" {
  name   = "pull-and-log"
  role   = aws_iam_role.execution.id
  policy = data.aws_iam_policy_document.execution.json
}

# --- Job: what the runner does ---

resource "aws_iam_role" "job" {
  name               = "${var.project_name}-ml-job"
  assume_role_policy = data.aws_iam_policy_document.assume["ecs-tasks"].json
}

locals {
  readable_bucket_arns = concat(
    [var.input_bucket.arn, var.output_bucket.arn, var.models_bucket.arn],
    [for name in var.extra_buckets : "arn:${data.aws_partition.current.partition}:s3:::${name}"],
  )
}

data "aws_iam_policy_document" "job" {
  statement {
    sid       = "List"
    actions   = ["s3:ListBucket"]
    resources = local.readable_bucket_arns
  }

  statement {
    sid       = "Read"
    actions   = ["s3:GetObject"]
    resources = [for arn in local.readable_bucket_arns : "${arn}/*"]
  }

  # Deleting too: a retry ends with its own files, and a checkpoint that a script has deleted must not come back.
  statement {
    sid       = "Write"
    actions   = ["s3:PutObject", "s3:AbortMultipartUpload", "s3:DeleteObject"]
    resources = ["${var.output_bucket.arn}/runs/*", "${var.output_bucket.arn}/checkpoints/*"]
  }

  # Where later jobs look for a result of the same content. Reading, and the copying of what is found, are allowed above.
  statement {
    sid       = "Record"
    actions   = ["s3:PutObject"]
    resources = ["${var.output_bucket.arn}/reuse/*"]
  }

  statement {
    sid       = "MountModels"
    actions   = ["elasticfilesystem:ClientMount", "elasticfilesystem:ClientWrite"]
    resources = [var.models_file_system.arn]

    condition {
      test     = "StringEquals"
      variable = "elasticfilesystem:AccessPointArn"
      values   = [var.models_file_system.access_point_arn]
    }
  }

  # For the machine type and the price in job.json. AWS Batch names its clusters after their compute environments.
  statement {
    sid     = "WhichHostAmIOn"
    actions = ["ecs:DescribeTasks", "ecs:DescribeContainerInstances"]
    resources = [
      for kind in ["task", "container-instance"] :
      "arn:${data.aws_partition.current.partition}:ecs:${var.aws_region}:${var.account_id}:${kind}/*${var.project_name}-ml-*/*"
    ]
  }

  statement {
    sid       = "WhatMachineAmI"
    actions   = ["ec2:DescribeInstances", "ec2:DescribeSpotPriceHistory"]
    resources = ["*"]

    condition {
      test     = "StringEquals"
      variable = "aws:RequestedRegion"
      values   = [var.aws_region]
    }
  }
}

resource "aws_iam_role_policy" "job" {
  name   = "run"
  role   = aws_iam_role.job.id
  policy = data.aws_iam_policy_document.job.json
}
