"""Callers pass a function that returns boto3 clients: each program makes its clients in its own way."""

from collections.abc import Callable
from typing import Any

Clients = Callable[[str], Any]  # service name, such as "s3", to client
