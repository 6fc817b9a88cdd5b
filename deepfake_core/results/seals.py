"""Parquet files that know the hash of their own bytes, so that no flipped bit gives other rows.

Pages carry checksums, which a reader that takes a few columns verifies. Footers and the headers of
pages carry none: so the footer holds the sha256 of the whole file, taken with zeros in its place,
which whoever reads the whole file verifies. A file without one is of an earlier version.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

SEAL_KEY = b"deepfake.seal"
_UNSEALED = b"0" * 64
# How the footer, in Thrift's compact form, holds a text of 13 bytes and then one of 64.
_MARK = b"\x18" + bytes([len(SEAL_KEY)]) + SEAL_KEY + b"\x18" + bytes([len(_UNSEALED)])
_MAGIC = b"PAR1"
_HASHED_AT_ONCE = 2**20
# What pyarrow and what it decompresses with raise of bytes that are not a Parquet file.
UNPARSABLE = (pa.ArrowException, OSError, ValueError, KeyError, IndexError, OverflowError)


@contextlib.contextmanager
def sealed_writer(target: Path | io.BytesIO, schema: pa.Schema) -> Iterator[pq.ParquetWriter]:
    """A writer of a Parquet file with checksums of its pages, which is sealed at the end."""
    sink = target if isinstance(target, io.BytesIO) else str(target)
    with pq.ParquetWriter(sink, schema, compression="zstd", write_page_checksum=True) as writer:
        yield writer
        writer.add_key_value_metadata({SEAL_KEY: _UNSEALED})
    if isinstance(target, io.BytesIO):
        _seal(target)
        return
    with target.open("r+b") as stream:
        _seal(stream)


def _seal(stream: IO[bytes]) -> None:
    at = _place(stream)
    if at is None:
        raise ValueError("a Parquet file was written without the room for its seal")
    digest = _digest(stream, at)
    stream.seek(at)
    stream.write(digest)


def is_whole(content: bytes | Path | BinaryIO) -> bool | None:
    """Whether a Parquet file has the bytes that it was sealed with; None where it has no seal.

    Raises:
        OSError: it cannot be read.
    """
    if isinstance(content, Path):
        with content.open("rb") as stream:
            return _is_whole(stream)
    return _is_whole(io.BytesIO(content) if isinstance(content, bytes) else content)


def _is_whole(stream: IO[bytes]) -> bool | None:
    at = _place(stream)
    if at is None:
        return None
    stream.seek(at)
    beginning = stream.read(len(_UNSEALED))
    return beginning == _digest(stream, at)


def _place(stream: IO[bytes]) -> int | None:
    """Where the seal's digits are; None where there are none, or the file is no Parquet file."""
    size = stream.seek(0, os.SEEK_END)
    if size < 12:
        return None
    stream.seek(size - 8)
    end = stream.read(8)
    length = int.from_bytes(end[:4], "little")
    if end[4:] != _MAGIC or length + 12 > size:
        return None
    start = size - 8 - length
    stream.seek(start)
    at = stream.read(length).rfind(_MARK)
    return None if at < 0 else start + at + len(_MARK)


def _digest(stream: IO[bytes], at: int) -> bytes:
    """The sha256 of a file with zeros from `at` on, in hex."""
    digest = hashlib.sha256()
    stream.seek(0)
    left = at
    while left:
        block = stream.read(min(left, _HASHED_AT_ONCE))
        digest.update(block)
        left -= len(block)
    digest.update(_UNSEALED)
    stream.seek(at + len(_UNSEALED))
    while block := stream.read(_HASHED_AT_ONCE):
        digest.update(block)
    return digest.hexdigest().encode()
