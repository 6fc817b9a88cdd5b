"""A folder of work that one process at a time holds."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import os
from collections.abc import Iterator
from pathlib import Path

from deepfake_core.errors import RunTaken
from deepfake_core.files import locked, who

LOCK_FILE = "lock"


@contextlib.contextmanager
def claimed(folder: Path) -> Iterator[None]:
    """Hold a folder; the system lets go of it when the process ends, however it ends.

    Raises:
        RunTaken: another process holds it.
    """
    with contextlib.ExitStack() as stack:
        try:
            stream = stack.enter_context(locked(folder / LOCK_FILE, wait=False))
        except BlockingIOError as error:
            raise RunTaken(
                f"{folder} is in use by {_holder(folder / LOCK_FILE)}; wait until that has ended, "
                "stop it, or choose another --work"
            ) from error
        stream.truncate(0)
        since = dt.datetime.now(dt.UTC).isoformat(timespec="seconds")
        stream.write(json.dumps({"pid": os.getpid(), "who": who(), "since": since}).encode())
        yield


def _holder(file: Path) -> str:
    """Who holds a folder, in words."""
    try:
        facts = json.loads(file.read_bytes())
        return f"process {facts['pid']} of {facts['who']} since {facts['since']}"
    except (ValueError, KeyError, TypeError):
        return "another process"  # which has not yet said who it is
