"""Run one job on this machine: its process, folders and memory, and an S3 that lives as long as the run."""
