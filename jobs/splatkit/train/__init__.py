"""Training: cameras and points in, Gaussians out."""
