"""A relay before an S3 server that answers later, or as a broken one would.

``python -m deepfake_core.bench.s3_proxy PORT SECONDS`` delays what is sent to PORT, and prints
the port on which it listens itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import unquote

HOST = "127.0.0.1"
CHUNK_BYTES = 64 * 1024
# A request's first line, the address and what comes before its query.
_REQUEST = re.compile(rb"^(GET|PUT|HEAD|POST|DELETE) (/[^ ?]*)(\S*) HTTP/1\.1\r\n")


@dataclass(frozen=True, slots=True)
class Fault:
    """What a request gets in place of its answer.

    Attributes:
        status: of the HTTP answer; 0 for a connection that is cut at once.
        code: the S3 error code.
        message: what the server says beside it.
        body: what is sent in its place, for answers that are none of the server's.
        cut_after: bytes of the server's real answer after which the connection is cut.
    """

    status: int = 0
    code: str = ""
    message: str = ""
    body: bytes | None = None
    cut_after: int | None = None

    def answer(self) -> bytes:
        """The HTTP answer."""
        said = f"<Error><Code>{self.code}</Code><Message>{self.message}</Message></Error>"
        body = self.body or said.encode()
        head = f"HTTP/1.1 {self.status} X\r\nContent-Type: application/xml\r\n"
        return f"{head}Content-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body


# Of the method, the path of the key and the query; None lets the request through.
Faults = Callable[[str, str, str], Fault | None]


class Proxy:
    """A relay to a port of this machine; `faults` may be changed while it runs.

    Attributes:
        faults: what goes wrong.
        port: where it listens.
    """

    def __init__(self, target: int, *, delay_seconds: float = 0.0) -> None:
        """Name where requests go, and how much later."""
        self._target, self._delay = target, delay_seconds
        self.faults: Faults = lambda method, path, query: None
        self.port = 0

    async def serve(self, ready: Callable[[], None]) -> None:
        """Relay until cancelled."""
        server = await asyncio.start_server(self._client, HOST, 0)
        self.port = int(server.sockets[0].getsockname()[1])
        ready()
        async with server:
            await server.serve_forever()

    async def _client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        back, forth = await asyncio.open_connection(HOST, self._target)
        cut: list[int] = []
        answers = asyncio.create_task(self._answers(back, writer, cut))
        try:
            await self._requests(reader, forth, writer, cut)
        except (ConnectionError, asyncio.CancelledError):
            pass
        finally:
            answers.cancel()
            forth.close()
            writer.close()

    async def _requests(
        self,
        reader: asyncio.StreamReader,
        forth: asyncio.StreamWriter,
        writer: asyncio.StreamWriter,
        cut: list[int],
    ) -> None:
        while chunk := await reader.read(CHUNK_BYTES):
            asked = _REQUEST.match(chunk)
            if asked:
                method, path, query = (part.decode() for part in asked.groups())
                fault = self.faults(method, unquote(path), unquote(query))
                if fault and fault.cut_after is None:
                    if fault.status:
                        writer.write(fault.answer())
                        await writer.drain()
                    return
                cut[:] = [fault.cut_after] if fault and fault.cut_after is not None else []
                # The request's whole way there and back, in one place.
                await asyncio.sleep(self._delay)
            forth.write(chunk)
            await forth.drain()

    async def _answers(
        self, back: asyncio.StreamReader, writer: asyncio.StreamWriter, cut: list[int]
    ) -> None:
        with contextlib.suppress(ConnectionError):
            while chunk := await back.read(CHUNK_BYTES):
                if cut:
                    writer.write(chunk[: cut[0]])
                    break
                writer.write(chunk)
                await writer.drain()
        writer.close()


def main(port: str, seconds: str) -> None:
    """Relay until the process is ended."""
    proxy = Proxy(int(port), delay_seconds=float(seconds))
    asyncio.run(proxy.serve(lambda: print(proxy.port, flush=True)))


if __name__ == "__main__":
    main(*sys.argv[1:])
