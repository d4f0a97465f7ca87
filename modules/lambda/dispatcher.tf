# Message on the trigger topic -> checked request -> job.

resource "aws_lambda_function" "dispatcher" {
  #checkov:skip=CKV_AWS_50:One function between a topic and a queue: the log tells what a trace would.
  #checkov:skip=CKV_AWS_115:Reserving concurrency takes it from the account's other functions; the queue's max vCPUs bound the cost.
  #checkov:skip=CKV_AWS_117:It calls AWS APIs only; in a VPC it would need a NAT gateway or six endpoints.
  #checkov:skip=CKV_AWS_173:The environment holds names and sizes, no secrets.
  #checkov:skip=CKV_AWS_272:The zip is built from this checkout, by whoever applies it.
  function_name    = "${var.project_name}-ml-trigger-dispatcher"
  description      = "Submits the job that a message on the trigger topic asks for"
  role             = aws_iam_role.dispatcher.arn
  runtime          = local.runtime
  architectures    = [local.architecture]
  handler          = "dispatcher.handler"
  filename         = var.zip_path
  source_code_hash = local.zip_hash
  memory_size      = 512
  timeout          = 60

  environment {
    variables = local.dispatcher_environment
  }

  dead_letter_config {
    target_arn = aws_sqs_queue.trigger_dlq.arn
  }

  # Lambda checks when the function is made that its role can write to the dead-letter queue.
  depends_on = [aws_iam_role_policy.dispatcher, aws_cloudwatch_log_group.dispatcher]

  lifecycle {
    precondition {
      condition     = local.zip_exists
      error_message = local.zip_is_there
    }

    precondition {
      condition     = length(jsonencode(local.dispatcher_environment)) <= 4096
      error_message = "The settings of the dispatcher take ${length(jsonencode(local.dispatcher_environment))} bytes, Lambda allows 4096: list fewer instance types or extra_input_buckets."
    }
  }
}

locals {
  dispatcher_environment = merge(local.environment, {
    POWERTOOLS_SERVICE_NAME = "dispatcher"
    INPUT_BUCKET            = var.input_bucket.name
    MODELS_BUCKET           = var.models_bucket.name
    EXTRA_INPUT_BUCKETS     = jsonencode(var.extra_buckets)
    COMPUTE                 = jsonencode(var.compute)
    RETRY_RULES             = jsonencode(var.retry_rules)
    JOB_ATTEMPTS            = tostring(var.job_attempts)
    JOB_TIMEOUT_SECONDS     = tostring(var.job_timeout_seconds)
    TRIGGER_DLQ_URL         = aws_sqs_queue.trigger_dlq.url
  })
}

resource "aws_cloudwatch_log_group" "dispatcher" {
  #checkov:skip=CKV_AWS_158:CloudWatch encrypts all logs; a key of our own would add a price and a way to lose them.
  name              = "/aws/lambda/${var.project_name}-ml-trigger-dispatcher"
  retention_in_days = var.log_retention_days
}

# --- In: the trigger topic ---

resource "aws_lambda_permission" "trigger_topic" {
  statement_id  = "TriggerTopic"
  action        = "lambda:InvokeFunction"
  function_name = aws_lambda_function.dispatcher.function_name
  principal     = "sns.amazonaws.com"
  source_arn    = var.trigger_topic_arn
}

resource "aws_sns_topic_subscription" "dispatcher" {
  topic_arn = var.trigger_topic_arn
  protocol  = "lambda"
  endpoint  = aws_lambda_function.dispatcher.arn

  # What is published before the permission is there would be lost.
  depends_on = [aws_lambda_permission.trigger_topic]
}

# --- Out: refused messages, and those that failed three times ---

locals {
  trigger_dlq_name = "${var.project_name}-ml-trigger-dlq"
  trigger_dlq_arn  = "arn:${data.aws_partition.current.partition}:sqs:${var.aws_region}:${var.account_id}:${local.trigger_dlq_name}"
}

resource "aws_sqs_queue" "trigger_dlq" {
  name                      = local.trigger_dlq_name
  message_retention_seconds = 1209600 # 14 days, SQS's maximum
  sqs_managed_sse_enabled   = true
  policy                    = data.aws_iam_policy_document.trigger_dlq.json
}

