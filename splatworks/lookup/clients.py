"""How these modules get a boto3 client: the caller passes a function, since each program makes its clients its own way."""

from collections.abc import Callable
from typing import Any

Clients = Callable[[str], Any]  # service name, such as "s3", to client
