mock_provider "aws" {
  override_during = plan

  mock_data "aws_partition" {
    defaults = { partition = "aws" }
  }

  mock_data "aws_iam_policy_document" {
    defaults = { json = "{}" }
  }

  override_data {
    target = data.aws_ec2_instance_type.offered["g4dn.xlarge"]
    values = { default_vcpus = 4, memory_size = 16384, gpus = [{ count = 1 }], supported_architectures = ["x86_64"] }
  }

  override_data {
    target = data.aws_ec2_instance_type.offered["m7i.xlarge"]
    values = { default_vcpus = 4, memory_size = 16384, gpus = [], supported_architectures = ["x86_64"] }
  }

  override_data {
    target = data.aws_ec2_instance_type_offerings.here
    values = { instance_types = ["g4dn.xlarge", "m7i.xlarge"] }
  }

  mock_resource "aws_cloudwatch_log_group" {
    defaults = { arn = "arn:aws:logs:us-east-1:123456789012:log-group:/aws/batch/demo-ml-jobs" }
  }
}

variables {
  project_name       = "demo"
  account_id         = "123456789012"
  aws_region         = "us-east-1"
  subnet_ids         = ["subnet-a"]
  security_group_id  = "sg-jobs"
  input_bucket       = { name = "in", arn = "arn:aws:s3:::in" }
  output_bucket      = { name = "out", arn = "arn:aws:s3:::out" }
  models_bucket      = { name = "models", arn = "arn:aws:s3:::models" }
  extra_buckets      = ["mine"]
  models_file_system = { id = "fs-1", arn = "arn:aws:elasticfilesystem:us-east-1:123456789012:file-system/fs-1", access_point_id = "fsap-1", access_point_arn = "arn:aws:elasticfilesystem:us-east-1:123456789012:access-point/fsap-1" }

  gpu = { instance_types = ["g4dn.xlarge"], use_spot = true, max_vcpus = 48, volume_size = 200, image = "", vcpus = 4, memory = 15000, gpus = 1 }
  cpu = { instance_types = ["m7i.xlarge"], use_spot = true, max_vcpus = 64, volume_size = 100, image = "", vcpus = 2, memory = 4096, gpus = 0 }

  on_demand_fallback  = false
  on_demand_queues    = false
  job_timeout_seconds = 21600
  job_attempts        = 3
  shared_memory_size  = 2048
  log_retention_days  = 30
  force_destroy       = false
}

run "jobs_write_only_runs_checkpoints_and_where_results_lie" {
  command = plan

  assert {
    condition = toset(flatten([
      for s in data.aws_iam_policy_document.job.statement : tolist(s.resources)
      if length(setintersection(s.actions, ["s3:PutObject", "s3:DeleteObject"])) > 0
    ])) == toset(["arn:aws:s3:::out/runs/*", "arn:aws:s3:::out/checkpoints/*", "arn:aws:s3:::out/reuse/*"])
    error_message = "A job can neither change nor delete photos, scripts and models."
  }

  assert {
    condition = toset(flatten([
      for s in data.aws_iam_policy_document.job.statement : tolist(s.actions) if contains(s.resources, "arn:aws:s3:::out/reuse/*")
    ])) == toset(["s3:PutObject"])
    error_message = "A job records where its result lies; the lifecycle removes it."
  }

  # CopyObject asks for reading the source, and both ways of copying for writing the target.
  assert {
    condition = anytrue([
      for s in data.aws_iam_policy_document.job.statement : contains(s.actions, "s3:GetObject") && contains(s.resources, "arn:aws:s3:::out/*")
      ]) && anytrue([
      for s in data.aws_iam_policy_document.job.statement :
      length(setsubtract(["s3:PutObject", "s3:AbortMultipartUpload"], s.actions)) == 0 && contains(s.resources, "arn:aws:s3:::out/runs/*")
    ])
    error_message = "A job can copy an earlier result into its own output."
  }
}

run "jobs_read_only_the_buckets_of_the_platform" {
  command = plan

  assert {
    condition = toset(flatten([
      for s in data.aws_iam_policy_document.job.statement : tolist(s.resources) if contains(s.actions, "s3:GetObject")
    ])) == toset(["arn:aws:s3:::in/*", "arn:aws:s3:::out/*", "arn:aws:s3:::models/*", "arn:aws:s3:::mine/*"])
    error_message = "The three buckets and those that were named."
  }
}

run "jobs_mount_only_the_models" {
  command = plan

  assert {
    condition = alltrue([
      for s in data.aws_iam_policy_document.job.statement :
      toset(s.resources) == toset([var.models_file_system.arn]) && one(s.condition[*].values) == tolist([var.models_file_system.access_point_arn])
      if anytrue([for action in s.actions : startswith(action, "elasticfilesystem:")])
    ])
    error_message = "Through the access point of the models, and not as root."
  }
}

run "jobs_describe_only_machines_of_the_platforms_clusters" {
  command = plan

  assert {
    condition = alltrue([
      for s in data.aws_iam_policy_document.job.statement :
      alltrue([for resource in s.resources : endswith(resource, "/*demo-ml-*/*")])
      if anytrue([for action in s.actions : startswith(action, "ecs:")])
    ])
    error_message = "Tasks of other applications carry their secrets in their environment."
  }
}

run "nothing_is_allowed_wholesale" {
  command = plan

  assert {
    condition = alltrue(flatten([
      for document in [data.aws_iam_policy_document.job, data.aws_iam_policy_document.execution] :
      [for s in document.statement : [for action in s.actions : !strcontains(action, "*")]]
    ]))
    error_message = "Each action is named."
  }

  assert {
    condition = toset(flatten([
      for document in [data.aws_iam_policy_document.job, data.aws_iam_policy_document.execution] :
      [for s in document.statement : tolist(s.actions) if contains(s.resources, "*")]
    ])) == toset(["ec2:DescribeInstances", "ec2:DescribeSpotPriceHistory", "ecr:GetAuthorizationToken"])
    error_message = "Only calls that know no resources, and only read, are allowed on all."
  }

  assert {
    condition = toset(flatten([
      for s in data.aws_iam_policy_document.execution.statement : tolist(s.resources) if contains(s.actions, "logs:PutLogEvents")
    ])) == toset(["arn:aws:logs:us-east-1:123456789012:log-group:/aws/batch/demo-ml-jobs:*"])
    error_message = "Logs go to the log group of the jobs."
  }
}
