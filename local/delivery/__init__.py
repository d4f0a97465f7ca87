"""Deliver in the background: work after the answer to a call, dead letters, log lines, e-mails."""
