"""Keep what libraries write to standard error in passing from people's terminals."""

from __future__ import annotations

import contextlib
import os
import re
import sys
import threading
from collections.abc import Iterator

STDERR = 2
# Notices of TensorFlow and what it is built on, which no setting turns off before they come.
NOISE = re.compile(
    rb"WARNING: All log messages before absl|[IW]\d{4} \d\d:\d\d:[\d.]+ |To enable the f"
)
WAIT_SECONDS = 2.0


@contextlib.contextmanager
def without_notices() -> Iterator[None]:
    """Drop the notices of native libraries; errors, and what Python writes, come through."""
    try:
        real = os.dup(STDERR)
    except OSError:
        # There is no standard error at all.
        yield
        return
    read, write = os.pipe()
    filtering = threading.Thread(target=_filter, args=(read, real), daemon=True)
    filtering.start()
    python = sys.stderr
    direct = open(real, "w", encoding=python.encoding, errors=python.errors, closefd=False)  # noqa: SIM115
    if _is_standard_error(python):
        python.flush()
        sys.stderr = direct
    os.dup2(write, STDERR)
    os.close(write)
    try:
        yield
    finally:
        direct.flush()
        sys.stderr = python
        os.dup2(real, STDERR)
        # A process that was started meanwhile may keep the pipe open.
        filtering.join(WAIT_SECONDS)


def _is_standard_error(stream: object) -> bool:
    try:
        return bool(stream.fileno() == STDERR)  # type: ignore[attr-defined]
    except (AttributeError, OSError, ValueError):
        return False


def _filter(read: int, real: int) -> None:
    with open(read, "rb", buffering=0) as lines:
        for line in lines:
            if not NOISE.match(line):
                os.write(real, line)
