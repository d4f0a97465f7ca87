resource "aws_launch_template" "host" {
  for_each = local.compute

  name_prefix            = "${var.project_name}-ml-${each.key}-"
  update_default_version = true

  # AWS Batch merges only multi-part user data into its own.
  user_data = base64encode(templatefile("${path.module}/host/user-data.tftpl", { watch = file("${path.module}/host/watch.sh") }))

  block_device_mappings {
    device_name = "/dev/xvda"

    ebs {
      volume_type           = "gp3"
      throughput            = each.key == "gpu" ? local.gpu_disk_throughput : null
      volume_size           = each.value.volume_size
      encrypted             = true
      delete_on_termination = true
    }
  }

  metadata_options {
    http_endpoint               = "enabled"
    http_tokens                 = "required"
    http_put_response_hop_limit = 1
  }

  lifecycle {
    create_before_destroy = true
  }
}

resource "aws_batch_compute_environment" "hosts" {
  for_each = local.environments

  # A change that AWS Batch cannot make in place needs a second environment beside the first, under another name.
  compute_environment_name_prefix = "${var.project_name}-ml-${each.key}-"
  type                            = "MANAGED"

  # Without service_role AWS Batch uses its service-linked role, which updates in place need.

  compute_resources {
    type                = each.value.spot ? "SPOT" : "EC2"
    allocation_strategy = each.value.spot ? "SPOT_PRICE_CAPACITY_OPTIMIZED" : "BEST_FIT_PROGRESSIVE"
    instance_type       = local.offered_types[each.value.type]
    min_vcpus           = 0
    max_vcpus           = local.compute[each.value.type].max_vcpus
    subnets             = var.subnet_ids
    security_group_ids  = [var.security_group_id]
    instance_role       = aws_iam_instance_profile.host.arn
    tags                = { Name = "${var.project_name}-ml-${each.key}", platform = var.project_name }

    ec2_configuration {
      image_type = each.value.type == "gpu" ? "ECS_AL2023_NVIDIA" : "ECS_AL2023"
    }

    launch_template {
      launch_template_id = aws_launch_template.host[each.value.type].id
      version            = aws_launch_template.host[each.value.type].latest_version
    }
  }

  # For environments that are updated in place, which are those on demand: where anything of the hosts changes, the provider
  # replaces those of SPOT_PRICE_CAPACITY_OPTIMIZED (hashicorp/terraform-provider-aws#38695). Batch ends running jobs after 30
  # minutes unless told otherwise.
  update_policy {
    terminate_jobs_on_update      = false
    job_execution_timeout_minutes = 360
  }

  # Hosts without their permissions can neither join nor leave the cluster.
  depends_on = [aws_iam_role_policy_attachment.host]

  lifecycle {
    create_before_destroy = true

    # AWS sets it as jobs come and go.
    ignore_changes = [compute_resources[0].desired_vcpus]

    precondition {
      condition     = length(local.offered_types[each.value.type]) > 0
      error_message = "${var.aws_region} offers none of ml_${each.value.type}_instance_types (${join(", ", local.compute[each.value.type].instance_types)}). Give types of this region: aws ec2 describe-instance-type-offerings --region ${var.aws_region}."
    }

    precondition {
      condition     = length(local.unsuitable_types[each.value.type]) == 0
      error_message = "ml_${each.value.type}_instance_types must be types ${each.value.type == "gpu" ? "with GPUs" : "without GPUs"}; take off ${join(", ", local.unsuitable_types[each.value.type])}."
    }

    precondition {
      condition     = length(local.foreign_types[each.value.type]) == 0
      error_message = "The images are for x86_64; take ${join(", ", local.foreign_types[each.value.type])} off ml_${each.value.type}_instance_types."
    }
  }
}
