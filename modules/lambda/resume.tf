# auto_resume: a message that the monitor has EventBridge Scheduler publish to the trigger topic, once, after a while.

resource "aws_scheduler_schedule_group" "resume" {
  name = local.resume_group_name
}

# Names, not references: the monitor's policy and the role's trust name what is made later.
locals {
  resume_group_name = "${var.project_name}-ml-resume"
  scheduler_arn     = "arn:${data.aws_partition.current.partition}:scheduler:${var.aws_region}:${var.account_id}"
}

# As this role the scheduler publishes. It encrypts schedules with a key of AWS; they hold a key of run.json, no content.
resource "aws_iam_role" "resume" {
  name               = "${var.project_name}-ml-resume"
  description        = "Publishes the messages that resume runs"
  assume_role_policy = data.aws_iam_policy_document.assume_resume.json
}

data "aws_iam_policy_document" "assume_resume" {
  statement {
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["scheduler.amazonaws.com"]
    }

    # No other account, and no other group of schedules.
    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [var.account_id]
    }

    condition {
      test     = "ArnEquals"
      variable = "aws:SourceArn"
      values   = ["${local.scheduler_arn}:schedule-group/${local.resume_group_name}"]
    }
  }
}

data "aws_iam_policy_document" "resume" {
  statement {
    sid       = "Publish"
    actions   = ["sns:Publish"]
    resources = [var.trigger_topic_arn]
  }
}

resource "aws_iam_role_policy" "resume" {
  name   = "publish"
  role   = aws_iam_role.resume.id
  policy = data.aws_iam_policy_document.resume.json
}
