mock_provider "aws" {
  override_during = plan
}

variables {
  aws_region             = "us-east-1"
  notification_topic_arn = "arn:aws:sns:us-east-1:123456789012:demo-notifications"
  trigger_dlq_name       = "demo-ml-trigger-dlq"
  monitor_dlq_name       = "demo-ml-monitor-dlq"
}

run "a_dead_letter_sends_an_email" {
  command = plan

  assert {
    condition     = toset([for alarm in aws_cloudwatch_metric_alarm.dead_letters : alarm.dimensions.QueueName]) == toset(["demo-ml-trigger-dlq", "demo-ml-monitor-dlq"])
    error_message = "Both dead-letter queues are watched."
  }

  assert {
    condition = alltrue([
      for alarm in aws_cloudwatch_metric_alarm.dead_letters :
      alarm.alarm_actions == toset([var.notification_topic_arn]) && alarm.threshold == 0 && alarm.comparison_operator == "GreaterThanThreshold" && alarm.evaluation_periods == 1
    ])
    error_message = "One message is enough, and someone hears of it."
  }

  assert {
    condition     = alltrue([for alarm in aws_cloudwatch_metric_alarm.dead_letters : alarm.metric_name == "NumberOfMessagesSent" && alarm.statistic == "Sum" && alarm.treat_missing_data == "notBreaching"])
    error_message = "The second letter is told of as well as the first, which may lie there for days; an idle queue reports nothing, and that is no alarm."
  }

  assert {
    condition     = alltrue([for alarm in aws_cloudwatch_metric_alarm.dead_letters : length(alarm.alarm_description) <= 1024 && strcontains(alarm.alarm_description, "aws sqs receive-message")])
    error_message = "The e-mail says how to read the message."
  }
}
