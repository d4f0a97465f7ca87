# Two functions from one zip: dispatcher.tf turns messages into jobs (uploads.tf: uploads too), monitor.tf turns the ends
# of jobs into e-mails.
# Here is what they share.

terraform {
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "~> 5.100"
    }
  }
}

locals {
  runtime      = "python3.13"
  architecture = "arm64" # the zip is pure Python; arm64 costs a fifth less

  zip_exists   = fileexists(var.zip_path)
  zip_hash     = local.zip_exists ? filebase64sha256(var.zip_path) : null
  zip_is_there = "There is no ${var.zip_path}, which holds the Lambda functions. Build it first: make lambda"

  environment = {
    PROJECT_NAME                 = var.project_name
    OUTPUT_BUCKET                = var.output_bucket.name
    NOTIFICATION_TOPIC_ARN       = var.notification_topic_arn
    TRIGGER_TOPIC_ARN            = var.trigger_topic_arn
    IDEMPOTENCY_TABLE            = aws_dynamodb_table.idempotency.name
    POWERTOOLS_METRICS_NAMESPACE = var.project_name
    POWERTOOLS_LOG_LEVEL         = "INFO"
  }
}

data "aws_partition" "current" {}

# What was handled already, so that a message that comes twice starts one job and an event that comes twice sends one e-mail.
resource "aws_dynamodb_table" "idempotency" {
  #checkov:skip=CKV_AWS_28:Records live for 14 days and mean nothing afterwards: nothing to restore.
  #checkov:skip=CKV_AWS_119:Encrypted with the key that AWS owns; it holds ids of messages, no content of anyone's.
  name         = "${var.project_name}-ml-idempotency"
  billing_mode = "PAY_PER_REQUEST"
  hash_key     = "id"

  attribute {
    name = "id"
    type = "S"
  }

  ttl {
    attribute_name = "expiration"
    enabled        = true
  }
}

data "aws_iam_policy_document" "assume" {
  statement {
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["lambda.amazonaws.com"]
    }
  }
}
