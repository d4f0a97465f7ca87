# Two topics: messages that start jobs come in at one, e-mails about jobs and alarms go out at the other.

terraform {
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "~> 5.100"
    }
  }
}

# Only people and programs with an identity of this account publish here, which the AWS-managed key allows.
resource "aws_sns_topic" "trigger" {
  name              = "${var.project_name}-trigger-events"
  kms_master_key_id = "alias/aws/sns"
}

resource "aws_sns_topic" "notification" {
  name              = "${var.project_name}-notifications"
  kms_master_key_id = aws_kms_key.notification.arn
}

resource "aws_sns_topic_subscription" "email" {
  for_each = toset(var.notification_emails)

  topic_arn = aws_sns_topic.notification.arn
  protocol  = "email"
  endpoint  = each.value
}

# --- Who may publish ---

data "aws_iam_policy_document" "trigger_topic" {
  statement {
    sid       = "TlsOnly"
    effect    = "Deny"
    actions   = ["sns:Publish"]
    resources = [aws_sns_topic.trigger.arn]

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

resource "aws_sns_topic_policy" "trigger" {
  arn    = aws_sns_topic.trigger.arn
  policy = data.aws_iam_policy_document.trigger_topic.json
}

data "aws_iam_policy_document" "notification_topic" {
  statement {
    sid       = "Alarms"
    actions   = ["sns:Publish"]
    resources = [aws_sns_topic.notification.arn]

    principals {
      type        = "Service"
      identifiers = ["cloudwatch.amazonaws.com"]
    }

    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [var.account_id]
    }
  }

  statement {
    sid       = "TlsOnly"
    effect    = "Deny"
    actions   = ["sns:Publish"]
    resources = [aws_sns_topic.notification.arn]

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

resource "aws_sns_topic_policy" "notification" {
  arn    = aws_sns_topic.notification.arn
  policy = data.aws_iam_policy_document.notification_topic.json
}

# --- Key of the notification topic ---

# AWS services cannot publish to a topic that is encrypted with the AWS-managed key: it does not let them in, and
# its policy cannot be changed. An alarm would then be lost without a trace.
data "aws_partition" "current" {}

data "aws_iam_policy_document" "notification_key" {
  #checkov:skip=CKV_AWS_109:In the policy of a key, "*" means this key; the account's own IAM decides.
  #checkov:skip=CKV_AWS_111:In the policy of a key, "*" means this key; the account's own IAM decides.
  #checkov:skip=CKV_AWS_356:In the policy of a key, "*" means this key.
  statement {
    sid       = "Account"
    actions   = ["kms:*"]
    resources = ["*"]

    principals {
      type        = "AWS"
      identifiers = ["arn:${data.aws_partition.current.partition}:iam::${var.account_id}:root"]
    }
  }

  # No condition on the account here: the topic's policy has it, and not every service names itself towards KMS.
  statement {
    sid       = "Alarms"
    actions   = ["kms:Decrypt", "kms:GenerateDataKey*"]
    resources = ["*"]

    principals {
      type        = "Service"
      identifiers = ["cloudwatch.amazonaws.com"]
    }
  }
}

resource "aws_kms_key" "notification" {
  description             = "${var.project_name}: e-mails about jobs and alarms"
  policy                  = data.aws_iam_policy_document.notification_key.json
  enable_key_rotation     = true
  deletion_window_in_days = 7
}

resource "aws_kms_alias" "notification" {
  name          = "alias/${var.project_name}-notifications"
  target_key_id = aws_kms_key.notification.key_id
}
