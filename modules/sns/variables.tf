variable "project_name" {
  description = "Begins the name of every topic."
  type        = string
}

variable "account_id" {
  description = "Account whose alarms may publish."
  type        = string
}

variable "notification_emails" {
  description = "Addresses that get the e-mails."
  type        = list(string)
}
