# End of a job -> facts -> e-mail.

resource "aws_lambda_function" "monitor" {
  #checkov:skip=CKV_AWS_50:One function between a rule and a topic: the log tells what a trace would.
  #checkov:skip=CKV_AWS_115:Reserving concurrency takes it from the account's other functions.
  #checkov:skip=CKV_AWS_117:It calls AWS APIs only; in a VPC it would need a NAT gateway or six endpoints.
  #checkov:skip=CKV_AWS_173:The environment holds names, no secrets.
  #checkov:skip=CKV_AWS_272:The zip is built from this checkout, by whoever applies it.
  function_name    = "${var.project_name}-ml-job-monitor"
  description      = "Sends the e-mail that says how a job ended"
  role             = aws_iam_role.monitor.arn
  runtime          = local.runtime
  architectures    = [local.architecture]
  handler          = "monitor.handler"
  filename         = var.zip_path
  source_code_hash = local.zip_hash
  memory_size      = 1024 # processor time comes with memory, and a run of 10,000 scenes has a minute
  timeout          = 60

  environment {
    variables = merge(local.environment, {
      POWERTOOLS_SERVICE_NAME = "monitor"
      JOB_LOG_GROUP           = var.job_log_group.name
      LINK_ROLE_ARN           = aws_iam_role.run_links.arn
      CANCELLED_REASONS       = jsonencode(var.cancelled_reasons)
      RESUME_GROUP            = aws_scheduler_schedule_group.resume.name
      RESUME_ROLE_ARN         = aws_iam_role.resume.arn
    })
  }

  dead_letter_config {
    target_arn = aws_sqs_queue.monitor_dlq.arn
  }

  # Lambda checks when the function is made that its role can write to the dead-letter queue.
  depends_on = [aws_iam_role_policy.monitor, aws_iam_role_policy.run_links, aws_cloudwatch_log_group.monitor]

  lifecycle {
    precondition {
      condition     = local.zip_exists
      error_message = local.zip_is_there
    }
  }
}

resource "aws_cloudwatch_log_group" "monitor" {
  #checkov:skip=CKV_AWS_158:CloudWatch encrypts all logs; a key of our own would add a price and a way to lose them.
  name              = "/aws/lambda/${var.project_name}-ml-job-monitor"
  retention_in_days = var.log_retention_days
}

# --- In: jobs of our queues that ended, and runs that needed none ---

resource "aws_cloudwatch_event_rule" "job_ended" {
  name        = local.rule_name
  description = "A job of ${var.project_name} succeeded or failed"

  event_pattern = jsonencode({
    source      = ["aws.batch"]
    detail-type = ["Batch Job State Change"]
    detail = {
      status   = ["SUCCEEDED", "FAILED"]
      jobQueue = var.queue_arns
      # The parts of an array have an index. Ten thousand of them that end at once would keep the e-mail of the whole waiting.
      arrayProperties = { index = [{ exists = false }] }
    }
  })
}

resource "aws_cloudwatch_event_target" "monitor" {
  rule      = aws_cloudwatch_event_rule.job_ended.name
  target_id = "monitor"
  arn       = aws_lambda_function.monitor.arn

  retry_policy {
    maximum_event_age_in_seconds = 21600
    maximum_retry_attempts       = 20
  }

  dead_letter_config {
    arn = aws_sqs_queue.monitor_dlq.arn
  }

  # An event without permission goes straight to the dead-letter queue.
  depends_on = [aws_lambda_permission.job_ended]
}

resource "aws_lambda_permission" "job_ended" {
  statement_id  = "JobEnded"
  action        = "lambda:InvokeFunction"
  function_name = aws_lambda_function.monitor.function_name
  principal     = "events.amazonaws.com"
  source_arn    = aws_cloudwatch_event_rule.job_ended.arn
}

resource "aws_cloudwatch_event_rule" "run_settled" {
  name        = local.settled_rule_name
  description = "A run of ${var.project_name} found all its results in earlier runs, so that no job of it will end"

  event_pattern = jsonencode({
    source      = [var.project_name]
    detail-type = ["Pipeline Run Settled"]
  })
}

resource "aws_cloudwatch_event_target" "run_settled" {
  rule      = aws_cloudwatch_event_rule.run_settled.name
  target_id = "monitor"
  arn       = aws_lambda_function.monitor.arn

  retry_policy {
    maximum_event_age_in_seconds = 21600
    maximum_retry_attempts       = 20
  }

  dead_letter_config {
    arn = aws_sqs_queue.monitor_dlq.arn
  }

  depends_on = [aws_lambda_permission.run_settled]
}

resource "aws_lambda_permission" "run_settled" {
  statement_id  = "RunSettled"
  action        = "lambda:InvokeFunction"
  function_name = aws_lambda_function.monitor.function_name
  principal     = "events.amazonaws.com"
  source_arn    = aws_cloudwatch_event_rule.run_settled.arn
}

# --- Out: events that could not be reported ---

# Names, not references: the queue takes half a minute to make and should not wait for the job queues as well.
locals {
  rule_name         = "${var.project_name}-ml-job-ended"
  settled_rule_name = "${var.project_name}-ml-run-settled"
  monitor_dlq_name  = "${var.project_name}-ml-monitor-dlq"
  monitor_dlq_arn   = "arn:${data.aws_partition.current.partition}:sqs:${var.aws_region}:${var.account_id}:${local.monitor_dlq_name}"
}

