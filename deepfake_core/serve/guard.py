"""The door: counts, bounds and times requests before and while the application reads them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from dataclasses import dataclass, field

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from deepfake_core.serve.config import ServeConfig
from deepfake_core.serve.instruments import Instruments
from deepfake_core.serve.problems import Refusal, RequestCode, busy, too_large

# How long the rest of a refused upload is still taken in and thrown away: a connection that is
# closed while the client writes loses the answer.
LINGER_SECONDS = 5.0
OTHER_PATH = "other"


class Guard:
    """ASGI middleware around the whole application."""

    def __init__(
        self, app: ASGIApp, *, config: ServeConfig, instruments: Instruments, paths: Iterable[str]
    ) -> None:
        """Wrap an application; `paths` are those that are counted by their names."""
        self._app, self._config, self._instruments = app, config, instruments
        self._paths = frozenset(paths)
        self._uploads = self._held = 0
        instruments.uploads.set_function(lambda: self._uploads)
        instruments.held.set_function(lambda: self._held)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if scope["method"] == "HEAD":
            scope = {**scope, "method": "GET"}  # the server itself leaves the body out
        exchange = Exchange(scope, receive, send)
        try:
            await self._serve(exchange)
        except ClientDisconnect:
            pass  # nobody is left to answer
        finally:
            self._record(exchange)

    async def _serve(self, exchange: Exchange) -> None:
        async def receive() -> Message:
            return await self._receive(exchange)

        try:
            self._admit(exchange)
        except Refusal as refusal:
            answer = refusal.response(Headers(scope=exchange.scope).get("accept", ""))
            await answer(exchange.scope, exchange.receive, exchange.answer)
        else:
            self._uploads += exchange.has_body
            try:
                await self._app(exchange.scope, receive, exchange.answer)
            finally:
                self._uploads -= exchange.has_body
                self._held -= exchange.received
        await exchange.finish()

    def _admit(self, exchange: Exchange) -> None:
        """Refuse before anything is read what cannot be taken."""
        if not exchange.has_body:
            return
        if exchange.announced > self._config.max_body_bytes:
            raise too_large(self._config.max_body_bytes)
        if self._uploads >= self._config.max_requests:
            raise busy(f"{self._config.max_requests} uploads are being received or judged")
        if self._held + exchange.announced > self._config.max_bytes_held:
            raise busy("the uploads of others fill the memory that is set aside")

    async def _receive(self, exchange: Exchange) -> Message:
        """The next part of the body, if it comes in time and fits."""
        if exchange.complete:
            return await exchange.receive()
        grace = self._config.grace_seconds
        earned = exchange.received / self._config.least_bytes_per_second
        left = exchange.started + grace + earned - time.monotonic()
        try:
            async with asyncio.timeout(min(left, grace)):
                message = await exchange.receive()
        except TimeoutError:
            what = f"no more of the body came in time after {exchange.received} bytes"
            raise Refusal(408, RequestCode.TIMEOUT, f"{what}; send it faster") from None
        size = len(message.get("body", b""))
        exchange.received += size
        self._held += size
        if exchange.received > self._config.max_body_bytes:
            raise too_large(self._config.max_body_bytes)
        if self._held > self._config.max_bytes_held:
            raise busy("the uploads of others fill the memory that is set aside")
        return message

    def _record(self, exchange: Exchange) -> None:
        path = exchange.scope["path"] if exchange.scope["path"] in self._paths else OTHER_PATH
        if exchange.status:
            self._instruments.requests.labels(path, exchange.status).inc()
        seconds = time.monotonic() - exchange.started
        self._instruments.request_seconds.labels(path).observe(seconds)


@dataclass(slots=True)
class Exchange:
    """One request and its answer on their way."""

    scope: Scope
    _receive: Receive
    _send: Send
    started: float = field(default_factory=time.monotonic)
    received: int = 0
    status: int = 0
    complete: bool = False
    _gone: bool = False
    _unfinished: bool = False

    @property
    def announced(self) -> int:
        """The length of the body where the request says it, which h11 has checked."""
        return int(Headers(scope=self.scope).get("content-length", 0))

    @property
    def has_body(self) -> bool:
        """Whether there is a body."""
        return self.announced > 0 or "transfer-encoding" in Headers(scope=self.scope)

    async def receive(self) -> Message:
        """The next message of the client."""
        message = await self._receive()
        self._gone = message["type"] == "http.disconnect"
        self.complete = self._gone or not message.get("more_body", False)
        return message

    async def answer(self, message: Message) -> None:
        """Send; where the body was not read to its end, the answer's end waits for `finish`."""
        if message["type"] == "http.response.start":
            # Who is gone gets no answer: a cut upload is not an error of the service.
            self.status = 0 if self._gone else message["status"]
            headers = MutableHeaders(scope=message)
            headers["X-Content-Type-Options"] = "nosniff"
            headers.setdefault("Cache-Control", "no-store")
            self._unfinished = self.has_body and not self.complete
            if self._unfinished:
                headers["Connection"] = "close"
        elif self._unfinished and not message.get("more_body", False):
            message = {**message, "more_body": True}
        await self._send(message)

    async def finish(self) -> None:
        """Throw away the rest of the body for a while, then end the answer and the connection."""
        if not self._unfinished:
            return
        try:
            async with asyncio.timeout(LINGER_SECONDS):
                while not self.complete:
                    await self.receive()
        except TimeoutError:
            pass
        if not self._gone:
            await self._send({"type": "http.response.body", "body": b"", "more_body": False})
