"""While the script runs: checkpoints, progress and signs of life go to S3 at intervals."""
