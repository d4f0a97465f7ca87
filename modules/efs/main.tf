# /opt/models of every job: a cache of pretrained models that all jobs share. Everything in it can be fetched again.

terraform {
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "~> 5.100"
    }
  }
}

locals {
  # The user that every file belongs to, whoever a container runs as.
  owner = 1000
}

resource "aws_efs_file_system" "models" {
  #checkov:skip=CKV_AWS_184:Encrypted with the AWS-managed key; a key of our own would cost more than the cache is worth.
  creation_token  = "${var.project_name}-ml-models"
  encrypted       = true
  throughput_mode = "elastic"
  tags            = { Name = "${var.project_name}-ml-models" }

  lifecycle_policy {
    transition_to_ia = "AFTER_30_DAYS"
  }

  lifecycle_policy {
    transition_to_primary_storage_class = "AFTER_1_ACCESS"
  }
}

resource "aws_efs_access_point" "models" {
  file_system_id = aws_efs_file_system.models.id
  tags           = { Name = "${var.project_name}-ml-models" }

  posix_user {
    uid = local.owner
    gid = local.owner
  }

  root_directory {
    path = "/models"

    creation_info {
      owner_uid   = local.owner
      owner_gid   = local.owner
      permissions = "0755"
    }
  }
}

# Without a policy, whoever reaches a mount target may mount as root, IAM or not.
data "aws_iam_policy_document" "mount" {
  statement {
    sid       = "JobsThroughTheAccessPoint"
    actions   = ["elasticfilesystem:ClientMount", "elasticfilesystem:ClientWrite"]
    resources = [aws_efs_file_system.models.arn]

    principals {
      type        = "AWS"
      identifiers = ["arn:${data.aws_partition.current.partition}:iam::${var.account_id}:root"]
    }

    condition {
      test     = "StringEquals"
      variable = "elasticfilesystem:AccessPointArn"
      values   = [aws_efs_access_point.models.arn]
    }
  }

  statement {
    sid       = "TlsOnly"
    effect    = "Deny"
    actions   = ["elasticfilesystem:Client*"]
    resources = [aws_efs_file_system.models.arn]

    principals {
      type        = "AWS"
      identifiers = ["*"]
    }

    condition {
      test     = "Bool"
      variable = "aws:SecureTransport"
      values   = ["false"]
    }
  }
}

data "aws_partition" "current" {}

resource "aws_efs_file_system_policy" "models" {
  file_system_id = aws_efs_file_system.models.id
  policy         = data.aws_iam_policy_document.mount.json
}

resource "aws_efs_mount_target" "models" {
  for_each = var.subnet_ids

  file_system_id  = aws_efs_file_system.models.id
  subnet_id       = each.value
  security_groups = [aws_security_group.models.id]
}

resource "aws_security_group" "models" {
  name        = "${var.project_name}-ml-models"
  description = "The models' file system: NFS from the hosts of jobs"
  vpc_id      = var.vpc_id
  tags        = { Name = "${var.project_name}-ml-models" }
}

resource "aws_vpc_security_group_ingress_rule" "nfs" {
  security_group_id            = aws_security_group.models.id
  description                  = "Hosts of jobs"
  ip_protocol                  = "tcp"
  from_port                    = 2049
  to_port                      = 2049
  referenced_security_group_id = var.client_security_group_id
}
