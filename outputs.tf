output "aws_region" {
  description = "Region that the platform lives in."
  value       = var.aws_region
}

output "ml_input_bucket" {
  description = "Bucket for scripts and photos."
  value       = module.s3.input_bucket.name
}

output "ml_output_bucket" {
  description = "Bucket that jobs write their results to."
  value       = module.s3.output_bucket.name
}

output "ml_models_bucket" {
  description = "Bucket for pretrained models, which jobs can only read."
  value       = module.s3.models_bucket.name
}

output "trigger_events_topic_arn" {
  description = "Topic to publish messages to: each starts a job."
  value       = module.sns.trigger_topic_arn
}

output "start_on_upload" {
  description = "How to start a pipeline by an upload."
  value = (var.start_on_upload
    ? "Upload the photos to s3://${module.s3.input_bucket.name}/photos/<scene>/ (options, if any, as pipeline.json in that folder), and last of all an empty object: aws s3api put-object --bucket ${module.s3.input_bucket.name} --key photos/<scene>/_READY. A zip under photos/ starts by itself."
    : "Off: a pipeline starts on a message only. Set start_on_upload to true."
  )
}

output "notification_topic_arn" {
  description = "Topic that the e-mails about jobs and alarms are published to."
  value       = module.sns.notification_topic_arn
}

output "trigger_dlq_url" {
  description = "Queue that keeps refused messages, and those that could not be handled."
  value       = module.lambda.trigger_dlq_url
}

output "monitor_dlq_url" {
  description = "Queue that keeps job events that could not be reported."
  value       = module.lambda.monitor_dlq_url
}

output "ml_gpu_job_queue" {
  description = "Name of the queue of GPU jobs."
  value       = module.batch.queue_names.gpu
}

output "ml_cpu_job_queue" {
  description = "Name of the queue of CPU jobs."
  value       = module.batch.queue_names.cpu
}

output "ml_on_demand_job_queues" {
  description = "Names of the on-demand queues by compute type; empty unless ml_on_demand_queues is set."
  value       = module.batch.on_demand_queue_names
}

output "ml_gpu_repository" {
  description = "Name of the image repository of GPU jobs."
  value       = module.batch.repository_names.gpu
}

output "ml_cpu_repository" {
  description = "Name of the image repository of CPU jobs."
  value       = module.batch.repository_names.cpu
}

output "ml_job_log_group" {
  description = "Log group of the jobs."
  value       = module.batch.log_group.name
}

output "dispatcher_log_group" {
  description = "Log group of the function that turns messages into jobs."
  value       = module.lambda.dispatcher_log_group
}

output "monitor_log_group" {
  description = "Log group of the function that reports jobs."
  value       = module.lambda.monitor_log_group
}

output "data_protection" {
  description = "What terraform destroy does to photos, results and images."
  value = (var.force_destroy
    ? "force_destroy is true: terraform destroy deletes the buckets and repositories with all that is in them."
    : "terraform destroy stops at a bucket or repository that is not empty. To delete the data too: terraform apply -var force_destroy=true, then terraform destroy -var force_destroy=true."
  )
}
