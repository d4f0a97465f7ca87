variable "project_name" {
  description = "Begins the name of every resource."
  type        = string
}

variable "account_id" {
  description = "Account whose jobs may mount the file system."
  type        = string
}

variable "vpc_id" {
  description = "Network of the file system."
  type        = string
}

variable "subnet_ids" {
  description = "Subnets of the jobs, by zone; each gets a mount target."
  type        = map(string)
}

variable "client_security_group_id" {
  description = "Security group of the hosts that mount the file system."
  type        = string
}
