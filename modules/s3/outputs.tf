output "input_bucket" {
  description = "Name and ARN of the bucket for scripts and photos."
  value       = { name = aws_s3_bucket.data["input"].id, arn = aws_s3_bucket.data["input"].arn }
}

output "output_bucket" {
  description = "Name and ARN of the bucket for results and checkpoints."
  value       = { name = aws_s3_bucket.data["output"].id, arn = aws_s3_bucket.data["output"].arn }
}

output "models_bucket" {
  description = "Name and ARN of the bucket for pretrained models."
  value       = { name = aws_s3_bucket.data["models"].id, arn = aws_s3_bucket.data["models"].arn }
}
