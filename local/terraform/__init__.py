"""Run Terraform on the project's root module against the embedded AWS."""
