mock_provider "aws" {
  override_during = plan

  mock_data "aws_partition" {
    defaults = { partition = "aws" }
  }

  mock_data "aws_iam_policy_document" {
    defaults = { json = "{}" }
  }

  mock_data "aws_ec2_instance_type" {
    defaults = { default_vcpus = 4, memory_size = 16384, gpus = [], supported_architectures = ["x86_64"] }
  }

  override_data {
    target = data.aws_ec2_instance_type.offered["g4dn.xlarge"]
    values = { default_vcpus = 4, memory_size = 16384, gpus = [{ count = 1 }], supported_architectures = ["x86_64"] }
  }

  override_data {
    target = data.aws_ec2_instance_type.offered["g4dn.12xlarge"]
    values = { default_vcpus = 48, memory_size = 196608, gpus = [{ count = 4 }], supported_architectures = ["x86_64"] }
  }

  override_data {
    target = data.aws_ec2_instance_type.offered["g5g.xlarge"]
    values = { default_vcpus = 4, memory_size = 8192, gpus = [{ count = 1 }], supported_architectures = ["arm64"] }
  }

  override_data {
    target = data.aws_ec2_instance_type_offerings.here
    values = { instance_types = ["g4dn.xlarge", "g4dn.12xlarge", "g5g.xlarge", "m7i.xlarge"] }
  }

  mock_resource "aws_iam_role" {
    defaults = { arn = "arn:aws:iam::123456789012:role/mock" }
  }

  mock_resource "aws_iam_instance_profile" {
    defaults = { arn = "arn:aws:iam::123456789012:instance-profile/mock" }
  }

  mock_resource "aws_ecr_repository" {
    defaults = { repository_url = "123456789012.dkr.ecr.us-east-1.amazonaws.com/mock" }
  }

  mock_resource "aws_cloudwatch_log_group" {
    defaults = { arn = "arn:aws:logs:us-east-1:123456789012:log-group:mock" }
  }

  mock_resource "aws_batch_scheduling_policy" {
    defaults = { arn = "arn:aws:batch:us-east-1:123456789012:scheduling-policy/mock" }
  }

  mock_resource "aws_batch_job_queue" {
    defaults = { arn = "arn:aws:batch:us-east-1:123456789012:job-queue/mock" }
  }

  mock_resource "aws_batch_job_definition" {
    defaults = { arn = "arn:aws:batch:us-east-1:123456789012:job-definition/mock:1" }
  }

  override_resource {
    target          = aws_batch_compute_environment.hosts["gpu-spot"]
    override_during = plan
    values          = { arn = "arn:aws:batch:us-east-1:123456789012:compute-environment/gpu-spot" }
  }

  override_resource {
    target          = aws_batch_compute_environment.hosts["gpu-on-demand"]
    override_during = plan
    values          = { arn = "arn:aws:batch:us-east-1:123456789012:compute-environment/gpu-on-demand" }
  }
}

variables {
  project_name       = "demo"
  account_id         = "123456789012"
  aws_region         = "us-east-1"
  subnet_ids         = ["subnet-a", "subnet-b"]
  security_group_id  = "sg-jobs"
  input_bucket       = { name = "in", arn = "arn:aws:s3:::in" }
  output_bucket      = { name = "out", arn = "arn:aws:s3:::out" }
  models_bucket      = { name = "models", arn = "arn:aws:s3:::models" }
  extra_buckets      = ["mine"]
  models_file_system = { id = "fs-1", arn = "arn:aws:elasticfilesystem:us-east-1:123456789012:file-system/fs-1", access_point_id = "fsap-1", access_point_arn = "arn:aws:elasticfilesystem:us-east-1:123456789012:access-point/fsap-1" }

  gpu = { instance_types = ["g4dn.xlarge", "g4dn.12xlarge"], use_spot = true, max_vcpus = 48, volume_size = 200, image = "", vcpus = 4, memory = 15000, gpus = 1 }
  cpu = { instance_types = ["m7i.xlarge"], use_spot = true, max_vcpus = 64, volume_size = 100, image = "mine:1", vcpus = 2, memory = 4096, gpus = 0 }

  on_demand_fallback  = false
  on_demand_queues    = false
  job_timeout_seconds = 21600
  job_attempts        = 3
  shared_memory_size  = 2048
  log_retention_days  = 30
  force_destroy       = false
}

