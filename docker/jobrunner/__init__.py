"""What docker/runner.py is made of. boto3 and the standard library only: this runs in every image."""
