"""The embedded AWS: the same Terraform, Lambda zip and runner, on one machine."""
