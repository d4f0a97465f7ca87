# The platform, in the order in which data flows: a network and buckets, topics, a file system for models,
# machines that run jobs, functions that submit and report them, alarms that watch the functions.

data "aws_caller_identity" "current" {}

module "vpc" {
  source = "./modules/vpc"

  project_name    = var.project_name
  aws_region      = var.aws_region
  vpc_cidr        = var.vpc_cidr
  private_subnets = var.private_subnets
}

module "s3" {
  source = "./modules/s3"

  project_name              = var.project_name
  account_id                = data.aws_caller_identity.current.account_id
  aws_region                = var.aws_region
  package_folder            = "${path.root}/splatworks"
  stages_folder             = "${path.root}/jobs"
  examples_folder           = "${path.root}/examples"
  checkpoint_retention_days = var.checkpoint_retention_days
  run_retention_days        = var.run_retention_days
  start_on_upload           = var.start_on_upload
  force_destroy             = var.force_destroy
}

module "sns" {
  source = "./modules/sns"

  project_name        = var.project_name
  account_id          = data.aws_caller_identity.current.account_id
  notification_emails = var.notification_emails
}

module "efs" {
  source = "./modules/efs"

  project_name             = var.project_name
  account_id               = data.aws_caller_identity.current.account_id
  vpc_id                   = module.vpc.vpc_id
  subnet_ids               = module.vpc.subnet_ids
  client_security_group_id = module.vpc.job_security_group_id
}

module "batch" {
  source = "./modules/batch"

  project_name       = var.project_name
  account_id         = data.aws_caller_identity.current.account_id
  aws_region         = var.aws_region
  subnet_ids         = values(module.vpc.subnet_ids)
  security_group_id  = module.vpc.job_security_group_id
  input_bucket       = module.s3.input_bucket
  output_bucket      = module.s3.output_bucket
  models_bucket      = module.s3.models_bucket
  extra_buckets      = var.extra_input_buckets
  models_file_system = module.efs.models_file_system

  gpu = {
    instance_types = var.ml_gpu_instance_types
    use_spot       = var.ml_gpu_use_spot_instances
    max_vcpus      = var.ml_gpu_max_vcpus
    volume_size    = var.ml_gpu_volume_size
    image          = var.ml_container_image
    vcpus          = var.ml_gpu_job_vcpus
    memory         = var.ml_gpu_job_memory
    gpus           = var.ml_gpu_job_gpus
  }

  cpu = {
    instance_types = var.ml_cpu_instance_types
    use_spot       = var.ml_cpu_use_spot_instances
    max_vcpus      = var.ml_cpu_max_vcpus
    volume_size    = var.ml_cpu_volume_size
    image          = var.ml_cpu_container_image != "" ? var.ml_cpu_container_image : var.ml_container_image
    vcpus          = var.ml_cpu_job_vcpus
    memory         = var.ml_cpu_job_memory
    gpus           = 0
  }

  on_demand_fallback  = var.ml_on_demand_fallback
  on_demand_queues    = var.ml_on_demand_queues
  job_timeout_seconds = var.ml_job_timeout_seconds
  job_attempts        = var.ml_job_attempts
  shared_memory_size  = var.ml_shared_memory_size
  log_retention_days  = var.log_retention_days
  force_destroy       = var.force_destroy
}

module "lambda" {
  source = "./modules/lambda"

  project_name           = var.project_name
  account_id             = data.aws_caller_identity.current.account_id
  aws_region             = var.aws_region
  zip_path               = "${path.root}/build/lambda.zip"
  trigger_topic_arn      = module.sns.trigger_topic_arn
  notification_topic_arn = module.sns.notification_topic_arn
  notification_key_arn   = module.sns.notification_key_arn
  input_bucket           = module.s3.input_bucket
  output_bucket          = module.s3.output_bucket
  models_bucket          = module.s3.models_bucket
  extra_buckets          = var.extra_input_buckets
  start_on_upload        = var.start_on_upload
  compute                = module.batch.compute
  queue_arns             = module.batch.queue_arns
  job_definition_names   = module.batch.job_definition_names
  repository_arns        = module.batch.repository_arns
  retry_rules            = module.batch.retry_rules
  cancelled_reasons      = module.batch.cancelled_reasons
  job_attempts           = var.ml_job_attempts
  job_timeout_seconds    = var.ml_job_timeout_seconds
  job_log_group          = module.batch.log_group
  log_retention_days     = var.log_retention_days
}

module "observability" {
  source = "./modules/observability"

  aws_region             = var.aws_region
  notification_topic_arn = module.sns.notification_topic_arn
  trigger_dlq_name       = module.lambda.trigger_dlq_name
  monitor_dlq_name       = module.lambda.monitor_dlq_name
}
