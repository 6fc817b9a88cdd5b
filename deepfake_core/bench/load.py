"""A light load on an HTTP service: prepared requests over connections that are kept."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

BOUNDARY = "deepfake-load"


@dataclass(slots=True)
class Load:
    """What came of it.

    Attributes:
        seconds: each request's time, in the order of the answers.
        statuses: how often each status came.
        whole_seconds: from the first request to the last answer.
    """

    seconds: list[float] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)
    whole_seconds: float = 0.0

    @property
    def per_second(self) -> float:
        """Answered requests a second."""
        return len(self.seconds) / self.whole_seconds


def upload_request(path: str, content: bytes) -> bytes:
    """A whole POST request with one file in the field ``img``."""
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="img"; filename="a.jpg"\r\n\r\n'
    body = head.encode() + content + f"\r\n--{BOUNDARY}--\r\n".encode()
    lines = (
        f"POST {path} HTTP/1.1",
        "Host: 127.0.0.1",
        f"Content-Type: multipart/form-data; boundary={BOUNDARY}",
        f"Content-Length: {len(body)}",
    )
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def put_load(port: int, requests: Sequence[bytes], *, count: int, clients: int) -> Load:
    """Send `count` requests, in turn those given, from so many clients that each wait.

    Raises:
        OSError: the service is not there, or hangs up in the middle.
    """
    return asyncio.run(_put_load(port, requests, count, clients))


async def _put_load(port: int, requests: Sequence[bytes], count: int, clients: int) -> Load:
    load, numbers = Load(), iter(range(count))

    async def client() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for number in numbers:
            sent = time.perf_counter()
            writer.write(requests[number % len(requests)])
            status, closes = await _answer(reader)
            load.seconds.append(time.perf_counter() - sent)
            load.statuses[status] += 1
            if closes:
                writer.close()
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.close()
        await writer.wait_closed()

    began = time.perf_counter()
    await asyncio.gather(*(client() for _ in range(clients)))
    load.whole_seconds = time.perf_counter() - began
    return load


async def _answer(reader: asyncio.StreamReader) -> tuple[int, bool]:
    """The status of an answer that is read to its end, and whether the connection closes."""
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        length = int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0])
        await reader.readexactly(length)
    except asyncio.IncompleteReadError as error:
        raise ConnectionError("the service hung up in the middle of an answer") from error
    return int(head.split(b" ", 2)[1]), b"connection: close" in head
