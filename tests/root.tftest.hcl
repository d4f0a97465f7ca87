# What the root decides itself: names, defaults, and what it refuses.

mock_provider "aws" {
  override_during = plan

  mock_data "aws_availability_zones" {
    defaults = { names = ["us-east-1a", "us-east-1b"] }
  }

  mock_data "aws_caller_identity" {
    defaults = { account_id = "123456789012" }
  }

  mock_data "aws_partition" {
    defaults = { partition = "aws" }
  }

  mock_data "aws_iam_policy_document" {
    defaults = { json = "{}" }
  }

  # Every type is a g5.12xlarge: large enough for all defaults. The batch module's own tests tell types apart.
  mock_data "aws_ec2_instance_type" {
    defaults = { default_vcpus = 48, memory_size = 196608, gpus = [{ count = 4 }], supported_architectures = ["x86_64"] }
  }

  override_data {
    target = module.batch.data.aws_ec2_instance_type_offerings.here
    values = { instance_types = ["g4dn.xlarge", "g5.xlarge", "g6.xlarge", "g4dn.2xlarge", "g5.2xlarge", "g6.2xlarge", "g4dn.12xlarge", "g5.12xlarge", "m7i.xlarge"] }
  }

  override_data {
    target = module.batch.data.aws_ec2_instance_type.offered["m7i.xlarge"]
    values = { default_vcpus = 4, memory_size = 16384, gpus = [], supported_architectures = ["x86_64"] }
  }

  mock_resource "aws_s3_bucket" {
    defaults = { arn = "arn:aws:s3:::mock" }
  }

  mock_resource "aws_kms_key" {
    defaults = { arn = "arn:aws:kms:us-east-1:123456789012:key/11111111-2222-3333-4444-555555555555" }
  }

  mock_resource "aws_iam_role" {
    defaults = { arn = "arn:aws:iam::123456789012:role/mock" }
  }

  mock_resource "aws_iam_instance_profile" {
    defaults = { arn = "arn:aws:iam::123456789012:instance-profile/mock" }
  }

  mock_resource "aws_sns_topic" {
    defaults = { arn = "arn:aws:sns:us-east-1:123456789012:mock" }
  }

  mock_resource "aws_batch_compute_environment" {
    defaults = { arn = "arn:aws:batch:us-east-1:123456789012:compute-environment/mock" }
  }

  mock_resource "aws_batch_scheduling_policy" {
    defaults = { arn = "arn:aws:batch:us-east-1:123456789012:scheduling-policy/mock" }
  }

  mock_resource "aws_ecr_repository" {
    defaults = { repository_url = "123456789012.dkr.ecr.us-east-1.amazonaws.com/mock" }
  }
}

# It needs build/lambda.zip, which a check must not; the module's own tests cover it.
override_module {
  target = module.lambda
  outputs = {
    trigger_dlq_url      = "https://sqs/demo-ml-trigger-dlq"
    trigger_dlq_name     = "demo-ml-trigger-dlq"
    monitor_dlq_url      = "https://sqs/demo-ml-monitor-dlq"
    monitor_dlq_name     = "demo-ml-monitor-dlq"
    dispatcher_log_group = "/aws/lambda/demo-ml-trigger-dispatcher"
    monitor_log_group    = "/aws/lambda/demo-ml-job-monitor"
  }
}

variables {
  project_name          = "demo"
  ml_cpu_instance_types = ["m7i.xlarge"]
}

run "defaults_give_a_platform" {
  command = plan

  assert {
    condition     = [output.ml_gpu_job_queue, output.ml_cpu_job_queue, output.ml_job_log_group] == ["demo-ml-gpu-job-queue", "demo-ml-cpu-job-queue", "/aws/batch/demo-ml-jobs"]
    error_message = "These names stand in people's scripts."
  }

  assert {
    condition     = length(setsubtract(var.ml_gpu_instance_types, module.batch.compute.gpu.instances[*].type)) == 0 && var.ml_gpu_max_vcpus >= 48
    error_message = "A job with 4 GPUs needs a type with 4, and the vCPUs that come with it."
  }

  assert {
    condition     = [var.ml_gpu_job_vcpus, var.ml_gpu_job_memory, var.ml_gpu_job_gpus, var.ml_cpu_job_vcpus, var.ml_cpu_job_memory] == [4, 15000, 1, 2, 4096]
    error_message = "The default sizes are documented."
  }

  assert {
    condition     = var.ml_gpu_use_spot_instances && var.ml_cpu_use_spot_instances && !var.ml_on_demand_fallback && !var.ml_on_demand_queues && !var.private_subnets && !var.force_destroy
    error_message = "Cheap and safe unless asked otherwise."
  }
}

run "the_output_says_that_data_is_protected" {
  command = plan

  assert {
    condition     = strcontains(output.data_protection, "terraform apply -var force_destroy=true")
    error_message = "Who cannot destroy is told what to do."
  }
}

run "a_name_that_no_bucket_can_have_is_refused" {
  command = plan

  variables {
    project_name = "My_Project"
  }

  expect_failures = [var.project_name]
}

run "a_name_that_makes_buckets_too_long_is_refused" {
  command = plan

  variables {
    project_name = "a-name-of-twenty-five-let"
  }

  expect_failures = [var.project_name]
}

run "families_of_instances_are_refused" {
  command = plan

  variables {
    ml_gpu_instance_types = ["g5"]
  }

  expect_failures = [var.ml_gpu_instance_types]
}

run "an_address_that_is_none_is_refused" {
  command = plan

  variables {
    notification_emails = ["not an address"]
  }

  expect_failures = [var.notification_emails]
}

run "days_that_cloudwatch_does_not_know_are_refused" {
  command = plan

  variables {
    log_retention_days = 31
  }

  expect_failures = [var.log_retention_days]
}

run "a_bucket_given_as_uri_is_refused" {
  command = plan

  variables {
    extra_input_buckets = ["s3://my-photos/"]
  }

  expect_failures = [var.extra_input_buckets]
}

run "an_image_given_as_url_is_refused" {
  command = plan

  variables {
    ml_container_image = "https://example.com/image"
  }

  expect_failures = [var.ml_container_image]
}

run "a_timeout_below_a_minute_is_refused" {
  command = plan

  variables {
    ml_job_timeout_seconds = 30
  }

  expect_failures = [var.ml_job_timeout_seconds]
}
