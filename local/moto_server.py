"""moto's server in a thread of this process, where the hooks reach its state."""

from __future__ import annotations

import contextlib
import json
import logging
import socket
from collections.abc import Callable
from typing import Any

from moto.core.base_backend import BackendDict
from moto.core.model_instances import reset_model_data
from moto.moto_server.threaded_moto_server import ThreadedMotoServer
from moto.moto_server.werkzeug_app import DomainDispatcherApplication

from local.hooks import Hooks

METADATA_PATH = "/v4/"


class PortInUseError(Exception):
    pass


class MotoServer:
    def __init__(self, port: int) -> None:
        check_port(port)
        logging.getLogger("werkzeug").setLevel(logging.ERROR)
        self._server = ThreadedMotoServer("127.0.0.1", port, verbose=False)

    def start(self) -> str:
        """The endpoint's URL."""
        self._server.start()
        return f"http://127.0.0.1:{self._server.get_host_and_port()[1]}"

    def stop(self) -> None:
        self._server.stop()


def check_port(port: int) -> None:
    with contextlib.closing(socket.socket()) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            message = f"port {port} is in use. Give another one with --port, or none for a free one."
            raise PortInUseError(message) from error


def serve_metadata(hooks: Hooks, task_metadata: Callable[[str], dict[str, Any] | None]) -> None:
    """GET /v4/<task>[/task] is ECS's task metadata endpoint; everything else stays moto's."""

    def answer(original: Any, app: Any, environ: dict[str, Any], start_response: Any) -> Any:
        path = environ.get("PATH_INFO", "")
        if not path.startswith(METADATA_PATH) or environ.get("HTTP_AUTHORIZATION"):
            return original(app, environ, start_response)
        metadata = task_metadata(path.removeprefix(METADATA_PATH))
        status = "404 Not Found" if metadata is None else "200 OK"
        start_response(status, [("Content-Type", "application/json")])
        return [json.dumps(metadata or {}).encode()]

    hooks.wrap(DomainDispatcherApplication, "__call__", answer)


def forget_everything() -> None:
    """moto's state is global to the process: what an earlier embedded AWS held must not be seen by this one."""
    BackendDict.reset()
    reset_model_data()
