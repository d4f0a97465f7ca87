output "trigger_dlq_url" {
  description = "Queue of refused messages."
  value       = aws_sqs_queue.trigger_dlq.url
}

output "trigger_dlq_name" {
  description = "Name of the queue of refused messages."
  value       = aws_sqs_queue.trigger_dlq.name
}

output "monitor_dlq_url" {
  description = "Queue of events that could not be reported."
  value       = aws_sqs_queue.monitor_dlq.url
}

output "monitor_dlq_name" {
  description = "Name of the queue of events that could not be reported."
  value       = aws_sqs_queue.monitor_dlq.name
}

output "dispatcher_name" {
  description = "Name of the function that turns messages into jobs."
  value       = aws_lambda_function.dispatcher.function_name
}

output "monitor_name" {
  description = "Name of the function that turns the ends of jobs into e-mails."
  value       = aws_lambda_function.monitor.function_name
}

output "dispatcher_log_group" {
  description = "Log group of the dispatcher."
  value       = aws_cloudwatch_log_group.dispatcher.name
}

output "monitor_log_group" {
  description = "Log group of the monitor."
  value       = aws_cloudwatch_log_group.monitor.name
}
