mock_provider "aws" {
  override_during = plan

  mock_data "aws_iam_policy_document" {
    defaults = { json = "{}" }
  }
}

variables {
  project_name              = "demo"
  account_id                = "123456789012"
  aws_region                = "us-east-1"
  package_folder            = "tests/scripts/splatworks"
  stages_folder             = "tests/scripts/jobs"
  examples_folder           = "tests/scripts/examples"
  checkpoint_retention_days = 14
  run_retention_days        = 180
  start_on_upload           = false
  force_destroy             = false
}

run "nobody_is_told_of_uploads_unless_asked" {
  command = plan

  assert {
    condition     = length(aws_s3_bucket_notification.input) == 0
    error_message = "No events without start_on_upload."
  }
}

run "uploads_to_the_input_bucket_are_events_when_asked" {
  command = plan

  variables {
    start_on_upload = true
  }

  assert {
    condition     = aws_s3_bucket_notification.input[0].eventbridge && aws_s3_bucket_notification.input[0].bucket == "demo-ml-input-123456789012-us-east-1"
    error_message = "The input bucket, and not the one that jobs write to: that would go round."
  }
}

run "buckets_are_private" {
  command = plan

  assert {
    condition = length(aws_s3_bucket_public_access_block.data) == length(aws_s3_bucket.data) && alltrue(flatten([
      for block in aws_s3_bucket_public_access_block.data :
      [block.block_public_acls, block.block_public_policy, block.ignore_public_acls, block.restrict_public_buckets]
    ]))
    error_message = "Every bucket blocks every kind of public access."
  }

  assert {
    condition     = length(aws_s3_bucket_ownership_controls.data) == 3 && alltrue([for c in aws_s3_bucket_ownership_controls.data : c.rule[0].object_ownership == "BucketOwnerEnforced"])
    error_message = "No access control lists."
  }

  assert {
    condition = length(aws_s3_bucket_policy.tls_only) == 3 && alltrue([
      for document in data.aws_iam_policy_document.tls_only :
      document.statement[0].effect == "Deny" && toset(document.statement[0].actions) == toset(["s3:*"]) && one(document.statement[0].condition).variable == "aws:SecureTransport"
    ])
    error_message = "Nothing is read or written without TLS."
  }

  assert {
    condition     = length(aws_s3_bucket_server_side_encryption_configuration.data) == 3
    error_message = "Every bucket is encrypted."
  }
}

run "photos_and_models_can_be_had_back" {
  command = plan

  assert {
    condition     = toset(keys(aws_s3_bucket_versioning.data)) == toset(["input", "models"]) && alltrue([for v in aws_s3_bucket_versioning.data : v.versioning_configuration[0].status == "Enabled"])
    error_message = "What people upload is versioned; the output, overwritten all the time, is not."
  }

  assert {
    condition     = alltrue([for bucket in aws_s3_bucket.data : !bucket.force_destroy])
    error_message = "terraform destroy must stop at photos and results."
  }
}

run "old_data_ends" {
  command = plan

  assert {
    condition = {
      for rule in aws_s3_bucket_lifecycle_configuration.output.rule : rule.filter[0].prefix => rule.expiration[0].days if length(rule.expiration) > 0 && rule.status == "Enabled"
    } == { "checkpoints/" = 14, "runs/" = 180, "reuse/" = 178 }
    error_message = "Checkpoints, runs and the records of where results lie end after the days that were set."
  }

  assert {
    condition     = alltrue([for c in aws_s3_bucket_lifecycle_configuration.versioned : c.rule[0].noncurrent_version_expiration[0].noncurrent_days == 30])
    error_message = "Old versions are paid for 30 days, not forever."
  }
}

run "zero_days_keep_runs_forever" {
  command = plan

  variables {
    run_retention_days = 0
  }

  assert {
    condition     = [for rule in aws_s3_bucket_lifecycle_configuration.output.rule : rule.filter[0].prefix if length(rule.expiration) > 0 && rule.status == "Enabled"] == ["checkpoints/"]
    error_message = "0 means that no rule ends runs."
  }
}

run "one_apply_uploads_the_scripts" {
  command = plan

  assert {
    condition = toset(keys(aws_s3_object.script)) == toset([
      "stages/sfm.py", "stages/cleanup_processor.py", "stages/splatkit/cameras.py", "stages/viewer.html",
      "stages/splatworks/__init__.py", "stages/splatworks/contract/stages/__init__.py",
      "jobs/cleanup_processor.py", "examples/cpu_processing.py",
    ])
    error_message = "Scripts travel, tests and notes do not, and jobs/ holds nothing of ours but the clean-up script: ${join(", ", keys(aws_s3_object.script))}"
  }

  assert {
    condition     = aws_s3_object.script["stages/sfm.py"].source_hash == filemd5("tests/scripts/jobs/sfm.py")
    error_message = "A changed script is uploaded, an unchanged one is not."
  }

  assert {
    condition     = aws_s3_object.script["stages/viewer.html"].content_type == "text/html"
    error_message = "A page is served as a page."
  }
}
