"""What reviewers decided of pictures: an append-only log, a line a decision.

A decision belongs to the bytes of a picture, by their sha256, so that it holds wherever the same
bytes lie, in every run. Nothing is changed: who decides again, or takes a decision back, adds a
line. Only an erasure takes lines out.
"""

from __future__ import annotations

import datetime as dt
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from deepfake_core.errors import UsageError
from deepfake_core.storage.base import Readable, Storage

REVIEW_FILE = "review.jsonl"
MAX_REASON_CHARACTERS, MAX_NAME_CHARACTERS = 500, 80

Decision = Literal["fake", "real", "unsure"]
# What is said of a picture where reviewers contradict each other.
DISPUTED = "disputed"


class ReviewLine(BaseModel):
    """One line of the log; fields that a later version adds are passed over."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    id: str = Field(pattern=r"^[0-9a-f]{16}$", description="Names the line, for undoing it.")
    at: dt.datetime = Field(description="When it was written, UTC.")
    reviewer: str = Field(min_length=1, max_length=MAX_NAME_CHARACTERS, description="Who decided.")
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$", description="The bytes that were looked at.")
    decision: Decision | None = Field(None, description="What the picture is; null to undo.")
    reason: str = Field("", max_length=MAX_REASON_CHARACTERS, description="Why, in few words.")
    run_id: str | None = Field(None, description="The run in which it was shown.")
    undoes: str | None = Field(None, description="The line that no longer counts.")
    together: str | None = Field(
        None, description="Shared by the lines of one decision on near-identical pictures."
    )

    @model_validator(mode="after")
    def _one_of_both(self) -> ReviewLine:
        if (self.decision is None) == (self.undoes is None):
            raise ValueError("a line either decides or undoes")
        return self


@dataclass(frozen=True, slots=True)
class Standing:
    """What is decided of a picture by all who looked at it.

    Attributes:
        decision: ``fake``, ``real``, ``unsure`` or ``disputed``.
        lines: the line of each reviewer that counts, oldest first.
    """

    decision: str
    lines: tuple[ReviewLine, ...]


def decided(
    sha256: str, decision: Decision, *, reviewer: str, reason: str = "", run_id: str | None = None
) -> ReviewLine:
    """A new decision.

    Raises:
        UsageError: the reviewer has no name, or a text is too long.
    """
    return _line(
        sha256=sha256,
        decision=decision,
        reviewer=_one_spaced(reviewer),
        reason=_one_spaced(reason),
        run_id=run_id,
    )


def undone(line: ReviewLine, *, reviewer: str) -> ReviewLine:
    """A line that takes another one back."""
    name = _one_spaced(reviewer)
    return _line(sha256=line.sha256, undoes=line.id, reviewer=name, run_id=line.run_id)


def last_of(lines: Sequence[ReviewLine], reviewer: str) -> list[ReviewLine]:
    """A reviewer's last decision that still counts: its line, or those that were made together."""
    name = _one_spaced(reviewer)
    gone = {line.undoes for line in lines}
    own = [line for line in lines if line.reviewer == name and line.decision]
    counting = [line for line in own if line.id not in gone]
    if not counting:
        return []
    last = counting[-1]
    return [
        line
        for line in counting
        if line is last or (last.together is not None and line.together == last.together)
    ]


def _one_spaced(text: str) -> str:
    """A name or a reason as it is kept and compared."""
    return " ".join(text.split())


def _line(**fields: object) -> ReviewLine:
    now = dt.datetime.now(dt.UTC)
    try:
        return ReviewLine.model_validate({"id": secrets.token_hex(8), "at": now, **fields})
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"])
        raise UsageError(f"this decision cannot be kept: {name}: {first['msg']}") from error


class ReviewLog:
    """The log of an output."""

    def __init__(self, storage: Storage) -> None:
        """Wrap the output's storage, the same that verdicts are in."""
        self.storage = storage

    def add(self, lines: Sequence[ReviewLine]) -> None:
        """Add lines; several at once are one decision on near-identical pictures.

        Raises:
            OutputError: they cannot be written.
        """
        if len(lines) > 1:
            lines = [line.model_copy(update={"together": lines[0].id}) for line in lines]
        new = "".join(line.model_dump_json(exclude_none=True) + "\n" for line in lines).encode()

        def append(before: Readable | None, after: Path) -> None:
            kept = _content(before)
            # What was cut off in the middle stays a line of its own.
            torn = b"\n" if kept and not kept.endswith(b"\n") else b""
            after.write_bytes(kept + torn + new)

        self.storage.update(REVIEW_FILE, append)

    def lines(self) -> list[ReviewLine]:
        """All lines that can be read, in their order; damaged ones are passed over."""
        return self.read()[0]

    def read(self) -> tuple[list[ReviewLine], int]:
        """All lines that can be read, and how many could not."""
        if not self.storage.exists(REVIEW_FILE):
            return [], 0
        return parse_lines(self.storage.read(REVIEW_FILE))

    def erase(self, sha256: str) -> int:
        """Take out all lines on a picture; returns how many there were."""
        if not self.storage.exists(REVIEW_FILE):
            return 0
        gone = 0

        def without(before: Readable | None, after: Path) -> None:
            nonlocal gone
            lines = _content(before).splitlines(keepends=True)
            # By the text, so that damaged lines that name it go too.
            kept = [line for line in lines if sha256.encode() not in line]
            gone = len(lines) - len(kept)
            after.write_bytes(b"".join(kept))

        self.storage.update(REVIEW_FILE, without)
        return gone


def parse_lines(data: bytes) -> tuple[list[ReviewLine], int]:
    """The lines of a log's bytes, and how many are damaged."""
    lines: list[ReviewLine] = []
    damaged = 0
    for text in data.split(b"\n"):
        if not text.strip():
            continue
        try:
            lines.append(ReviewLine.model_validate_json(text))
        except ValidationError:
            damaged += 1
    return lines, damaged


def standings(lines: Iterable[ReviewLine]) -> dict[str, Standing]:
    """What counts of a log, by sha256: of each reviewer the newest decision that stands."""
    ordered = list(lines)
    gone = {line.undoes for line in ordered if line.undoes}
    newest: dict[tuple[str, str], ReviewLine] = {}
    for line in ordered:
        if line.decision and line.id not in gone:
            # By the order of the log: clocks of several machines differ.
            newest.pop((line.sha256, line.reviewer), None)
            newest[line.sha256, line.reviewer] = line
    by_picture: dict[str, list[ReviewLine]] = {}
    for (sha256, _), line in newest.items():
        by_picture.setdefault(sha256, []).append(line)
    return {sha256: Standing(_together(own), tuple(own)) for sha256, own in by_picture.items()}


def _together(lines: Sequence[ReviewLine]) -> str:
    said = {line.decision for line in lines}
    certain = said - {"unsure"}
    if len(certain) > 1:
        return DISPUTED
    return str(next(iter(certain or said)))


def _content(readable: Readable | None) -> bytes:
    if readable is None:
        return b""
    if isinstance(readable, str):
        return Path(readable).read_bytes()
    readable.seek(0)
    return readable.read()
