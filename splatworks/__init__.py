"""Splatworks: photos to 3D Gaussian splats on AWS Batch."""