# --- Machines ---

run "spot_is_really_spot_and_nothing_else" {
  command = plan

  assert {
    condition     = toset(keys(aws_batch_compute_environment.hosts)) == toset(["gpu-spot", "cpu-spot"])
    error_message = "On-demand machines must be asked for."
  }

  assert {
    condition     = alltrue([for e in aws_batch_compute_environment.hosts : e.compute_resources[0].type == "SPOT" && e.compute_resources[0].allocation_strategy == "SPOT_PRICE_CAPACITY_OPTIMIZED"])
    error_message = "An environment of type EC2 pays three times as much, whatever its name."
  }
}

run "machines_scale_to_zero" {
  command = plan

  assert {
    condition     = alltrue([for e in aws_batch_compute_environment.hosts : e.compute_resources[0].min_vcpus == 0])
    error_message = "With no job there is no machine."
  }

  assert {
    condition     = aws_batch_compute_environment.hosts["gpu-spot"].compute_resources[0].max_vcpus == 48
    error_message = "The bound on cost is the one that was set."
  }
}

run "environments_can_be_updated_without_ending_jobs" {
  command = plan

  # What is not set cannot be asked for by name: the provider fills it in.
  assert {
    condition     = length(aws_batch_compute_environment.hosts) > 0 && !can(regex("service_role *=", file("environments.tf")))
    error_message = "An environment with a service role cannot be updated in place."
  }

  assert {
    condition     = alltrue([for e in aws_batch_compute_environment.hosts : !e.update_policy[0].terminate_jobs_on_update && e.update_policy[0].job_execution_timeout_minutes == 360])
    error_message = "An update waits for running jobs."
  }

  assert {
    condition     = alltrue([for key, e in aws_batch_compute_environment.hosts : e.compute_environment_name_prefix == "demo-ml-${key}-"])
    error_message = "A replacement must be able to stand beside the old environment."
  }
}

run "machine_images_are_supported_ones" {
  command = plan

  assert {
    condition     = { for key, e in aws_batch_compute_environment.hosts : key => e.compute_resources[0].ec2_configuration[0].image_type } == { cpu-spot = "ECS_AL2023", gpu-spot = "ECS_AL2023_NVIDIA" }
    error_message = "ECS_AL2_NVIDIA is past its end of support."
  }
}

run "hosts_are_encrypted_and_guard_their_credentials" {
  command = plan

  assert {
    condition     = alltrue([for t in aws_launch_template.host : tobool(t.block_device_mappings[0].ebs[0].encrypted) && t.block_device_mappings[0].ebs[0].volume_type == "gp3"])
    error_message = "Root volumes are encrypted gp3."
  }

  assert {
    condition     = aws_launch_template.host["gpu"].block_device_mappings[0].ebs[0].throughput == 250
    error_message = "A large checkpoint must be on disk before a reclaimed host is gone."
  }

  assert {
    condition     = aws_launch_template.host["gpu"].block_device_mappings[0].ebs[0].volume_size == 200
    error_message = "The volume is as large as was set."
  }

  assert {
    condition     = alltrue([for t in aws_launch_template.host : t.metadata_options[0].http_tokens == "required" && t.metadata_options[0].http_put_response_hop_limit == 1])
    error_message = "IMDSv2 only, and only for the host itself."
  }
}

run "a_reclaimed_host_gives_jobs_time_for_a_checkpoint" {
  command = plan

  assert {
    condition = alltrue([
      for t in aws_launch_template.host : alltrue([
        for setting in ["ECS_ENABLE_SPOT_INSTANCE_DRAINING=true", "ECS_CONTAINER_STOP_TIMEOUT=110s"] :
        strcontains(base64decode(t.user_data), "\n${setting}\n")
      ])
    ])
    error_message = "A host that is about to go gets no new jobs, and a job that is stopped has 110 seconds."
  }

  assert {
    condition     = alltrue([for t in aws_launch_template.host : strcontains(base64decode(t.user_data), "\nECS_ENGINE_TASK_CLEANUP_WAIT_DURATION=1m\n")])
    error_message = "The files of jobs that have ended do not fill the disk of those that come after them."
  }

  assert {
    condition     = alltrue([for t in aws_launch_template.host : !strcontains(base64decode(t.user_data), "ECS_IMAGE_PULL_BEHAVIOR")])
    error_message = "By default ECS looks whether a tag has moved; what runs must be what the dispatcher recorded as the image."
  }

  assert {
    condition     = alltrue([for t in aws_launch_template.host : strcontains(base64decode(t.user_data), file("host/watch.sh"))])
    error_message = "The host tells its jobs of EC2's notices; Amazon ECS does not."
  }

  assert {
    condition     = alltrue([for t in aws_launch_template.host : length(base64decode(t.user_data)) < 12288])
    error_message = "EC2 takes 16,384 bytes of user data, and AWS Batch adds its own to ours."
  }

  assert {
    condition     = alltrue([for t in aws_launch_template.host : startswith(base64decode(t.user_data), "MIME-Version: 1.0\nContent-Type: multipart/mixed;")])
    error_message = "AWS Batch merges only multi-part user data."
  }
}

