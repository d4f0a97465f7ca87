"""AWS clients, idempotency, notification and logs: what both functions use."""
