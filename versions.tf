terraform {
  required_version = ">= 1.10"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "~> 5.100"
    }
  }

  # The bucket, region and lock come from the command line, so that one checkout serves many accounts:
  #   terraform init -backend-config=bucket=my-terraform-state -backend-config=region=us-east-1 -backend-config=use_lockfile=true
  backend "s3" {
    key     = "splatworks/terraform.tfstate"
    encrypt = true
  }
}

provider "aws" {
  region = var.aws_region

  # Not "project": that tag belongs to the jobs, which carry the project of their message.
  default_tags {
    tags = {
      platform   = var.project_name
      managed_by = "terraform"
    }
  }
}
