"""Put what is too large for one request: in parts, and it appears with the last request."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

# Above this a put goes in parts; one request takes at most 5 GB.
MULTIPART_ABOVE_BYTES = 64 * 2**20
PART_BYTES = 16 * 2**20
MAX_PARTS = 10_000
PARTS_AT_ONCE = 4
# Tells an upload from others under the same name, should the last answer be lost.
MARK = "deepfake-upload"

Answer = dict[str, Any]
# Makes one call of S3 on the bucket, see `BucketStorage`.
Call = Callable[..., Answer]


def size_of(data: bytes | Path) -> int:
    """How many bytes these are."""
    return data.stat().st_size if isinstance(data, Path) else len(data)


def put_in_parts(call: Call, key: str, data: bytes | Path, condition: dict[str, str]) -> None:
    """Upload in parts and complete the upload; what was sent is given up if that fails.

    Args:
        call: makes one request by the name of its method, and tries it again where that helps.
        key: the object.
        data: its content.
        condition: under which it is completed.
    """
    mark = secrets.token_hex(16)
    started = call("create_multipart_upload", Key=key, Metadata={MARK: mark})
    upload = {"Key": key, "UploadId": started["UploadId"]}
    with contextlib.ExitStack() as unless_done:
        unless_done.callback(_give_up, call, upload)
        parts = {"Parts": _send(call, upload, data)}
        try:
            call("complete_multipart_upload", **upload, MultipartUpload=parts, **condition)
        except OSError:
            # The answer to a first attempt may have been lost after it was done.
            if not _is_there(call, key, mark):
                raise
        unless_done.pop_all()


def _give_up(call: Call, upload: Answer) -> None:
    with contextlib.suppress(OSError):
        call("abort_multipart_upload", **upload)


def _send(call: Call, upload: Answer, data: bytes | Path) -> list[Answer]:
    """Send all parts, some at once; returns what the store has to be told of each."""
    size = size_of(data)
    length = max(PART_BYTES, -(-size // MAX_PARTS))

    def send(number: int) -> Answer:
        body = _slice(data, (number - 1) * length, length)
        answer = call("upload_part", **upload, PartNumber=number, Body=body)
        return {"PartNumber": number, "ETag": answer["ETag"]}

    with ThreadPoolExecutor(PARTS_AT_ONCE, "part") as pool:
        try:
            return list(pool.map(send, range(1, -(-size // length) + 1)))
        finally:
            pool.shutdown(cancel_futures=True)


def _slice(data: bytes | Path, start: int, length: int) -> bytes:
    if isinstance(data, bytes):
        return data[start : start + length]
    with data.open("rb") as stream:
        stream.seek(start)
        return stream.read(length)


def _is_there(call: Call, key: str, mark: str) -> bool:
    try:
        answer = call("head_object", Key=key)
    except OSError:
        return False
    return bool(answer.get("Metadata", {}).get(MARK) == mark)
