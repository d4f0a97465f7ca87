mock_provider "aws" {
  override_during = plan

  mock_data "aws_iam_policy_document" {
    defaults = { json = "{}" }
  }

  mock_data "aws_partition" {
    defaults = { partition = "aws" }
  }

  mock_resource "aws_efs_access_point" {
    defaults = { arn = "arn:aws:elasticfilesystem:us-east-1:123456789012:access-point/fsap-1" }
  }
}

variables {
  project_name             = "demo"
  account_id               = "123456789012"
  vpc_id                   = "vpc-1"
  subnet_ids               = { us-east-1a = "subnet-a", us-east-1b = "subnet-b" }
  client_security_group_id = "sg-jobs"
}

run "models_are_encrypted" {
  command = plan

  assert {
    condition     = aws_efs_file_system.models.encrypted
    error_message = "The file system is encrypted."
  }
}

run "only_jobs_reach_the_models_and_only_through_the_access_point" {
  command = plan

  assert {
    condition     = aws_vpc_security_group_ingress_rule.nfs.referenced_security_group_id == "sg-jobs" && aws_vpc_security_group_ingress_rule.nfs.from_port == 2049 && aws_vpc_security_group_ingress_rule.nfs.to_port == 2049
    error_message = "NFS from the hosts of jobs, nothing else."
  }

  assert {
    condition = alltrue([
      for s in data.aws_iam_policy_document.mount.statement :
      s.effect == "Deny" || one(s.condition).values == tolist([aws_efs_access_point.models.arn])
    ])
    error_message = "The file system's policy lets nobody in beside the access point."
  }

  assert {
    condition     = !contains(flatten(data.aws_iam_policy_document.mount.statement[*].actions), "elasticfilesystem:ClientRootAccess")
    error_message = "Nobody is root on the file system."
  }

  assert {
    condition     = anytrue([for s in data.aws_iam_policy_document.mount.statement : s.effect == "Deny" && one(s.condition).variable == "aws:SecureTransport"])
    error_message = "Nobody mounts without TLS."
  }

  assert {
    condition     = aws_efs_access_point.models.posix_user[0].uid == aws_efs_access_point.models.root_directory[0].creation_info[0].owner_uid
    error_message = "The user of the access point owns its folder, or no job could write."
  }
}

run "every_zone_of_jobs_has_a_mount_target" {
  command = plan

  assert {
    condition     = tomap({ for zone, target in aws_efs_mount_target.models : zone => target.subnet_id }) == var.subnet_ids
    error_message = "A job in a zone without mount target cannot start."
  }
}
