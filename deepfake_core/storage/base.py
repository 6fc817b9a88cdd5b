"""Where images come from and where results go: a local folder, a bucket, or another URL."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import BinaryIO, Protocol, runtime_checkable

from deepfake_core.storage.listing import Listing

# What is written: bytes, or a file that `Storage.spool` named, which is used up by it.
Content = bytes | Path
# What a part of a file is read from: a path of this machine, or an open file with `seek`.
Readable = str | BinaryIO
# Makes a new file of an old one, which is None where it is missing.
Update = Callable[[Readable | None, Path], None]


MAX_FILE_BYTES = 512 * 2**20


class Archived(OSError):
    """The object is in an archive and has to be restored before it can be read."""


class TooLarge(OSError):
    """The file has more bytes than are read."""


class NoFile(OSError):
    """What was a file when it was listed is a pipe, a device or a folder now."""


class Changed(OSError):
    """The file is not what a condition says, or is being written."""


class Tagged(StrEnum):
    """What became of a tag."""

    SET = "set"
    SAME = "same"
    CHANGED = "changed"
    GONE = "gone"
    DENIED = "denied"
    FULL = "full"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Tag:
    """A tag for an object.

    Attributes:
        name: of the tag.
        value: letters, digits and hyphens.
        etag: what the object must still be; None where that is not known.
    """

    name: str
    value: str
    etag: str | None


@runtime_checkable
class Taggable(Protocol):
    """A storage whose objects bear tags."""

    def tag(self, path: str, tag: Tag) -> Tagged:
        """Give an object a tag, beside those that it has; several threads may at once."""
        ...


class Storage(Protocol):
    """A folder; every path given to it is relative to that folder.

    Attributes:
        name: the folder, normalised, without credentials; a local one is absolute.
        attempts: how often `read` is worth trying; 1 where it tries again by itself.
        most_bytes: larger files are not read by `read`; that of results is lifted.
        is_local: whether it lies on this machine, so that another may see another folder.
    """

    name: str
    attempts: int
    most_bytes: int
    is_local: bool

    def list_files(self, *, leave_out: str = "") -> Listing:
        """List regular files; names that begin with a dot and `leave_out` are left out."""
        ...

    def list_file(self, path: str) -> Listing:
        """List one file; nothing where it is none. Raises OSError where that is not known."""
        ...

    def names(self, folder: str) -> list[str]:
        """The names of the files directly in a folder, sorted; none where it is missing."""
        ...

    def read(self, path: str) -> bytes:
        """The bytes of a file, which may be anything since it was listed; never waits for a pipe.

        Raises:
            TooLarge: it has more than `most_bytes`, and is not read, or no further.
            NoFile: it is not a regular file.
            OSError: it cannot be read.
        """
        ...

    def readable(self, path: str) -> Readable:
        """What a part of a file can be read from; raises OSError, here or when it is read."""
        ...

    def spool(self) -> contextlib.AbstractContextManager[Path]:
        """A name on this machine for what is too large for memory; it is removed at the end."""
        ...

    def put(self, path: str, data: Content) -> None:
        """Write a file so that it appears whole or not at all.

        Raises:
            OutputError: it cannot be written.
            OutputLost: it cannot, after others could or since the disk is full.
        """
        ...

    def create(self, path: str, data: Content) -> bool:
        """Like `put`, but a file that is there stays; returns whether it was written."""
        ...

    def update(self, path: str, change: Update) -> None:
        """Put the file that `change` makes of the one that is there.

        Two that do so at once lose nothing; `change` may be called again with a newer content.
        """
        ...

    def delete(self, path: str) -> None:
        """Remove a file; one that is gone already is not an error."""
        ...

    def sweep(self) -> int:
        """Remove what killed processes left half-written; returns how many files.

        Nobody else may use the folder meanwhile; see `deepfake_core.storage.output_lock`.
        """
        ...

    def exists(self, path: str = "") -> bool:
        """Whether a file, or the folder itself, is there."""
        ...

    def address(self, path: str) -> str:
        """The path or URL by which others open a file; of the folder where `path` is empty."""
        ...

    def check_writable(self) -> None:
        """Find out before the work whether something can be written, where that is known.

        Raises:
            OutputError: it cannot.
        """
        ...