# --- On demand ---

run "on_demand_comes_second_where_allowed" {
  command = plan

  variables {
    on_demand_fallback = true
  }

  assert {
    condition     = [for o in aws_batch_job_queue.main["gpu"].compute_environment_order : reverse(split("/", o.compute_environment))[0]] == ["gpu-spot", "gpu-on-demand"] && [for o in aws_batch_job_queue.main["gpu"].compute_environment_order : o.order] == [0, 1]
    error_message = "Spot first, on demand second."
  }

  assert {
    condition     = aws_batch_compute_environment.hosts["gpu-on-demand"].compute_resources[0].type == "EC2" && aws_batch_compute_environment.hosts["gpu-on-demand"].compute_resources[0].allocation_strategy == "BEST_FIT_PROGRESSIVE"
    error_message = "Never BEST_FIT: it cannot be updated, and waits for one type."
  }

  assert {
    condition     = output.compute.gpu.on_demand_queue == null
    error_message = "A fallback is no queue for messages that ask for on demand."
  }
}

run "on_demand_queues_do_not_touch_spot_queues" {
  command = plan

  variables {
    on_demand_queues = true
  }

  assert {
    condition     = length(aws_batch_job_queue.main["gpu"].compute_environment_order) == 1 && endswith(aws_batch_job_queue.main["gpu"].compute_environment_order[0].compute_environment, "/gpu-spot")
    error_message = "The spot queue stays on spot."
  }

  assert {
    condition     = endswith(aws_batch_job_queue.on_demand["gpu"].compute_environment_order[0].compute_environment, "/gpu-on-demand")
    error_message = "The on-demand queue runs on demand."
  }

  assert {
    condition     = output.compute.gpu.on_demand_queue != null && length(output.queue_arns) == 4
    error_message = "The dispatcher and the monitor know the on-demand queues."
  }
}

run "without_spot_the_queue_itself_is_on_demand" {
  command = plan

  variables {
    gpu              = { instance_types = ["g4dn.xlarge"], use_spot = false, max_vcpus = 48, volume_size = 200, image = "", vcpus = 4, memory = 15000, gpus = 1 }
    on_demand_queues = true
  }

  assert {
    condition     = endswith(aws_batch_job_queue.main["gpu"].compute_environment_order[0].compute_environment, "/gpu-on-demand") && !contains(keys(aws_batch_job_queue.on_demand), "gpu")
    error_message = "A second queue with the same machines would be one too many."
  }

  assert {
    condition     = output.compute.gpu.on_demand_queue == output.compute.gpu.queue
    error_message = "A message that asks for on demand can have it."
  }
}

# --- Queues ---

run "queues_have_the_names_that_people_type" {
  command = plan

  assert {
    condition     = { for type, q in aws_batch_job_queue.main : type => q.name } == { cpu = "demo-ml-cpu-job-queue", gpu = "demo-ml-gpu-job-queue" }
    error_message = "These names stand in people's scripts."
  }

  assert {
    condition     = aws_cloudwatch_log_group.jobs.name == "/aws/batch/demo-ml-jobs" && aws_cloudwatch_log_group.jobs.retention_in_days == 30
    error_message = "The log group has its name, and an end."
  }

  assert {
    condition     = { for type, r in aws_ecr_repository.image : type => r.name } == { cpu = "demo-ml-python-slim", gpu = "demo-ml-python" }
    error_message = "build-and-push.sh pushes to these repositories."
  }
}

