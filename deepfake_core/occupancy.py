"""A folder of state belongs to one process at a time, and says to which."""

from __future__ import annotations

import contextlib
import datetime as dt
import fcntl
import json
import os
from collections.abc import Iterator
from io import FileIO
from pathlib import Path

from deepfake_core.errors import RunTaken
from deepfake_core.ledger import who

LOCK_FILE = "lock"


@contextlib.contextmanager
def claimed(folder: Path) -> Iterator[None]:
    """Hold a folder; the system lets go of it when the process ends, however it ends.

    Raises:
        RunTaken: another process holds it.
    """
    with (folder / LOCK_FILE).open("ab+", buffering=0) as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise RunTaken(
                f"{folder} is in use by {_holder(stream)}; wait until that has ended, stop it, or "
                "choose another --work"
            ) from error
        stream.truncate(0)
        since = dt.datetime.now(dt.UTC).isoformat(timespec="seconds")
        stream.write(json.dumps({"pid": os.getpid(), "who": who(), "since": since}).encode())
        yield


def _holder(stream: FileIO) -> str:
    """Who holds a folder, in words."""
    stream.seek(0)
    try:
        facts = json.loads(stream.read())
        return f"process {facts['pid']} of {facts['who']} since {facts['since']}"
    except (ValueError, KeyError, TypeError):
        return "another process"  # which has not yet said who it is
