# What the functions cannot tell about themselves: a message or an event that nobody handled.

terraform {
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "~> 5.100"
    }
  }
}

locals {
  dead_letter_queues = {
    trigger = {
      queue   = var.trigger_dlq_name
      meaning = "A message was refused or could not be handled, and no job runs for it. It is kept for 14 days."
    }
    monitor = {
      queue   = var.monitor_dlq_name
      meaning = "A job ended and its e-mail could not be sent. The event is kept for 14 days."
    }
  }
}

resource "aws_cloudwatch_metric_alarm" "dead_letters" {
  for_each = local.dead_letter_queues

  # What is sent, not what lies there: refused messages stay for days, and an alarm that is on already tells of nothing new.
  alarm_name          = "${each.value.queue}-not-empty"
  alarm_description   = "${each.value.meaning} Read it: aws sqs receive-message --region ${var.aws_region} --queue-url $(aws sqs get-queue-url --region ${var.aws_region} --queue-name ${each.value.queue} --output text)"
  namespace           = "AWS/SQS"
  metric_name         = "NumberOfMessagesSent"
  dimensions          = { QueueName = each.value.queue }
  statistic           = "Sum"
  comparison_operator = "GreaterThanThreshold"
  threshold           = 0
  period              = 300
  evaluation_periods  = 1
  treat_missing_data  = "notBreaching"
  alarm_actions       = [var.notification_topic_arn]
}
