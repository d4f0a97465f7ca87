# --- Project ---

variable "project_name" {
  description = "Begins the name of every resource."
  type        = string
}

variable "account_id" {
  description = "Account that the functions run in."
  type        = string
}

variable "aws_region" {
  description = "Region that the functions run in."
  type        = string
}

variable "zip_path" {
  description = "The zip that make lambda builds; holds both functions."
  type        = string
}

# --- What comes in and goes out ---

variable "trigger_topic_arn" {
  description = "Topic whose messages start jobs."
  type        = string
}

variable "notification_topic_arn" {
  description = "Topic that e-mails are published to."
  type        = string
}

variable "notification_key_arn" {
  description = "Key of the notification topic."
  type        = string
}

variable "input_bucket" {
  description = "Bucket of scripts and photos."
  type        = object({ name = string, arn = string })
}

variable "output_bucket" {
  description = "Bucket of requests, results and checkpoints."
  type        = object({ name = string, arn = string })
}

variable "models_bucket" {
  description = "Bucket of pretrained models."
  type        = object({ name = string, arn = string })
}

variable "extra_buckets" {
  description = "Names of further buckets that an input may name."
  type        = list(string)
}

variable "start_on_upload" {
  description = "Also start pipelines when photos/<scene>/_READY or photos/<scene>.zip is uploaded to the input bucket."
  type        = bool
}

# --- Jobs ---

variable "compute" {
  description = "What each compute type runs on and what it can hold."
  type = map(object({
    queue           = string
    on_demand_queue = string
    job_definition  = string
    vcpus           = number
    memory          = number
    gpus            = number
    max_vcpus       = number
    instances       = list(object({ type = string, vcpus = number, memory = number, gpus = number }))
    image           = string
  }))
}

variable "repository_arns" {
  description = "Image repositories whose digests the dispatcher may ask for."
  type        = list(string)
}

variable "queue_arns" {
  description = "All queues: the dispatcher submits to them, the monitor reports their jobs."
  type        = list(string)
}

variable "job_definition_names" {
  description = "Names of the job definitions that the dispatcher submits, by compute type."
  type        = map(string)
}

variable "retry_rules" {
  description = "Rules of a retry, in order, as AWS Batch takes them."
  type        = list(map(string))
}

variable "cancelled_reasons" {
  description = "Reasons for which the queues cancel a job that cannot start; of the others the monitor tells."
  type        = list(string)
}

variable "job_attempts" {
  description = "Attempts of a job whose message does not say."
  type        = number
}

variable "job_timeout_seconds" {
  description = "Seconds per attempt of a job whose message does not say."
  type        = number
}

variable "job_log_group" {
  description = "Log group of the jobs."
  type        = object({ name = string, arn = string })
}

variable "log_retention_days" {
  description = "Days that the logs of the functions are kept."
  type        = number
}
