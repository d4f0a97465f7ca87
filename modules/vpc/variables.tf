variable "project_name" {
  description = "Begins the name of every resource."
  type        = string
}

variable "aws_region" {
  description = "Region of the S3 endpoint."
  type        = string
}

variable "vpc_cidr" {
  description = "Address range, cut into 16 subnets: 8 public, 8 private."
  type        = string
}

variable "private_subnets" {
  description = "Run jobs in private subnets behind a NAT gateway."
  type        = bool
}
