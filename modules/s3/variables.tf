variable "project_name" {
  description = "Begins the name of every bucket."
  type        = string
}

variable "account_id" {
  description = "Account, part of the names of buckets."
  type        = string
}

variable "aws_region" {
  description = "Region, part of the names of buckets."
  type        = string
}

variable "package_folder" {
  description = "Folder of the Python package splatworks, whose contract is uploaded with the stages."
  type        = string
}

variable "stages_folder" {
  description = "Folder of the stage scripts, uploaded under stages/."
  type        = string
}

variable "examples_folder" {
  description = "Folder of the example scripts, uploaded under examples/."
  type        = string
}

variable "checkpoint_retention_days" {
  description = "Days after which checkpoints are deleted."
  type        = number
}

variable "run_retention_days" {
  description = "Days after which the outputs of runs are deleted; 0 keeps them forever."
  type        = number
}

variable "start_on_upload" {
  description = "Tell EventBridge of what is uploaded to the input bucket."
  type        = bool
}

variable "force_destroy" {
  description = "Let terraform destroy delete buckets that are not empty."
  type        = bool
}
