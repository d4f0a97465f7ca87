output "compute" {
  description = "What each compute type runs on and what it can hold: the COMPUTE setting of the dispatcher."
  value = {
    for type, settings in local.compute : type => {
      queue           = aws_batch_job_queue.main[type].arn
      on_demand_queue = settings.use_spot ? try(aws_batch_job_queue.on_demand[type].arn, null) : aws_batch_job_queue.main[type].arn
      job_definition  = aws_batch_job_definition.script[type].arn
      vcpus           = settings.vcpus
      memory          = settings.memory
      gpus            = settings.gpus
      max_vcpus       = settings.max_vcpus
      instances       = local.instances[type]
      image           = local.images[type]
    }
  }
}

output "retry_rules" {
  description = "Rules of a retry, in order; a submission that sets attempts has to repeat them."
  value       = local.retry_rules
}

output "cancelled_reasons" {
  description = "Reasons for which the queues cancel a job that cannot start."
  value       = local.stuck_job_limits[*].reason
}

output "queue_arns" {
  description = "All queues."
  value       = concat(values(aws_batch_job_queue.main)[*].arn, values(aws_batch_job_queue.on_demand)[*].arn)
}

output "job_definition_names" {
  description = "Names of the job definitions, by compute type."
  value       = { for type, definition in aws_batch_job_definition.script : type => definition.name }
}

output "queue_names" {
  description = "Names of the queues, by compute type."
  value       = { for type, queue in aws_batch_job_queue.main : type => queue.name }
}

output "on_demand_queue_names" {
  description = "Names of the on-demand queues, by compute type."
  value       = { for type, queue in aws_batch_job_queue.on_demand : type => queue.name }
}

output "repository_arns" {
  description = "ARNs of the image repositories."
  value       = values(aws_ecr_repository.image)[*].arn
}

output "repository_names" {
  description = "Names of the image repositories, by compute type."
  value       = { for type, repository in aws_ecr_repository.image : type => repository.name }
}

output "log_group" {
  description = "Name and ARN of the log group of the jobs."
  value       = { name = aws_cloudwatch_log_group.jobs.name, arn = aws_cloudwatch_log_group.jobs.arn }
}
