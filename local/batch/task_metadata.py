"""Serve ECS's task metadata endpoint from moto's server."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from moto.moto_server.werkzeug_app import DomainDispatcherApplication

from local.moto.hooks import Hooks

METADATA_PATH = "/v4/"


def serve_metadata(hooks: Hooks, task_metadata: Callable[[str], dict[str, Any] | None]) -> None:
    """Answer GET /v4/<task>[/task] with `task_metadata`; leave everything else to moto."""

    def answer(original: Any, app: Any, environ: dict[str, Any], start_response: Any) -> Any:
        path = environ.get("PATH_INFO", "")
        if not path.startswith(METADATA_PATH) or environ.get("HTTP_AUTHORIZATION"):
            return original(app, environ, start_response)
        metadata = task_metadata(path.removeprefix(METADATA_PATH))
        status = "404 Not Found" if metadata is None else "200 OK"
        start_response(status, [("Content-Type", "application/json")])
        return [json.dumps(metadata or {}).encode()]

    hooks.wrap(DomainDispatcherApplication, "__call__", answer)
