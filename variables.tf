# --- Project ---

variable "project_name" {
  description = "Begins the name of every resource. Changing it later replaces everything, buckets included."
  type        = string
  default     = "splatworks"

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,22}[a-z0-9]$", var.project_name)) && !strcontains(var.project_name, "--")
    error_message = "project_name begins bucket names: give 3 to 24 lower-case letters, digits and single hyphens, beginning with a letter, e.g. \"splatworks\"."
  }
}

variable "aws_region" {
  description = "AWS region that everything lives in."
  type        = string
  default     = "us-east-1"

  validation {
    condition     = can(regex("^[a-z]{2}(-[a-z]+)+-[0-9]$", var.aws_region))
    error_message = "Give a region's name, e.g. \"us-east-1\" (not a zone such as \"us-east-1a\")."
  }
}

variable "notification_emails" {
  description = "Addresses that get the e-mails about jobs and alarms. Each has to confirm the subscription that AWS sends it."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for email in var.notification_emails : can(regex("^[^@\\s]+@[^@\\s]+\\.[^@\\s]+$", email))])
    error_message = "Give e-mail addresses, e.g. [\"you@example.com\"]."
  }
}

# --- GPU jobs ---

variable "ml_gpu_job_vcpus" {
  description = "vCPUs of a GPU job whose message does not say."
  type        = number
  default     = 4

  validation {
    condition     = var.ml_gpu_job_vcpus >= 1 && floor(var.ml_gpu_job_vcpus) == var.ml_gpu_job_vcpus
    error_message = "Give a whole number of at least 1."
  }
}

variable "ml_gpu_job_memory" {
  description = "Memory (MiB) of a GPU job whose message does not say. A container gets less than the instance is sold with: 16384 does not fit a 16 GiB g4dn.xlarge."
  type        = number
  default     = 15000

  validation {
    condition     = var.ml_gpu_job_memory >= 512 && floor(var.ml_gpu_job_memory) == var.ml_gpu_job_memory
    error_message = "Give MiB, a whole number of at least 512, e.g. 15000."
  }
}

variable "ml_gpu_job_gpus" {
  description = "GPUs of a GPU job whose message does not say."
  type        = number
  default     = 1

  validation {
    condition     = contains([1, 2, 4, 8], var.ml_gpu_job_gpus)
    error_message = "Instances have 1, 2, 4 or 8 GPUs: give one of these."
  }
}

variable "ml_gpu_use_spot_instances" {
  description = "Run GPU jobs on spot instances; false runs them on demand, at about three times the price."
  type        = bool
  default     = true
}

variable "ml_gpu_instance_types" {
  description = "Instance types for GPU jobs. The more types, the easier spot capacity is found; types that the region lacks are left out with a warning."
  type        = list(string)
  default     = ["g4dn.xlarge", "g5.xlarge", "g6.xlarge", "g4dn.2xlarge", "g5.2xlarge", "g6.2xlarge", "g4dn.12xlarge", "g5.12xlarge"]

  validation {
    condition     = length(var.ml_gpu_instance_types) > 0 && alltrue([for type in var.ml_gpu_instance_types : can(regex("^[a-z][a-z0-9-]*\\.[a-z0-9-]+$", type))])
    error_message = "Give at least one type with its size, e.g. [\"g5.xlarge\"]; families such as \"g5\" and \"optimal\" have no one size to check jobs against."
  }
}

variable "ml_gpu_max_vcpus" {
  description = "vCPUs that all GPU jobs may use together. It bounds what an hour can cost; the account's own quota for G instances may be lower."
  type        = number
  default     = 48

  validation {
    condition     = var.ml_gpu_max_vcpus >= 4 && floor(var.ml_gpu_max_vcpus) == var.ml_gpu_max_vcpus
    error_message = "Give a whole number of at least 4: no GPU instance is smaller. A 4-GPU g4dn.12xlarge takes 48."
  }
}

