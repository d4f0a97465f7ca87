# A job that cannot start -> e-mail. Its queue cancels it for some reasons; for the others it would wait for ever, and all
# jobs behind it.

locals {
  blocked_rule_name = "${var.project_name}-ml-queue-blocked"
}

resource "aws_cloudwatch_event_rule" "queue_blocked" {
  name        = local.blocked_rule_name
  description = "A job at the head of a queue of ${var.project_name} cannot start"

  event_pattern = jsonencode({
    source      = ["aws.batch"]
    detail-type = ["Batch Job Queue Blocked"]
    detail      = { jobQueue = var.queue_arns }
  })
}

resource "aws_cloudwatch_event_target" "queue_blocked" {
  rule      = aws_cloudwatch_event_rule.queue_blocked.name
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
  depends_on = [aws_lambda_permission.queue_blocked]
}

resource "aws_lambda_permission" "queue_blocked" {
  statement_id  = "QueueBlocked"
  action        = "lambda:InvokeFunction"
  function_name = aws_lambda_function.monitor.function_name
  principal     = "events.amazonaws.com"
  source_arn    = aws_cloudwatch_event_rule.queue_blocked.arn
}
