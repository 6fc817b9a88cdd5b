"""The connection: uvicorn's, with limits that it lacks, and its errors in the one shape."""

from __future__ import annotations

import asyncio

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from deepfake_core.serve.config import ServeConfig
from deepfake_core.serve.problems import Refusal, RequestCode, busy


class BoundedProtocol(H11Protocol):
    """Waits for a request's head only so long, and takes only so many connections."""

    max_connections: int
    head_seconds: float
    _head: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """See `asyncio.Protocol`."""
        super().connection_made(transport)
        if len(self.connections) > self.max_connections:
            self._refuse(busy(f"there are {self.max_connections} connections"))
        else:
            self._await_head()

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        if self.transport.is_closing():
            return
        super().data_received(data)
        if self.conn.their_state is h11.IDLE and self.conn.our_state is h11.IDLE:
            self._await_head()
        else:
            self._stop_waiting()

    def connection_lost(self, exc: Exception | None) -> None:
        """See `asyncio.Protocol`."""
        self._stop_waiting()
        super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:
        """Answer what is not HTTP."""
        self._stop_waiting()
        self._refuse(Refusal(400, RequestCode.MALFORMED, f"{msg} Its head is not HTTP/1.1."))

    def _await_head(self) -> None:
        if self._head is None:
            self._head = self.loop.call_later(self.head_seconds, self._give_up)

    def _stop_waiting(self) -> None:
        if self._head is not None:
            self._head.cancel()
            self._head = None

    def _give_up(self) -> None:
        if not self.transport.is_closing():
            message = f"no complete request came within {self.head_seconds:g} seconds"
            self._refuse(Refusal(408, RequestCode.TIMEOUT, message))

    def _refuse(self, refusal: Refusal) -> None:
        """Answer without the application, unless it does already, and close."""
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            answer = refusal.response()
            headers = [*answer.raw_headers, (b"connection", b"close")]
            head = h11.Response(status_code=refusal.status, headers=headers)
            for event in (head, h11.Data(data=bytes(answer.body)), h11.EndOfMessage()):
                self.transport.write(self.conn.send(event) or b"")
        self.transport.close()


def bounded(config: ServeConfig) -> type[BoundedProtocol]:
    """The protocol with the limits of a configuration."""

    class Protocol(BoundedProtocol):
        max_connections = config.max_connections
        head_seconds = config.grace_seconds

    return Protocol