data "aws_iam_policy_document" "trigger_dlq" {
  dynamic "statement" {
    for_each = var.start_on_upload ? [local.upload_rule_name] : []

    content {
      sid       = "UndeliveredUploads"
      actions   = ["sqs:SendMessage"]
      resources = [local.trigger_dlq_arn]

      principals {
        type        = "Service"
        identifiers = ["events.amazonaws.com"]
      }

      condition {
        test     = "ArnEquals"
        variable = "aws:SourceArn"
        values   = ["arn:${data.aws_partition.current.partition}:events:${var.aws_region}:${var.account_id}:rule/${statement.value}"]
      }
    }
  }

  statement {
    sid       = "TlsOnly"
    effect    = "Deny"
    actions   = ["sqs:*"]
    resources = [local.trigger_dlq_arn]

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

resource "aws_iam_role" "dispatcher" {
  name               = "${var.project_name}-ml-trigger-dispatcher"
  assume_role_policy = data.aws_iam_policy_document.assume.json
}

locals {
  batch_arn = "arn:${data.aws_partition.current.partition}:batch:${var.aws_region}:${var.account_id}"

  # With and without revision: a message is submitted under the revision of its time.
  job_definition_arns = flatten([
    for name in values(var.job_definition_names) : ["${local.batch_arn}:job-definition/${name}", "${local.batch_arn}:job-definition/${name}:*"]
  ])

  # The images of the jobs may come from repositories of this account that are not ours.
  described_repository_arns = distinct(concat(var.repository_arns, flatten([
    for settings in values(var.compute) : [
      for name in regexall("^${var.account_id}\\.dkr\\.ecr\\.${var.aws_region}\\.amazonaws\\.com(?:\\.cn)?/([^:@]+):", settings.image) :
      "arn:${data.aws_partition.current.partition}:ecr:${var.aws_region}:${var.account_id}:repository/${name[0]}"
    ]
  ])))

  input_bucket_arns = concat(
    [var.input_bucket.arn, var.output_bucket.arn, var.models_bucket.arn],
    [for name in var.extra_buckets : "arn:${data.aws_partition.current.partition}:s3:::${name}"],
  )
}

data "aws_iam_policy_document" "dispatcher" {
  statement {
    sid       = "Submit"
    actions   = ["batch:SubmitJob"]
    resources = concat(var.queue_arns, local.job_definition_arns)
  }

  statement {
    sid       = "TagWhatIsSubmitted"
    actions   = ["batch:TagResource"]
    resources = concat(["${local.batch_arn}:job/*"], var.queue_arns, local.job_definition_arns)
  }

  statement {
    sid       = "FindWhatWasSubmitted"
    actions   = ["batch:ListJobs", "batch:DescribeJobs"]
    resources = ["*"]
  }

  # Listing tells "not there" from "not allowed", and an empty input from a full one.
  statement {
    sid       = "ListInputs"
    actions   = ["s3:ListBucket"]
    resources = local.input_bucket_arns
  }

  statement {
    sid       = "SeeScripts"
    actions   = ["s3:GetObject"]
    resources = [for prefix in ["stages", "jobs", "examples"] : "${var.input_bucket.arn}/${prefix}/*"]
  }

  statement {
    sid       = "WriteRequests"
    actions   = ["s3:GetObject", "s3:PutObject"]
    resources = ["${var.output_bucket.arn}/runs/*"]
  }

  statement {
    sid       = "FindEarlierResults"
    actions   = ["s3:GetObject"]
    resources = ["${var.output_bucket.arn}/reuse/*"]
  }

  # Lists of scenes, which may lie wherever an input may, and the options beside an upload.
  statement {
    sid       = "ReadListsAndOptions"
    actions   = ["s3:GetObject"]
    resources = [for arn in local.input_bucket_arns : "${arn}/*.json"]
  }

  # What a tag points to today: the same script in another image is another result.
  statement {
    sid       = "ImageDigests"
    actions   = ["ecr:DescribeImages"]
    resources = local.described_repository_arns
  }

  statement {
    sid       = "RunWithNothingToDo"
    actions   = ["events:PutEvents"]
    resources = ["arn:${data.aws_partition.current.partition}:events:${var.aws_region}:${var.account_id}:event-bus/default"]

    condition {
      test     = "StringEquals"
      variable = "events:source"
      values   = [var.project_name]
    }
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
    sid       = "KeepRefused"
    actions   = ["sqs:SendMessage"]
    resources = [aws_sqs_queue.trigger_dlq.arn]
  }

  statement {
    sid       = "Log"
    actions   = ["logs:CreateLogStream", "logs:PutLogEvents"]
    resources = ["${aws_cloudwatch_log_group.dispatcher.arn}:*"]
  }
}

resource "aws_iam_role_policy" "dispatcher" {
  name   = "dispatch"
  role   = aws_iam_role.dispatcher.id
  policy = data.aws_iam_policy_document.dispatcher.json
}