variable "ml_gpu_volume_size" {
  description = "Root volume (GiB) of GPU instances; holds the image, the photos and the outputs of the jobs that run there."
  type        = number
  default     = 200

  validation {
    condition     = var.ml_gpu_volume_size >= 50 && var.ml_gpu_volume_size <= 16384
    error_message = "Give 50 to 16384 GiB: the system and the GPU image alone fill about 40."
  }
}

# --- CPU jobs ---

variable "ml_cpu_job_vcpus" {
  description = "vCPUs of a CPU job whose message does not say."
  type        = number
  default     = 2

  validation {
    condition     = var.ml_cpu_job_vcpus >= 1 && floor(var.ml_cpu_job_vcpus) == var.ml_cpu_job_vcpus
    error_message = "Give a whole number of at least 1."
  }
}

variable "ml_cpu_job_memory" {
  description = "Memory (MiB) of a CPU job whose message does not say."
  type        = number
  default     = 4096

  validation {
    condition     = var.ml_cpu_job_memory >= 512 && floor(var.ml_cpu_job_memory) == var.ml_cpu_job_memory
    error_message = "Give MiB, a whole number of at least 512, e.g. 4096."
  }
}

variable "ml_cpu_use_spot_instances" {
  description = "Run CPU jobs on spot instances; false runs them on demand, at about three times the price."
  type        = bool
  default     = true
}

variable "ml_cpu_instance_types" {
  description = "Instance types for CPU jobs, x86_64. The more types, the easier spot capacity is found; types that the region lacks are left out with a warning."
  type        = list(string)
  default     = ["m6i.large", "m7i.large", "c6i.xlarge", "c7i.xlarge", "m7i.xlarge", "c7i.2xlarge", "m7i.2xlarge", "c7i.4xlarge", "m7i.4xlarge"]

  validation {
    condition     = length(var.ml_cpu_instance_types) > 0 && alltrue([for type in var.ml_cpu_instance_types : can(regex("^[a-z][a-z0-9-]*\\.[a-z0-9-]+$", type))])
    error_message = "Give at least one type with its size, e.g. [\"m7i.xlarge\"]; families such as \"m7i\" and \"optimal\" have no one size to check jobs against."
  }
}

variable "ml_cpu_max_vcpus" {
  description = "vCPUs that all CPU jobs may use together. It bounds what an hour can cost."
  type        = number
  default     = 64

  validation {
    condition     = var.ml_cpu_max_vcpus >= 2 && floor(var.ml_cpu_max_vcpus) == var.ml_cpu_max_vcpus
    error_message = "Give a whole number of at least 2: the smallest instance of the list takes that many."
  }
}

variable "ml_cpu_volume_size" {
  description = "Root volume (GiB) of CPU instances; holds the image, the photos and the outputs of the jobs that run there."
  type        = number
  default     = 100

  validation {
    condition     = var.ml_cpu_volume_size >= 30 && var.ml_cpu_volume_size <= 16384
    error_message = "Give 30 to 16384 GiB: the machine image needs 30."
  }
}

# --- All jobs ---

variable "ml_container_image" {
  description = "Image of GPU jobs. Empty means the latest of the platform's own ml-python repository."
  type        = string
  default     = ""

  validation {
    condition     = !can(regex("\\s", var.ml_container_image)) && !strcontains(var.ml_container_image, "://")
    error_message = "Give an image as docker pull takes it, e.g. \"123456789012.dkr.ecr.us-east-1.amazonaws.com/mine:1.0\", without https://."
  }
}

variable "ml_cpu_container_image" {
  description = "Image of CPU jobs. Empty means ml_container_image, and where that is empty too, the latest of the platform's own ml-python-slim repository."
  type        = string
  default     = ""

  validation {
    condition     = !can(regex("\\s", var.ml_cpu_container_image)) && !strcontains(var.ml_cpu_container_image, "://")
    error_message = "Give an image as docker pull takes it, e.g. \"123456789012.dkr.ecr.us-east-1.amazonaws.com/mine:1.0\", without https://."
  }
}

