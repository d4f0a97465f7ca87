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

  # These end a job for good; AWS Batch retries everything else. It takes five rules at most, each of them letters,
  # digits, dots, colons and white space, with an asterisk at the end only:
  # https://docs.aws.amazon.com/batch/latest/APIReference/API_EvaluateOnExit.html
  # splatworks/contract/retries.py has the same, and the sources of the texts.
  # The exit codes are written out: "2*" would also match 255, which Docker gives to containers of a host that crashed.
  retry_rules = [
    { onExitCode = "2", action = "EXIT" },               # the input is at fault
    { onExitCode = "119", action = "EXIT" },             # the script failed for good
    { onReason = "OutOfMemoryError*", action = "EXIT" }, # the next attempt would have no more of it
    # The image does not exist, by tag and by digest. An unreachable registry has another text.
    { onReason = "CannotPullImageManifestError: Error response from daemon: manifest unknown*", action = "EXIT" },
    { onReason = "CannotPullContainerError: Error response from daemon: manifest for*", action = "EXIT" },
  ]
}

data "aws_partition" "current" {}

resource "aws_cloudwatch_log_group" "jobs" {
  #checkov:skip=CKV_AWS_158:CloudWatch encrypts all logs; a key of our own would add a price and a way to lose them.
  #checkov:skip=CKV_AWS_338:Logs cost by the month; log_retention_days can be raised to ten years.
  name              = "/aws/batch/${var.project_name}-ml-jobs"
  retention_in_days = var.log_retention_days
}
