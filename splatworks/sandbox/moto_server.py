"""Run moto's server in a thread of this process."""

from __future__ import annotations

import contextlib
import logging
import socket

from moto.core.base_backend import BackendDict
from moto.core.model_instances import reset_model_data
from moto.moto_server.threaded_moto_server import ThreadedMotoServer


class PortInUseError(Exception):
    pass


class MotoServer:
    def __init__(self, port: int) -> None:
        check_port(port)
        logging.getLogger("werkzeug").setLevel(logging.ERROR)
        self._server = ThreadedMotoServer("127.0.0.1", port, verbose=False)

    def start(self) -> str:
        """Start the server and return the endpoint's URL."""
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


def forget_everything() -> None:
    """Reset moto's state, which is global to the process, so that no earlier resources are visible."""
    BackendDict.reset()
    reset_model_data()
