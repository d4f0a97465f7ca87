output "trigger_topic_arn" {
  description = "Topic that messages are published to."
  value       = aws_sns_topic.trigger.arn
}

output "notification_topic_arn" {
  description = "Topic that e-mails are published to."
  value       = aws_sns_topic.notification.arn
}

output "notification_key_arn" {
  description = "Key that whoever publishes e-mails must be able to use."
  value       = aws_kms_key.notification.arn
}
