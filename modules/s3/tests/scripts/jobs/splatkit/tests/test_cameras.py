"""Not for the bucket."""