resource "aws_sqs_queue" "monitor_dlq" {
  name                      = local.monitor_dlq_name
  message_retention_seconds = 1209600 # 14 days, SQS's maximum
  sqs_managed_sse_enabled   = true
  policy                    = data.aws_iam_policy_document.monitor_dlq.json
}

data "aws_iam_policy_document" "monitor_dlq" {
  statement {
    sid       = "UndeliveredEvents"
    actions   = ["sqs:SendMessage"]
    resources = [local.monitor_dlq_arn]

    principals {
      type        = "Service"
      identifiers = ["events.amazonaws.com"]
    }

    condition {
      test     = "ArnEquals"
      variable = "aws:SourceArn"
      values = [
        for rule in [local.rule_name, local.settled_rule_name, local.blocked_rule_name] :
        "arn:${data.aws_partition.current.partition}:events:${var.aws_region}:${var.account_id}:rule/${rule}"
      ]
    }
  }

  statement {
    sid       = "TlsOnly"
    effect    = "Deny"
    actions   = ["sqs:*"]
    resources = [local.monitor_dlq_arn]

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

# --- What it may do ---

resource "aws_iam_role" "monitor" {
  name               = "${var.project_name}-ml-job-monitor"
  assume_role_policy = data.aws_iam_policy_document.assume.json
}

data "aws_iam_policy_document" "monitor" {
  statement {
    sid       = "FindJobs"
    actions   = ["batch:ListJobs", "batch:DescribeJobs"]
    resources = ["*"]
  }

  # Listing tells "not there" from "not allowed", and a job without output from one with.
  statement {
    sid       = "ListResults"
    actions   = ["s3:ListBucket"]
    resources = [var.output_bucket.arn]
  }

  statement {
    sid       = "ReadResults"
    actions   = ["s3:GetObject"]
    resources = ["${var.output_bucket.arn}/runs/*"]
  }

  # What an e-mail has no room for: the table of a sweep, the scenes that failed, a long message. No result is touched.
  statement {
    sid       = "WriteTables"
    actions   = ["s3:PutObject"]
    resources = [for name in ["leaderboard.csv", "failed.json", "continue.json"] : "${var.output_bucket.arn}/runs/*/${name}"]
  }

  statement {
    sid       = "ScheduleResumptions"
    actions   = ["scheduler:CreateSchedule"]
    resources = ["${local.scheduler_arn}:schedule/${local.resume_group_name}/*"]
  }

  statement {
    sid       = "PublishThemAsTheirRole"
    actions   = ["iam:PassRole"]
    resources = [aws_iam_role.resume.arn]

    condition {
      test     = "StringEquals"
      variable = "iam:PassedToService"
      values   = ["scheduler.amazonaws.com"]
    }
  }

  statement {
    sid       = "SignLinks"
    actions   = ["sts:AssumeRole"]
    resources = [aws_iam_role.run_links.arn]
  }

  statement {
    sid       = "ReadJobLogs"
    actions   = ["logs:GetLogEvents"]
    resources = ["${var.job_log_group.arn}:*"]
  }

  statement {
    sid       = "Once"
    actions   = ["dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:UpdateItem", "dynamodb:DeleteItem"]
    resources = [aws_dynamodb_table.idempotency.arn]
  }

  statement {
    sid       = "Email"
    actions   = ["sns:Publish"]
    resources = [var.notification_topic_arn]
  }

  statement {
    sid       = "EncryptEmail"
    actions   = ["kms:Decrypt", "kms:GenerateDataKey"]
    resources = [var.notification_key_arn]
  }

  statement {
    sid       = "KeepUnreported"
    actions   = ["sqs:SendMessage"]
    resources = [aws_sqs_queue.monitor_dlq.arn]
  }

  statement {
    sid       = "Log"
    actions   = ["logs:CreateLogStream", "logs:PutLogEvents"]
    resources = ["${aws_cloudwatch_log_group.monitor.arn}:*"]
  }
}

resource "aws_iam_role_policy" "monitor" {
  name   = "monitor"
  role   = aws_iam_role.monitor.id
  policy = data.aws_iam_policy_document.monitor.json
}

# --- What a link in an e-mail may do ---

# Whoever has such a link acts as this role until it expires, on the one file that the link names.
resource "aws_iam_role" "run_links" {
  name                 = "${var.project_name}-ml-run-links"
  description          = "Signs the links to results in the e-mails about runs"
  max_session_duration = 3600 # AWS gives no more to a role that a role assumes
  assume_role_policy   = data.aws_iam_policy_document.assume_run_links.json
}

data "aws_iam_policy_document" "assume_run_links" {
  statement {
    actions = ["sts:AssumeRole"]

    principals {
      type        = "AWS"
      identifiers = [aws_iam_role.monitor.arn]
    }
  }
}

data "aws_iam_policy_document" "run_links" {
  statement {
    sid       = "ReadResults"
    actions   = ["s3:GetObject"]
    resources = ["${var.output_bucket.arn}/runs/*"]
  }
}

resource "aws_iam_role_policy" "run_links" {
  name   = "read"
  role   = aws_iam_role.run_links.id
  policy = data.aws_iam_policy_document.run_links.json
}
