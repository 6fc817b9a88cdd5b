"""The log of a model: who changed what in the registry, when and why; lines are only added."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from io import FileIO
from pathlib import Path
from typing import TypedDict, cast

from deepfake_core import files
from deepfake_core.errors import ModelError, OutputError
from deepfake_core.files import who

LOG_FILE = "log.jsonl"


class GateTest(TypedDict):
    """One test of the gate, see `deepfake_core.release.gate_comparison.Row`."""

    images: str
    measure: str
    candidate: float
    current: float | None
    bound: float | None
    limit: float
    passed: bool


class GateRecord(TypedDict, total=False):
    """What the gate found, as its file and, with more facts, a line of the log say it.

    Attributes:
        passed: whether the candidate may become current.
        reasons: what failed, one sentence each.
        table: every test.
        notes: what could not be tested, and why.
        engines: how the engines compare, where that was asked.
        version: of the log: the candidate's version.
        digest: of the log: the candidate's digest.
        against: of the log: what it was compared with; None for the first of its name.
        against_digest: of the log: likewise.
        what: of the log: ``gate``.
        when: of the log: ISO 8601, UTC.
        who: of the log: who asked.
    """

    passed: bool
    reasons: Sequence[str]
    table: Sequence[GateTest]
    notes: Sequence[str]
    engines: dict[str, object] | None
    version: int
    digest: str
    against: str | None
    against_digest: str | None
    what: str
    when: str
    who: str


class Ledger:
    """The open log of one model, which nobody else changes meanwhile."""

    def __init__(self, stream: FileIO) -> None:
        """Take the locked file, opened for appending."""
        self._stream = stream

    def add(self, what: str, facts: Mapping[str, object]) -> dict[str, object]:
        """Add a line and flush it to the disk; half a line is taken back.

        Args:
            what: ``register``, ``gate``, ``promote`` or ``rollback``.
            facts: what else the line says.

        Returns:
            The line, with who and when.
        """
        when = dt.datetime.now(dt.UTC).isoformat(timespec="seconds")
        line = {"when": when, "who": who(), "what": what, **facts}
        before = os.fstat(self._stream.fileno()).st_size
        try:
            left = json.dumps(line).encode() + b"\n"
            while left:
                # Unbuffered, it may write a part; on a full disk the next part is what fails.
                left = left[self._stream.write(left) :]
            os.fsync(self._stream.fileno())
        except OSError:
            os.ftruncate(self._stream.fileno(), before)
            raise
        return line


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[Ledger]:
    """Hold the log of a model's folder, which is made where it is missing; others wait.

    Raises:
        OutputError: the folder cannot be written; anything that fails to be written while
            the log is held is told so, too.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # Unbuffered: nothing is left to be written by a failed line when the file is closed.
        with files.locked(folder / LOG_FILE) as stream:
            yield Ledger(stream)
    except OSError as error:
        raise OutputError(
            f"cannot change the registry in {folder}: {error.strerror or error}; make room, or "
            "take a user who may write there; what is current did not change"
        ) from error


def read_log(folder: Path) -> list[dict[str, object]]:
    """The lines of a model's log, oldest first; none where there is no log.

    Raises:
        ModelError: a line is damaged.
    """
    path = folder / LOG_FILE
    if not path.is_file():
        return []
    try:
        return [json.loads(line) for line in path.read_bytes().splitlines()]
    except ValueError as error:
        raise ModelError(f"{path} has a damaged line ({error}); repair or remove the line") from (
            error
        )


def gate_record(folder: Path, digest: str) -> GateRecord | None:
    """The newest gate result of the bundle with this digest; None where it never went through."""
    records = [line for line in read_log(folder) if line["what"] == "gate"]
    newest = next((line for line in reversed(records) if line.get("digest") == digest), None)
    return cast(GateRecord | None, newest)
