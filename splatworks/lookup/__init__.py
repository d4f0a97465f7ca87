"""What S3 and ECR know about a message: its scripts, images, inputs, scenes and earlier results. Reads only."""
