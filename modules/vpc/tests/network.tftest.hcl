mock_provider "aws" {
  override_during = plan

  mock_data "aws_availability_zones" {
    defaults = { names = ["us-east-1a", "us-east-1b", "us-east-1f"] }
  }

  mock_resource "aws_security_group" {
    defaults = { ingress = [] }
  }

  override_resource {
    target          = aws_route_table.public
    override_during = plan
    values          = { id = "rtb-public" }
  }

  override_resource {
    target          = aws_route_table.private
    override_during = plan
    values          = { id = "rtb-private" }
  }

  override_resource {
    target          = aws_subnet.public
    override_during = plan
    values          = { id = "subnet-public" }
  }

  override_resource {
    target          = aws_subnet.private
    override_during = plan
    values          = { id = "subnet-private" }
  }
}

variables {
  project_name    = "demo"
  aws_region      = "us-east-1"
  vpc_cidr        = "10.0.0.0/16"
  private_subnets = false
}

run "jobs_run_in_public_subnets_without_a_gateway_that_costs" {
  command = plan

  assert {
    condition     = length(aws_nat_gateway.main) + length(aws_eip.nat) + length(aws_subnet.private) == 0
    error_message = "A NAT gateway costs 33 USD a month and must be asked for."
  }

  assert {
    condition     = distinct(values(output.subnet_ids)) == tolist(["subnet-public"]) && length(output.subnet_ids) == 3
    error_message = "Jobs run in every zone: each is one more pool of spot capacity."
  }

  assert {
    condition     = alltrue([for subnet in aws_subnet.public : subnet.map_public_ip_on_launch])
    error_message = "Without a NAT gateway a host without public address reaches nothing."
  }
}

run "a_new_zone_does_not_renumber_the_others" {
  command = plan

  assert {
    condition     = aws_subnet.public["us-east-1f"].cidr_block == "10.0.80.0/20"
    error_message = "A subnet's range follows from its zone's letter, not from its place in the list."
  }
}

run "s3_is_reached_for_free" {
  command = plan

  assert {
    condition     = aws_vpc_endpoint.s3.vpc_endpoint_type == "Gateway" && aws_vpc_endpoint.s3.service_name == "com.amazonaws.us-east-1.s3"
    error_message = "The gateway endpoint of S3 is free; an interface endpoint or a NAT gateway takes money per GB."
  }
}

run "hosts_may_only_speak_https_and_nfs" {
  command = plan

  assert {
    condition     = [aws_vpc_security_group_egress_rule.https.from_port, aws_vpc_security_group_egress_rule.https.to_port] == [443, 443]
    error_message = "To the world: HTTPS only."
  }

  assert {
    condition     = aws_vpc_security_group_egress_rule.nfs.to_port == 2049 && aws_vpc_security_group_egress_rule.nfs.cidr_ipv4 == var.vpc_cidr
    error_message = "NFS stays inside the network."
  }

  # A rule can stand in the group or beside it, and what is not there cannot be asked for by name.
  assert {
    condition     = length(aws_security_group.jobs.ingress) == 0 && !strcontains(file("main.tf"), "ingress_rule")
    error_message = "Nothing comes in."
  }
}

run "private_subnets_are_one_variable_away" {
  command = plan

  variables {
    private_subnets = true
  }

  assert {
    condition     = length(aws_nat_gateway.main) == 1
    error_message = "One gateway: each costs 33 USD a month."
  }

  assert {
    condition     = distinct(values(output.subnet_ids)) == tolist(["subnet-private"]) && length(output.subnet_ids) == 3
    error_message = "Jobs run in the private subnets."
  }

  assert {
    condition = alltrue([
      for subnet in concat(values(aws_subnet.public), values(aws_subnet.private)) : coalesce(subnet.map_public_ip_on_launch, false) == false
    ])
    error_message = "No host gets a public address."
  }

  assert {
    condition     = aws_vpc_endpoint.s3.route_table_ids == toset(["rtb-public", "rtb-private"])
    error_message = "The bytes of S3 do not go through the NAT gateway, which charges for them."
  }
}
