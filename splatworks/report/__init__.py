"""E-mails about jobs and runs, composed from facts. Makes no AWS call."""
