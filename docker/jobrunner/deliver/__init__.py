"""After the script: its output, earlier results, and job.json."""
