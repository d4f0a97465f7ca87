# Machines that start when a job waits and end when none does, the queues before them, and what a job is.
# images.tf, instances.tf, environments.tf, queues.tf, jobs.tf and roles.tf follow a job backwards to its permissions.

terraform {
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "~> 5.100"
    }
  }
}

locals {
  compute = { gpu = var.gpu, cpu = var.cpu }

  # MiB/s, twice what gp3 has without a surcharge (about $0.007 per hour of a host): the checkpoint of 4 million
  # Gaussians, 2.8 GB, is then on disk within 12 of the 120 seconds that a reclaimed spot host has left.
  gpu_disk_throughput = 250

  # Spot and on demand are separate environments: an environment has one price model for life.
  environments = merge(
    { for type, settings in local.compute : "${type}-spot" => { type = type, spot = true } if settings.use_spot },
    {
      for type, settings in local.compute : "${type}-on-demand" => { type = type, spot = false }
      if !settings.use_spot || var.on_demand_fallback || var.on_demand_queues
    },
  )

  # In order: a queue turns to the next environment when the one before it finds no capacity.
  queue_environments = {
    for type, settings in local.compute : type => concat(
      settings.use_spot ? ["${type}-spot"] : [],
      !settings.use_spot || var.on_demand_fallback ? ["${type}-on-demand"] : [],
    )
  }

  # Where "spot": false goes: to the queue itself where that is on demand anyway, else to one of its own.
  on_demand_queues = toset([for type, settings in local.compute : type if settings.use_spot && var.on_demand_queues])

  # In order, five at most, and what matches none is retried: hence the last.
  retry_rules = [
    { onStatusReason = "Host EC2*", action = "RETRY" },             # the spot instance was reclaimed
    { onReason = "CannotPull*", action = "RETRY" },                 # the image registry or the way to it failed
    { onStatusReason = "Task failed to start*", action = "RETRY" }, # e.g. the file system was not there yet
    { onExitCode = "75", action = "RETRY" },                        # the script stopped after a checkpoint
    { onReason = "*", action = "EXIT" },
  ]
}

data "aws_partition" "current" {}

resource "aws_cloudwatch_log_group" "jobs" {
  #checkov:skip=CKV_AWS_158:CloudWatch encrypts all logs; a key of our own would add a price and a way to lose them.
  #checkov:skip=CKV_AWS_338:Logs cost by the month; log_retention_days can be raised to ten years.
  name              = "/aws/batch/${var.project_name}-ml-jobs"
  retention_in_days = var.log_retention_days
}
