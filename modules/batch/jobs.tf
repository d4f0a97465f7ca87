resource "aws_batch_job_definition" "script" {
  for_each = local.compute

  name                  = "${var.project_name}-ml-${each.key}"
  type                  = "container"
  platform_capabilities = ["EC2"]
  propagate_tags        = true
  scheduling_priority   = 50

  # run.json names the revision of its time: a chain that is begun before an apply and completed after it needs that one.
  deregister_on_new_revision = false

  container_properties = jsonencode({
    image            = local.images[each.key]
    command          = [] # the image's own entrypoint is the runner
    jobRoleArn       = aws_iam_role.job.arn
    executionRoleArn = aws_iam_role.execution.arn
    privileged       = false

    resourceRequirements = concat(
      [
        { type = "VCPU", value = tostring(each.value.vcpus) },
        { type = "MEMORY", value = tostring(each.value.memory) },
      ],
      each.value.gpus > 0 ? [{ type = "GPU", value = tostring(each.value.gpus) }] : [],
    )

    environment = [
      { name = "AWS_DEFAULT_REGION", value = var.aws_region },
      { name = "COMPUTE_TYPE", value = each.key },
      { name = "ML_INPUT_BUCKET", value = var.input_bucket.name },
      { name = "ML_MODELS_BUCKET", value = var.models_bucket.name },
      { name = "ML_OUTPUT_BUCKET", value = var.output_bucket.name },
      { name = "PROJECT_NAME", value = var.project_name },
    ]

    # The runner is process 1, and hides its environment. Docker's init process would not: every stage could read there
    # where the job role's credentials come from.
    linuxParameters = {
      initProcessEnabled = false
      sharedMemorySize   = var.shared_memory_size
    }

    volumes = [
      {
        name = "models"
        efsVolumeConfiguration = {
          fileSystemId      = var.models_file_system.id
          transitEncryption = "ENABLED"
          authorizationConfig = {
            accessPointId = var.models_file_system.access_point_id
            iam           = "ENABLED"
          }
        }
      },
      { name = "host", host = { sourcePath = "/run/splatworks" } },
    ]

    # In the second the host leaves the notice that it is about to go, and the runner the note that its GPU does not work.
    mountPoints = [
      { sourceVolume = "models", containerPath = "/opt/models", readOnly = false },
      { sourceVolume = "host", containerPath = "/run/splatworks", readOnly = false },
    ]

    logConfiguration = {
      logDriver = "awslogs"
      options = {
        awslogs-group         = aws_cloudwatch_log_group.jobs.name
        awslogs-region        = var.aws_region
        awslogs-stream-prefix = each.key
      }
    }
  })

  timeout {
    attempt_duration_seconds = var.job_timeout_seconds
  }

  retry_strategy {
    attempts = var.job_attempts

    dynamic "evaluate_on_exit" {
      for_each = local.retry_rules

      content {
        action           = evaluate_on_exit.value.action
        on_exit_code     = try(evaluate_on_exit.value.onExitCode, null)
        on_reason        = try(evaluate_on_exit.value.onReason, null)
        on_status_reason = try(evaluate_on_exit.value.onStatusReason, null)
      }
    }
  }

  lifecycle {
    precondition {
      condition = anytrue([
        for instance in local.instances[each.key] :
        instance.vcpus >= each.value.vcpus && instance.memory >= each.value.memory && instance.gpus >= each.value.gpus
      ])
      error_message = "The default ${each.key} job (${each.value.vcpus} vCPUs, ${each.value.memory} MiB, ${each.value.gpus} GPUs) fits none of ${local.instance_list[each.key]}. The memory given here is what a container can have, less than the instance is sold with. Lower ml_${each.key}_job_* or add a larger type to ml_${each.key}_instance_types."
    }

    precondition {
      condition     = each.value.vcpus <= each.value.max_vcpus
      error_message = "The default ${each.key} job takes ${each.value.vcpus} vCPUs, but all ${each.key} jobs together may have ${each.value.max_vcpus}. Raise ml_${each.key}_max_vcpus or lower ml_${each.key}_job_vcpus."
    }

    precondition {
      condition     = var.shared_memory_size < each.value.memory
      error_message = "ml_shared_memory_size (${var.shared_memory_size} MiB) counts towards the memory of a job: keep it below ml_${each.key}_job_memory (${each.value.memory} MiB)."
    }
  }
}
