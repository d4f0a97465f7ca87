# Public subnets without inbound rules cost nothing; a NAT gateway, which private subnets need, costs by the hour.

terraform {
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "~> 5.100"
    }
  }
}

data "aws_availability_zones" "usable" {
  #checkov:skip=CKV_AWS_394:A zone that AWS adds gets one more subnet, and more spot capacity to choose from; no other subnet changes.
  state = "available"

  # An old zone of us-east-1 with neither EFS nor any current instance type.
  exclude_zone_ids = ["use1-az3"]

  # Local and wavelength zones have no Batch.
  filter {
    name   = "opt-in-status"
    values = ["opt-in-not-required"]
  }
}

locals {
  # Numbered by the zone's letter, not by its place in the list: a zone that AWS adds must not renumber the others.
  zones = { for name in data.aws_availability_zones.usable.names : name => index(split("", "abcdefgh"), substr(name, -1, 1)) }
}

resource "aws_vpc" "main" {
  #checkov:skip=CKV2_AWS_11:Flow logs cost more than the platform at rest; hosts have no inbound rules and live for one job.
  cidr_block           = var.vpc_cidr
  enable_dns_support   = true
  enable_dns_hostnames = true
  tags                 = { Name = "${var.project_name}-ml" }
}

# Without rules, so that nothing that lands in the default group by mistake can talk.
resource "aws_default_security_group" "closed" {
  vpc_id = aws_vpc.main.id
}

# --- Public ---

resource "aws_internet_gateway" "main" {
  vpc_id = aws_vpc.main.id
  tags   = { Name = "${var.project_name}-ml" }
}

resource "aws_subnet" "public" {
  for_each = local.zones

  vpc_id                  = aws_vpc.main.id
  availability_zone       = each.key
  cidr_block              = cidrsubnet(var.vpc_cidr, 4, each.value)
  map_public_ip_on_launch = !var.private_subnets
  tags                    = { Name = "${var.project_name}-ml-public-${each.key}" }
}

resource "aws_route_table" "public" {
  vpc_id = aws_vpc.main.id
  tags   = { Name = "${var.project_name}-ml-public" }
}

resource "aws_route" "internet" {
  route_table_id         = aws_route_table.public.id
  destination_cidr_block = "0.0.0.0/0"
  gateway_id             = aws_internet_gateway.main.id
}

resource "aws_route_table_association" "public" {
  for_each = aws_subnet.public

  subnet_id      = each.value.id
  route_table_id = aws_route_table.public.id
}

# --- Private, where asked for ---

resource "aws_subnet" "private" {
  for_each = var.private_subnets ? local.zones : {}

  vpc_id            = aws_vpc.main.id
  availability_zone = each.key
  cidr_block        = cidrsubnet(var.vpc_cidr, 4, 8 + each.value)
  tags              = { Name = "${var.project_name}-ml-private-${each.key}" }
}

resource "aws_eip" "nat" {
  count = var.private_subnets ? 1 : 0

  domain = "vpc"
  tags   = { Name = "${var.project_name}-ml-nat" }
}

# One for all zones: a job that loses its way out is retried, and a gateway per zone would cost that many times as much.
resource "aws_nat_gateway" "main" {
  count = var.private_subnets ? 1 : 0

  allocation_id = aws_eip.nat[0].id
  subnet_id     = aws_subnet.public[sort(keys(local.zones))[0]].id
  tags          = { Name = "${var.project_name}-ml" }
  depends_on    = [aws_internet_gateway.main]
}

resource "aws_route_table" "private" {
  count = var.private_subnets ? 1 : 0

  vpc_id = aws_vpc.main.id
  tags   = { Name = "${var.project_name}-ml-private" }
}

resource "aws_route" "nat" {
  count = var.private_subnets ? 1 : 0

  route_table_id         = aws_route_table.private[0].id
  destination_cidr_block = "0.0.0.0/0"
  nat_gateway_id         = aws_nat_gateway.main[0].id
}

resource "aws_route_table_association" "private" {
  for_each = aws_subnet.private

  subnet_id      = each.value.id
  route_table_id = aws_route_table.private[0].id
}

# --- What jobs may reach ---

# Free, and it carries nearly all bytes: photos, results and the layers of images.
resource "aws_vpc_endpoint" "s3" {
  vpc_id            = aws_vpc.main.id
  service_name      = "com.amazonaws.${var.aws_region}.s3"
  vpc_endpoint_type = "Gateway"
  route_table_ids   = concat([aws_route_table.public.id], aws_route_table.private[*].id)
  tags              = { Name = "${var.project_name}-ml-s3" }
}

resource "aws_security_group" "jobs" {
  #checkov:skip=CKV2_AWS_5:The batch module's launch template puts it on every host.
  name        = "${var.project_name}-ml-jobs"
  description = "Hosts of jobs: nothing in, HTTPS and the models' file system out"
  vpc_id      = aws_vpc.main.id
  tags        = { Name = "${var.project_name}-ml-jobs" }
}

resource "aws_vpc_security_group_egress_rule" "https" {
  security_group_id = aws_security_group.jobs.id
  description       = "AWS APIs, images and Python packages"
  ip_protocol       = "tcp"
  from_port         = 443
  to_port           = 443
  cidr_ipv4         = "0.0.0.0/0"
}

resource "aws_vpc_security_group_egress_rule" "nfs" {
  security_group_id = aws_security_group.jobs.id
  description       = "The models' file system"
  ip_protocol       = "tcp"
  from_port         = 2049
  to_port           = 2049
  cidr_ipv4         = var.vpc_cidr
}
