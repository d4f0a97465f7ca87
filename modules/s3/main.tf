# Three buckets: what goes in, what comes out, and models that jobs only read.

terraform {
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "~> 5.100"
    }
  }
}

locals {
  buckets = toset(["input", "output", "models"])
}

resource "aws_s3_bucket" "data" {
  #checkov:skip=CKV_AWS_18:Access logs of a one-team bucket cost more than they tell; CloudTrail has them where they are wanted.
  #checkov:skip=CKV_AWS_21:Input and models are versioned; the output is not, because progress and checkpoints are overwritten all the time.
  #checkov:skip=CKV_AWS_144:Results can be computed again; a copy in another region would double the price of storage.
  #checkov:skip=CKV_AWS_145:SSE-S3 encrypts everything; a key of our own would add a price per request and keep nobody out whom IAM lets in.
  #checkov:skip=CKV2_AWS_62:Jobs start on a message; where they start on an upload, the input bucket tells EventBridge below.
  for_each = local.buckets

  # The account and the region make the name unique in the world.
  bucket        = "${var.project_name}-ml-${each.key}-${var.account_id}-${var.aws_region}"
  force_destroy = var.force_destroy
}

resource "aws_s3_bucket_public_access_block" "data" {
  for_each = local.buckets

  bucket                  = aws_s3_bucket.data[each.key].id
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

resource "aws_s3_bucket_ownership_controls" "data" {
  for_each = local.buckets

  bucket = aws_s3_bucket.data[each.key].id

  rule {
    object_ownership = "BucketOwnerEnforced"
  }
}

resource "aws_s3_bucket_server_side_encryption_configuration" "data" {
  for_each = local.buckets

  bucket = aws_s3_bucket.data[each.key].id

  rule {
    apply_server_side_encryption_by_default {
      sse_algorithm = "AES256"
    }
  }
}

data "aws_iam_policy_document" "tls_only" {
  for_each = local.buckets

  statement {
    sid       = "TlsOnly"
    effect    = "Deny"
    actions   = ["s3:*"]
    resources = [aws_s3_bucket.data[each.key].arn, "${aws_s3_bucket.data[each.key].arn}/*"]

    principals {
      type        = "*"
      identifiers = ["*"]
    }

    condition {
      test     = "Bool"
      variable = "aws:SecureTransport"
      values   = ["false"]
    }
  }
}

resource "aws_s3_bucket_policy" "tls_only" {
  for_each = local.buckets

  bucket = aws_s3_bucket.data[each.key].id
  policy = data.aws_iam_policy_document.tls_only[each.key].json

  # S3 refuses two changes of a bucket's access at once.
  depends_on = [aws_s3_bucket_public_access_block.data]
}

resource "aws_s3_bucket_notification" "input" {
  count = var.start_on_upload ? 1 : 0

  bucket      = aws_s3_bucket.data["input"].bucket
  eventbridge = true
}

# An overwritten photo or model can be had back for 30 days.
resource "aws_s3_bucket_versioning" "data" {
  for_each = toset(["input", "models"])

  bucket = aws_s3_bucket.data[each.key].id

  versioning_configuration {
    status = "Enabled"
  }
}

resource "aws_s3_bucket_lifecycle_configuration" "versioned" {
  for_each = toset(["input", "models"])

  bucket = aws_s3_bucket.data[each.key].id

  rule {
    id     = "old-versions"
    status = "Enabled"

    filter {}

    noncurrent_version_expiration {
      noncurrent_days = 30
    }

    abort_incomplete_multipart_upload {
      days_after_initiation = 7
    }
  }

  # Rules for old versions need versioning to be on.
  depends_on = [aws_s3_bucket_versioning.data]
}

resource "aws_s3_bucket_lifecycle_configuration" "output" {
  bucket = aws_s3_bucket.data["output"].id

  rule {
    id     = "broken-uploads"
    status = "Enabled"

    filter {}

    abort_incomplete_multipart_upload {
      days_after_initiation = 7
    }
  }

  rule {
    id     = "checkpoints"
    status = "Enabled"

    filter {
      prefix = "checkpoints/"
    }

    expiration {
      days = var.checkpoint_retention_days
    }
  }

  rule {
    id     = "runs"
    status = var.run_retention_days > 0 ? "Enabled" : "Disabled"

    filter {
      prefix = "runs/"
    }

    expiration {
      days = max(var.run_retention_days, 1) # S3 takes no 0, not even in a rule that is off
    }
  }

  # Where results lie. Ends before they do: a run that finds one must have it until it has ended itself.
  rule {
    id     = "reuse"
    status = var.run_retention_days > 0 ? "Enabled" : "Disabled"

    filter {
      prefix = "reuse/"
    }

    expiration {
      days = max(var.run_retention_days - 2, 1)
    }
  }
}
