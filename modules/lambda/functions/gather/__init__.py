"""Gather what Batch, S3 and CloudWatch Logs know about a job or a run that has ended."""
