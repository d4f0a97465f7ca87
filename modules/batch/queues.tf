# A scheduling policy cannot be given to a queue later, so it is there from the start. Shares are those of the
# projects of the messages; each weighs the same, and what a project used counts against it for an hour.
resource "aws_batch_scheduling_policy" "fair" {
  name = "${var.project_name}-ml-fair-share"

  fair_share_policy {
    share_decay_seconds = 3600
  }
}

locals {
  # What AWS Batch can cancel a job at the head of the queue for. For what it cannot, the monitor sends an e-mail.
  stuck_job_limits = [
    { reason = "MISCONFIGURATION:COMPUTE_ENVIRONMENT_MAX_RESOURCE", seconds = 900 },
    { reason = "MISCONFIGURATION:JOB_RESOURCE_REQUIREMENT", seconds = 900 },
    { reason = "CAPACITY:INSUFFICIENT_INSTANCE_CAPACITY", seconds = 43200 },
  ]
}

resource "aws_batch_job_queue" "main" {
  for_each = local.compute

  name                  = "${var.project_name}-ml-${each.key}-job-queue"
  state                 = "ENABLED"
  priority              = 1
  scheduling_policy_arn = aws_batch_scheduling_policy.fair.arn

  dynamic "compute_environment_order" {
    for_each = local.queue_environments[each.key]

    content {
      order               = compute_environment_order.key
      compute_environment = aws_batch_compute_environment.hosts[compute_environment_order.value].arn
    }
  }

  dynamic "job_state_time_limit_action" {
    for_each = local.stuck_job_limits

    content {
      state            = "RUNNABLE"
      action           = "CANCEL"
      reason           = job_state_time_limit_action.value.reason
      max_time_seconds = job_state_time_limit_action.value.seconds
    }
  }
}

resource "aws_batch_job_queue" "on_demand" {
  for_each = local.on_demand_queues

  name                  = "${var.project_name}-ml-${each.key}-on-demand-job-queue"
  state                 = "ENABLED"
  priority              = 1
  scheduling_policy_arn = aws_batch_scheduling_policy.fair.arn

  compute_environment_order {
    order               = 0
    compute_environment = aws_batch_compute_environment.hosts["${each.key}-on-demand"].arn
  }

  dynamic "job_state_time_limit_action" {
    for_each = local.stuck_job_limits

    content {
      state            = "RUNNABLE"
      action           = "CANCEL"
      reason           = job_state_time_limit_action.value.reason
      max_time_seconds = job_state_time_limit_action.value.seconds
    }
  }
}