variable "ml_on_demand_fallback" {
  description = "Where no spot capacity is found, let the queues go on to on-demand instances, at about three times the price."
  type        = bool
  default     = false
}

variable "ml_on_demand_queues" {
  description = "Also make queues that run on demand only, for messages that say \"spot\": false."
  type        = bool
  default     = false
}

variable "ml_job_timeout_seconds" {
  description = "Seconds after which an attempt of a job is ended, unless its message says otherwise."
  type        = number
  default     = 21600

  validation {
    condition     = var.ml_job_timeout_seconds >= 60 && var.ml_job_timeout_seconds <= 604800
    error_message = "Give 60 (AWS Batch's minimum) to 604800 seconds (a week): a job that hangs is paid for until then."
  }
}

variable "ml_job_attempts" {
  description = "Attempts of a job whose spot instance is reclaimed or whose image cannot be pulled. A script that fails is not run again."
  type        = number
  default     = 3

  validation {
    condition     = var.ml_job_attempts >= 1 && var.ml_job_attempts <= 10 && floor(var.ml_job_attempts) == var.ml_job_attempts
    error_message = "AWS Batch takes 1 to 10 attempts."
  }
}

variable "ml_shared_memory_size" {
  description = "Size (MiB) of /dev/shm in a job's container, which PyTorch's data loaders need. What they use counts towards the job's memory."
  type        = number
  default     = 2048

  validation {
    condition     = var.ml_shared_memory_size >= 64 && floor(var.ml_shared_memory_size) == var.ml_shared_memory_size
    error_message = "Give MiB, a whole number of at least 64 (Docker's own default)."
  }
}

# --- Data ---

variable "extra_input_buckets" {
  description = "Further buckets of this account that jobs may read and the \"input\" of a message may name."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for bucket in var.extra_input_buckets : can(regex("^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$", bucket))])
    error_message = "Give names of buckets, e.g. [\"my-photos\"], without s3:// and without a path."
  }
}

variable "checkpoint_retention_days" {
  description = "Days after which the checkpoints of a job are deleted."
  type        = number
  default     = 14

  validation {
    condition     = var.checkpoint_retention_days >= 1 && floor(var.checkpoint_retention_days) == var.checkpoint_retention_days
    error_message = "Give whole days, at least 1."
  }
}

variable "run_retention_days" {
  description = "Days after which the outputs of a run are deleted; 0 keeps them forever."
  type        = number
  default     = 180

  validation {
    condition     = var.run_retention_days >= 0 && floor(var.run_retention_days) == var.run_retention_days
    error_message = "Give whole days, or 0 to keep runs forever."
  }
}

variable "log_retention_days" {
  description = "Days that the logs of jobs and Lambda functions are kept."
  type        = number
  default     = 30

  validation {
    condition     = contains([1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653], var.log_retention_days)
    error_message = "CloudWatch takes 1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288 or 3653 days."
  }
}

variable "force_destroy" {
  description = "Let terraform destroy delete buckets and image repositories that are not empty: photos, results and images are gone for good."
  type        = bool
  default     = false
}

variable "start_on_upload" {
  description = "Start a pipeline when photos/<scene>/_READY or photos/<scene>.zip is uploaded to the input bucket, with the options in a pipeline.json beside it. Whoever may upload there can then start jobs."
  type        = bool
  default     = false
}

# --- Network ---

variable "vpc_cidr" {
  description = "Address range of the platform's network."
  type        = string
  default     = "10.0.0.0/16"

  validation {
    condition     = can(cidrsubnet(var.vpc_cidr, 4, 0)) && can(regex("/(1[6-9]|20)$", var.vpc_cidr))
    error_message = "Give an IPv4 range of /16 to /20, e.g. \"10.0.0.0/16\": it is cut into 16 subnets."
  }
}

variable "private_subnets" {
  description = "Run jobs in subnets without public addresses, behind a NAT gateway, which costs about 33 USD a month in each hour of the day, used or not."
  type        = bool
  default     = false
}
