"""Metadata services of a host: instance metadata (IMDSv2), the ECS agent's introspection, task metadata.

On EC2 they have the same address on each host; here each host has a separate path on moto's server.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from moto.moto_server.werkzeug_app import DomainDispatcherApplication

from local.moto.hooks import Hooks

TASK_PATH, INSTANCE_PATH, AGENT_PATH = "/v4/", "/instance-metadata/", "/ecs-agent/"
MOST_TOKEN_SECONDS = 21_600
TTL_HEADER, TOKEN_HEADER = "HTTP_X_AWS_EC2_METADATA_TOKEN_TTL_SECONDS", "HTTP_X_AWS_EC2_METADATA_TOKEN"


@dataclass(frozen=True)
class Answer:
    status: str
    body: bytes
    content_type: str = "text/plain"


NOT_FOUND = Answer("404 Not Found", b"")


def as_json(document: Any) -> Answer:
    return Answer("200 OK", json.dumps(document).encode(), "application/json")


class Tokens:
    """Session tokens of IMDSv2, for as long as their caller asked."""

    def __init__(self) -> None:
        self._until: dict[str, float] = {}

    def put(self, environ: dict[str, Any]) -> Answer:
        try:
            seconds = int(environ.get(TTL_HEADER, ""))
        except ValueError:
            return Answer("400 Bad Request", b"")
        if not 1 <= seconds <= MOST_TOKEN_SECONDS or "HTTP_X_FORWARDED_FOR" in environ:
            return Answer("400 Bad Request", b"")
        token = secrets.token_urlsafe(40)
        self._until[token] = time.monotonic() + seconds
        return Answer("200 OK", token.encode())

    def holds(self, environ: dict[str, Any]) -> bool:
        return self._until.get(environ.get(TOKEN_HEADER, ""), 0.0) > time.monotonic()


class HostMetadata:
    """Answers requests below the three paths with functions of the fleet; leaves everything else to moto."""

    def __init__(
        self,
        task: Callable[[str, str], dict[str, Any] | None],
        instance: Callable[[str, str], str | None],
        agent: Callable[[str, str], dict[str, Any] | None],
    ) -> None:
        self._task, self._instance, self._agent = task, instance, agent
        self._tokens = Tokens()

    def install(self, hooks: Hooks) -> None:
        def answer(original: Any, app: Any, environ: dict[str, Any], start_response: Any) -> Any:
            found = None if environ.get("HTTP_AUTHORIZATION") else self._answer(environ)
            if found is None:
                return original(app, environ, start_response)
            start_response(found.status, [("Content-Type", found.content_type)])
            return [found.body]

        hooks.wrap(DomainDispatcherApplication, "__call__", answer)

    def _answer(self, environ: dict[str, Any]) -> Answer | None:
        path = environ.get("PATH_INFO", "")
        for prefix, ask in (
            (TASK_PATH, self._ask_task),
            (INSTANCE_PATH, self._ask_instance),
            (AGENT_PATH, self._ask_agent),
        ):
            if path.startswith(prefix):
                name, _, rest = path.removeprefix(prefix).partition("/")
                return ask(name, rest, environ)
        return None

    def _ask_task(self, task_id: str, rest: str, _: dict[str, Any]) -> Answer:
        document = self._task(task_id, rest)
        return NOT_FOUND if document is None else as_json(document)

    def _ask_agent(self, instance_id: str, rest: str, _: dict[str, Any]) -> Answer:
        document = self._agent(instance_id, rest)
        return NOT_FOUND if document is None else as_json(document)

    def _ask_instance(self, instance_id: str, rest: str, environ: dict[str, Any]) -> Answer:
        if environ.get("REQUEST_METHOD") == "PUT":
            return self._tokens.put(environ) if rest == "latest/api/token" else Answer("405 Method Not Allowed", b"")
        if not self._tokens.holds(environ):  # http_tokens = "required" in the launch template
            return Answer("401 Unauthorized", b"")
        text = self._instance(instance_id, rest.removeprefix("latest/meta-data/"))
        return NOT_FOUND if text is None else Answer("200 OK", text.encode())