run "queues_share_fairly_and_cancel_what_cannot_start" {
  command = plan

  assert {
    condition     = alltrue([for q in aws_batch_job_queue.main : q.scheduling_policy_arn == aws_batch_scheduling_policy.fair.arn])
    error_message = "A scheduling policy cannot be added later."
  }

  assert {
    condition = alltrue([
      for q in aws_batch_job_queue.main :
      toset(q.job_state_time_limit_action[*].reason) == toset(["MISCONFIGURATION:COMPUTE_ENVIRONMENT_MAX_RESOURCE", "MISCONFIGURATION:JOB_RESOURCE_REQUIREMENT", "CAPACITY:INSUFFICIENT_INSTANCE_CAPACITY"]) &&
      alltrue([for a in q.job_state_time_limit_action : a.state == "RUNNABLE" && a.action == "CANCEL" && a.max_time_seconds >= 600 && a.max_time_seconds <= 86400])
    ])
    error_message = "A job that cannot start ends with a reason, within what AWS Batch takes."
  }
}

# --- Jobs ---

run "a_lost_host_must_not_end_the_job_and_a_failed_script_must" {
  command = plan

  assert {
    condition = alltrue([
      for d in aws_batch_job_definition.script :
      [for r in d.retry_strategy[0].evaluate_on_exit : join(" ", compact([r.on_status_reason, r.on_reason, r.on_exit_code, r.action]))] ==
      [
        "2 EXIT", "119 EXIT", "OutOfMemoryError* EXIT",
        "CannotPullImageManifestError: Error response from daemon: manifest unknown* EXIT",
        "CannotPullContainerError: Error response from daemon: manifest for* EXIT",
      ]
    ])
    error_message = "Only an end that the next attempt would meet as well is final; what no rule matches is retried."
  }

  assert {
    condition = alltrue([
      for r in local.retry_rules : alltrue([
        for name, pattern in r : name == "action" ? contains(["EXIT", "RETRY"], pattern) : can(regex("^[A-Za-z0-9.:\\s]*[*]?$", pattern))
      ])
    ])
    error_message = "AWS Batch refuses a pattern with other characters, or with an asterisk that is not at its end."
  }

  assert {
    condition     = jsonencode(output.retry_rules[0]) == "{\"action\":\"EXIT\",\"onExitCode\":\"2\"}" && length(output.retry_rules) <= 5
    error_message = "The dispatcher repeats the same rules, in the words of AWS Batch."
  }

  assert {
    condition     = alltrue([for d in aws_batch_job_definition.script : d.retry_strategy[0].attempts == 3 && d.timeout[0].attempt_duration_seconds == 21600])
    error_message = "A job is tried as often and as long as was set."
  }
}

run "containers_get_what_the_runner_needs_and_no_privileges" {
  command = plan

  assert {
    condition = alltrue([
      for type, d in aws_batch_job_definition.script : { for v in jsondecode(d.container_properties).environment : v.name => v.value } == {
        AWS_DEFAULT_REGION = "us-east-1", COMPUTE_TYPE = type, ML_INPUT_BUCKET = "in", ML_MODELS_BUCKET = "models", ML_OUTPUT_BUCKET = "out", PROJECT_NAME = "demo"
      }
    ])
    error_message = "The environment is the one of docs/contracts.md."
  }

  assert {
    condition     = alltrue([for d in aws_batch_job_definition.script : !jsondecode(d.container_properties).privileged && jsondecode(d.container_properties).linuxParameters.sharedMemorySize == 2048])
    error_message = "No privileges, and shared memory for data loaders."
  }

  assert {
    condition     = alltrue([for d in aws_batch_job_definition.script : !jsondecode(d.container_properties).linuxParameters.initProcessEnabled])
    error_message = "A stage could read the job role's credentials in the environment of an init process."
  }

  assert {
    condition = alltrue([
      for d in aws_batch_job_definition.script :
      jsondecode(d.container_properties).mountPoints[0].containerPath == "/opt/models" &&
      jsondecode(d.container_properties).volumes[0].efsVolumeConfiguration.transitEncryption == "ENABLED" &&
      jsondecode(d.container_properties).volumes[0].efsVolumeConfiguration.authorizationConfig == { accessPointId = "fsap-1", iam = "ENABLED" }
    ])
    error_message = "Models come through the access point, encrypted, as the job's role."
  }

  assert {
    condition = alltrue([
      for d in aws_batch_job_definition.script :
      jsondecode(d.container_properties).mountPoints[1] == { sourceVolume = "host", containerPath = "/run/splatworks", readOnly = false } &&
      jsondecode(d.container_properties).volumes[1] == { name = "host", host = { sourcePath = "/run/splatworks" } }
    ])
    error_message = "The runner finds the notices of its host in a folder of the host."
  }

  assert {
    condition = {
      for type, d in aws_batch_job_definition.script : type => { for r in jsondecode(d.container_properties).resourceRequirements : r.type => r.value }
    } == { cpu = { VCPU = "2", MEMORY = "4096" }, gpu = { VCPU = "4", MEMORY = "15000", GPU = "1" } }
    error_message = "A job has the default size of its type; GPU = 0 would be refused by AWS Batch."
  }

  assert {
    condition = {
      for type, d in aws_batch_job_definition.script : type => jsondecode(d.container_properties).image
    } == { cpu = "mine:1", gpu = "123456789012.dkr.ecr.us-east-1.amazonaws.com/mock:latest" }
    error_message = "An empty image means the latest of our own repository."
  }

  assert {
    condition     = alltrue([for d in aws_batch_job_definition.script : d.propagate_tags && length(jsondecode(d.container_properties).command) == 0])
    error_message = "Tags reach the bill, and the image's entrypoint is the runner."
  }
}

