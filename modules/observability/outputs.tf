output "alarm_names" {
  description = "Names of the alarms."
  value       = values(aws_cloudwatch_metric_alarm.dead_letters)[*].alarm_name
}
