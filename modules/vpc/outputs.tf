output "vpc_id" {
  description = "The network."
  value       = aws_vpc.main.id
}

output "subnet_ids" {
  description = "Subnets that jobs run in, by zone."
  value       = { for zone, subnet in(var.private_subnets ? aws_subnet.private : aws_subnet.public) : zone => subnet.id }

  # Hosts must find their way out from the first second, and keep it until they are gone.
  depends_on = [
    aws_route.internet,
    aws_route.nat,
    aws_route_table_association.public,
    aws_route_table_association.private,
    aws_vpc_endpoint.s3,
  ]
}

output "job_security_group_id" {
  description = "Security group of the hosts of jobs."
  value       = aws_security_group.jobs.id
}
