"""The process: a socket, uvicorn with its limits, a quiet end."""

from __future__ import annotations

import logging
import signal
import socket
import threading
from contextlib import ExitStack
from pathlib import Path

import uvicorn

from deepfake_core.errors import DeepfakeError, UsageError
from deepfake_core.events import Say
from deepfake_core.inference.opening import Choice, choose_networks
from deepfake_core.models.registry import DEFAULT_REGISTRY, find_model
from deepfake_core.serve.application import create_app
from deepfake_core.serve.config import ServeConfig
from deepfake_core.serve.protocol import bounded
from deepfake_core.serve.service import Service

MAX_HEAD_BYTES = 16 * 1024
KEEP_ALIVE_SECONDS = 5


class Serving:
    """A service on a socket of its own."""

    def __init__(self, config: ServeConfig, *, registry: Path = DEFAULT_REGISTRY) -> None:
        """Find the model and take the port, so that mistakes are told before anything starts.

        Raises:
            UsageError: no such model, port or file of tokens.
        """
        self._failure: Exception | None = None
        bundle = find_model(config.model, registry)
        networks = choose_networks(
            bundle, Choice(precision=config.precision, faces=config.faces), registry=registry
        )
        self.service = Service(networks, config, on_failure=self._fail)
        self._socket = _listen(config.host, config.port)
        self.port: int = self._socket.getsockname()[1]
        _log_own_failures()
        self._server = uvicorn.Server(
            uvicorn.Config(
                create_app(self.service),
                http=bounded(config),
                ws="none",
                lifespan="on",
                access_log=False,
                log_config=None,
                server_header=False,
                timeout_keep_alive=KEEP_ALIVE_SECONDS,
                timeout_graceful_shutdown=config.shutdown_seconds,
                h11_max_incomplete_event_size=MAX_HEAD_BYTES,
            )
        )

    def run(self) -> None:
        """Serve until a signal or `stop` comes, and the requests that have begun are answered.

        Raises:
            DeepfakeError: the model could not be loaded.
        """
        if threading.current_thread() is threading.main_thread():
            # uvicorn raises the signal again once it has stopped; by then all is done.
            signal.signal(signal.SIGTERM, lambda number, frame: None)
            signal.signal(signal.SIGINT, lambda number, frame: None)
        self._server.run(sockets=[self._socket])
        if isinstance(self._failure, DeepfakeError):
            raise self._failure
        if self._failure:
            raise DeepfakeError(f"the model could not be loaded: {self._failure}")

    def stop(self) -> None:
        """Let `run` end; may be called from another thread."""
        self._server.should_exit = True

    def _fail(self, error: Exception) -> None:
        self._failure = error
        self.stop()


def _log_own_failures() -> None:
    """Log failures of the service itself: what clients send wrongly is counted, not logged.

    `logging.config` would close all handlers of the process, and some close their streams.
    """
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    server = logging.getLogger("uvicorn")
    server.handlers = [handler]
    server.setLevel(logging.ERROR)
    server.propagate = False
    logging.getLogger("python_multipart").setLevel(logging.CRITICAL)


def serve(config: ServeConfig, *, say: Say, registry: Path = DEFAULT_REGISTRY) -> None:
    """Serve until a signal comes; see `Serving.run`."""
    serving = Serving(config, registry=registry)
    host = f"[{config.host}]" if ":" in config.host else config.host
    service = serving.service
    say(f"{service.model_id} at {service.networks.precision}: http://{host}:{serving.port}")
    serving.run()


def _listen(host: str, port: int) -> socket.socket:
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        with ExitStack() as undo:
            listener = undo.enter_context(socket.socket(family, socket.SOCK_STREAM))
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((host, port))
            undo.pop_all()
    except OSError as error:
        why = error.strerror or error
        raise UsageError(f"cannot listen on {host}:{port}: {why}; choose another --port") from error
    return listener
