"""The files that splats are kept in."""
