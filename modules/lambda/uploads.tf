# Upload that starts a pipeline -> dispatcher; only with start_on_upload.

locals {
  upload_rule_name = "${var.project_name}-ml-upload"
}

resource "aws_cloudwatch_event_rule" "upload" {
  count = var.start_on_upload ? 1 : 0

  name        = local.upload_rule_name
  description = "Photos are complete in ${var.input_bucket.name}: photos/<scene>/_READY, or photos/<scene>.zip"

  event_pattern = jsonencode({
    source      = ["aws.s3"]
    detail-type = ["Object Created"]
    detail = {
      bucket = { name = [var.input_bucket.name] }
      # .zip and .ZIP start a run, .Zip does not: only suffix takes an end in any case, and it cannot be had with a folder.
      object = { key = [{ wildcard = "photos/*/_READY" }, { wildcard = "photos/*.zip" }, { wildcard = "photos/*.ZIP" }] }
    }
  })
}

resource "aws_cloudwatch_event_target" "upload" {
  count = var.start_on_upload ? 1 : 0

  rule      = aws_cloudwatch_event_rule.upload[0].name
  target_id = "dispatcher"
  arn       = aws_lambda_function.dispatcher.arn

  retry_policy {
    maximum_event_age_in_seconds = 21600
    maximum_retry_attempts       = 20
  }

  dead_letter_config {
    arn = aws_sqs_queue.trigger_dlq.arn
  }

  # An event without permission goes straight to the dead-letter queue.
  depends_on = [aws_lambda_permission.upload]
}

resource "aws_lambda_permission" "upload" {
  count = var.start_on_upload ? 1 : 0

  statement_id  = "Upload"
  action        = "lambda:InvokeFunction"
  function_name = aws_lambda_function.dispatcher.function_name
  principal     = "events.amazonaws.com"
  source_arn    = aws_cloudwatch_event_rule.upload[0].arn
}
