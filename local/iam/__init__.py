"""IAM: credentials of roles, and a check of each call against their policies."""
