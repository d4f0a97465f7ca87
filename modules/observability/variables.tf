variable "aws_region" {
  description = "Region of the queues, named in the e-mails of alarms."
  type        = string
}

variable "notification_topic_arn" {
  description = "Topic that alarms publish to."
  type        = string
}

variable "trigger_dlq_name" {
  description = "Name of the queue of refused messages."
  type        = string
}

variable "monitor_dlq_name" {
  description = "Name of the queue of events that could not be reported."
  type        = string
}
