"""An object of a store as a file of which only some parts are read, several at once."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

# Objects up to this size come whole with the first request, as most nights' verdicts do; of
# larger ones it is their end, where Parquet says what is where.
TAIL_BYTES = 2**20
READS_AT_ONCE = 8
# Unread bytes between two parts that cost less than a request of their own.
GAP_BYTES = 2**16
MAX_SPAN_BYTES = 8 * 2**20

# From where to where, the end not included.
Span = tuple[int, int]


class RangeFile(io.RawIOBase):
    """Reads through `read`; what was fetched beforehand is not asked for again."""

    def __init__(self, read: Callable[[Span], bytes], *, size: int, tail: bytes) -> None:
        """Take how to read a span, the size in bytes, and the file's end."""
        self._read, self._size, self._at = read, size, 0
        self._tail = size - len(tail), tail
        self._held: list[tuple[int, bytes]] = []

    def fetch(self, spans: Sequence[Span]) -> None:
        """Read some parts at once and hold them in place of those held before."""
        self._held = []
        wanted = [span for span in _joined(spans) if span[0] < self._tail[0]]
        with ThreadPoolExecutor(READS_AT_ONCE, "range") as pool:
            parts = list(pool.map(self._read, wanted))
        self._held = [(start, data) for (start, _), data in zip(wanted, parts, strict=True)]

    def readinto(self, buffer: WriteableBuffer) -> int:
        """Read from the position on."""
        into = memoryview(buffer).cast("B")
        span = self._at, min(self._at + len(into), self._size)
        if span[0] >= span[1]:
            return 0
        data = self._here(span)
        into[: len(data)] = data
        self._at += len(data)
        return len(data)

    def readall(self) -> bytes:
        """Read from the position to the end by one request."""
        data = bytes(self._here((self._at, self._size))) if self._at < self._size else b""
        self._at = max(self._at, self._size)
        return data

    def _here(self, span: Span) -> bytes | memoryview:
        for start, data in (self._tail, *self._held):
            if start <= span[0] and span[1] <= start + len(data):
                return memoryview(data)[span[0] - start : span[1] - start]
        return self._read(span)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """See `io.IOBase.seek`."""
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        return self._at

    def tell(self) -> int:
        """The position."""
        return self._at

    def seekable(self) -> bool:
        """It is."""
        return True

    def readable(self) -> bool:
        """It is."""
        return True


def _joined(spans: Sequence[Span]) -> list[Span]:
    """The same in fewer spans, as long as little between them is read for nothing."""
    joined: list[Span] = []
    for start, end in sorted(spans):
        near = joined and start - joined[-1][1] <= GAP_BYTES
        if near and end - joined[-1][0] <= MAX_SPAN_BYTES:
            joined[-1] = joined[-1][0], max(end, joined[-1][1])
        else:
            joined.append((start, end))
    return joined