# --- Sizes ---

run "the_dispatcher_is_told_what_a_container_can_have" {
  command = plan

  assert {
    condition     = output.compute.gpu.instances[0] == { type = "g4dn.xlarge", vcpus = 4, memory = 15123, gpus = 1 }
    error_message = "16384 MiB are sold, about 15100 can be used: 15000 must fit and 16384 must not."
  }

  # The job of the README: 16 vCPUs, 65536 MiB, 4 GPUs.
  assert {
    condition     = anytrue([for i in output.compute.gpu.instances : i.vcpus >= 16 && i.memory >= 65536 && i.gpus >= 4])
    error_message = "A machine with 4 GPUs is in the list."
  }
}

run "a_default_job_that_fits_no_instance_is_refused" {
  command = plan

  variables {
    gpu = { instance_types = ["g4dn.xlarge"], use_spot = true, max_vcpus = 48, volume_size = 200, image = "", vcpus = 4, memory = 16384, gpus = 1 }
  }

  expect_failures = [aws_batch_job_definition.script["gpu"]]
}

run "a_default_job_above_the_bound_on_vcpus_is_refused" {
  command = plan

  variables {
    gpu = { instance_types = ["g4dn.12xlarge"], use_spot = true, max_vcpus = 8, volume_size = 200, image = "", vcpus = 16, memory = 15000, gpus = 1 }
  }

  expect_failures = [aws_batch_job_definition.script["gpu"]]
}

run "shared_memory_larger_than_the_job_is_refused" {
  command = plan

  variables {
    shared_memory_size = 8192
  }

  expect_failures = [aws_batch_job_definition.script["cpu"]]
}

run "a_type_that_the_region_lacks_is_left_out_with_a_warning" {
  command = plan

  variables {
    gpu = { instance_types = ["g4dn.xlarge", "g99.xlarge"], use_spot = true, max_vcpus = 48, volume_size = 200, image = "", vcpus = 4, memory = 15000, gpus = 1 }
  }

  expect_failures = [check.instance_types_are_offered]

  assert {
    condition     = aws_batch_compute_environment.hosts["gpu-spot"].compute_resources[0].instance_type == toset(["g4dn.xlarge"])
    error_message = "AWS Batch refuses an environment for one unknown type."
  }
}

run "cpu_types_for_gpu_jobs_are_refused" {
  command = plan

  variables {
    gpu = { instance_types = ["g4dn.xlarge", "m7i.xlarge"], use_spot = true, max_vcpus = 48, volume_size = 200, image = "", vcpus = 4, memory = 15000, gpus = 1 }
  }

  expect_failures = [aws_batch_compute_environment.hosts["gpu-spot"]]
}

run "arm_types_are_refused" {
  command = plan

  variables {
    gpu = { instance_types = ["g4dn.xlarge", "g5g.xlarge"], use_spot = true, max_vcpus = 48, volume_size = 200, image = "", vcpus = 4, memory = 15000, gpus = 1 }
  }

  expect_failures = [aws_batch_compute_environment.hosts["gpu-spot"]]
}
