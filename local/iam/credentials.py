"""Credentials for the processes of functions and jobs."""

from __future__ import annotations

from collections.abc import Callable

Credentials = Callable[[str, str], dict[str, str]]  # environment variables for (role ARN, session name)


def administrator(_role: str, _session: str) -> dict[str, str]:
    """Add no credentials: the process keeps the administrator's, which all processes have."""
    return {}
