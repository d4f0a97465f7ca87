# --- Project ---

variable "project_name" {
  description = "Begins the name of every resource."
  type        = string
}

variable "account_id" {
  description = "Account that jobs run in."
  type        = string
}

variable "aws_region" {
  description = "Region that jobs run in."
  type        = string
}

# --- What jobs use ---

variable "subnet_ids" {
  description = "Subnets of the hosts."
  type        = list(string)
}

variable "security_group_id" {
  description = "Security group of the hosts."
  type        = string
}

variable "input_bucket" {
  description = "Bucket that jobs read scripts and photos from."
  type        = object({ name = string, arn = string })
}

variable "output_bucket" {
  description = "Bucket that jobs write results and checkpoints to."
  type        = object({ name = string, arn = string })
}

variable "models_bucket" {
  description = "Bucket that jobs read pretrained models from."
  type        = object({ name = string, arn = string })
}

variable "extra_buckets" {
  description = "Names of further buckets that jobs may read."
  type        = list(string)
}

variable "models_file_system" {
  description = "File system that is mounted at /opt/models."
  type        = object({ id = string, arn = string, access_point_id = string, access_point_arn = string })
}

# --- Machines and jobs ---

variable "gpu" {
  description = "Machines and default size of GPU jobs. An empty image means the latest of our own repository."
  type = object({
    instance_types = list(string)
    use_spot       = bool
    max_vcpus      = number
    volume_size    = number
    image          = string
    vcpus          = number
    memory         = number
    gpus           = number
  })
}

variable "cpu" {
  description = "Machines and default size of CPU jobs. An empty image means the latest of our own repository."
  type = object({
    instance_types = list(string)
    use_spot       = bool
    max_vcpus      = number
    volume_size    = number
    image          = string
    vcpus          = number
    memory         = number
    gpus           = number
  })
}

variable "on_demand_fallback" {
  description = "Let the queues go on to on-demand instances where no spot capacity is found."
  type        = bool
}

variable "on_demand_queues" {
  description = "Also make queues that run on demand only."
  type        = bool
}

variable "job_timeout_seconds" {
  description = "Seconds after which an attempt is ended, unless its message says otherwise."
  type        = number
}

variable "job_attempts" {
  description = "Attempts of a job that the retry rules let run again."
  type        = number
}

variable "shared_memory_size" {
  description = "Size (MiB) of /dev/shm in a container."
  type        = number
}

# --- Keeping ---

variable "log_retention_days" {
  description = "Days that the logs of jobs are kept."
  type        = number
}

variable "force_destroy" {
  description = "Let terraform destroy delete image repositories that are not empty."
  type        = bool
}
