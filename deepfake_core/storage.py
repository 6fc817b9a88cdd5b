"""Where images come from and where results go: a local folder, a bucket, or another URL."""

from __future__ import annotations

import contextlib
import os
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, Protocol

from deepfake_core import disk
from deepfake_core.errors import (
    CredentialsRefused,
    SourceError,
    StoreError,
    StoreGone,
    output_error,
    reason,
    unreadable,
)
from deepfake_core.listing import Listing as Listing
from deepfake_core.records import Failure, FailureCode

FIRST_PAUSE_SECONDS = 0.1
STAGING = ".staging"

# What is written: bytes, or a file that `Storage.spool` named, which is used up by it.
Content = bytes | Path
# What a part of a file is read from: a path of this machine, or an open file with `seek`.
Readable = str | BinaryIO
# Makes a new file of an old one, which is None where it is missing.
Change = Callable[[Readable | None, Path], None]


class Archived(OSError):
    """The object is in an archive and has to be restored before it can be read."""


class Changed(OSError):
    """The file is not what a condition says, or is being written."""


class Storage(Protocol):
    """A folder; every path given to it is relative to that folder.

    Attributes:
        name: the folder, normalised, without credentials; a local one is absolute.
        attempts: how often `read` is worth trying; 1 where it tries again by itself.
    """

    name: str
    attempts: int

    def list_files(self, *, leave_out: str = "") -> Listing:
        """List regular files; names that begin with a dot and `leave_out` are left out."""
        ...

    def names(self, folder: str) -> list[str]:
        """The names of the files directly in a folder, sorted; none where it is missing."""
        ...

    def read(self, path: str) -> bytes:
        """The bytes of a file; raises OSError."""
        ...

    def place(self, path: str) -> Readable:
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

    def update(self, path: str, change: Change) -> None:
        """Put the file that `change` makes of the one that is there.

        Two that do so at once lose nothing; `change` may be called again with a newer content.
        """
        ...

    def exists(self, path: str = "") -> bool:
        """Whether a file, or the folder itself, is there."""
        ...

    def address(self, path: str) -> str:
        """The path or URL by which others open a file."""
        ...


def open_storage(location: str) -> Storage:
    """The storage of a local path or a URL such as ``s3://bucket/prefix``."""
    scheme = location.partition("://")[0]
    if scheme in ("s3", "s3a"):
        from deepfake_core.bucket import BucketStorage

        return BucketStorage(location)
    if "://" in location and scheme != "file":
        from deepfake_core.remote import RemoteStorage

        return RemoteStorage(location)
    return LocalStorage(Path(location.removeprefix("file://")))


class LocalStorage:
    """A folder of this machine."""

    attempts = 3

    def __init__(self, root: Path) -> None:
        """Name a folder; nothing is created."""
        self.root = Path(os.path.abspath(root.expanduser()))
        self.name = os.fsencode(self.root).decode("utf-8", "backslashreplace")
        self._started = False

    def list_files(self, *, leave_out: str = "") -> Listing:
        """See `Storage.list_files`; linked folders are not followed, so that no loop is."""
        listing = Listing()
        try:
            os.scandir(self.root).close()
        except OSError as error:
            raise SourceError(
                f"cannot list {self.name}: {error.strerror}; give an existing, readable folder"
            ) from error
        # Both may be reached through links.
        left_out = os.path.relpath(os.path.realpath(leave_out or "/"), os.path.realpath(self.root))
        folders = [""]
        while folders:
            self._list_folder(folders.pop(), folders, listing, left_out)
        return listing

    def _list_folder(
        self, folder: str, folders: list[str], listing: Listing, left_out: str
    ) -> None:
        try:
            entries = os.scandir(os.path.join(self.root, folder))
        except OSError:
            listing.unreadable.append(folder)
            return
        with entries:
            for entry in entries:
                path = f"{folder}/{entry.name}" if folder else entry.name
                if entry.name[0] == "." or path == left_out:
                    continue
                if entry.is_dir(follow_symlinks=False):
                    folders.append(path)
                    continue
                try:
                    found = entry.stat()
                except PermissionError:
                    listing.unreadable.append(path)
                    continue
                except OSError:
                    continue
                if stat.S_ISREG(found.st_mode):
                    listing.paths.append(path)
                    listing.sizes.append(found.st_size)
                    listing.etags.append(f"{found.st_size}-{found.st_mtime_ns}")
                    listing.modified.append(found.st_mtime)

    def names(self, folder: str) -> list[str]:
        """See `Storage.names`."""
        try:
            return sorted(entry.name for entry in os.scandir(self.root / folder))
        except (FileNotFoundError, NotADirectoryError):
            return []
        except OSError as error:
            raise unreadable(self.address(folder), error) from error

    def read(self, path: str) -> bytes:
        """See `Storage.read`."""
        with open(os.path.join(self.root, path), "rb") as stream:
            return stream.read()

    def place(self, path: str) -> Readable:
        """See `Storage.place`."""
        return os.path.join(self.root, path)

    @contextlib.contextmanager
    def spool(self) -> Iterator[Path]:
        """A name in a folder that no reader looks into, on the disk of the final names."""
        staging = self.root / STAGING
        try:
            staging.mkdir(parents=True, exist_ok=True)
            if not self._started:
                disk.sweep(staging)
        except OSError as error:
            raise output_error(self.address(STAGING), error, started=self._started) from error
        with disk.spooled(staging) as file:
            yield file

    def put(self, path: str, data: Content) -> None:
        """Write beside, flush to the disk, rename."""
        self._write(path, data, disk.show)

    def create(self, path: str, data: Content) -> bool:
        """See `Storage.create`."""
        return self._write(path, data, disk.show_first)

    def update(self, path: str, change: Change) -> None:
        """See `Storage.update`."""
        with self._locked(path), self.spool() as file:
            try:
                change(self.place(path) if self.exists(path) else None, file)
            except OSError as error:
                raise output_error(self.address(path), error, started=self._started) from error
            self.put(path, file)

    def _write(self, path: str, data: Content, show: Callable[[Path, Path], bool]) -> bool:
        final = self.root / path
        with self.spool() as beside:
            try:
                final.parent.mkdir(parents=True, exist_ok=True)
                if isinstance(data, Path):
                    disk.flush(data)
                    beside = data
                else:
                    disk.write_through(beside, data)
                written = show(beside, final)
            except OSError as error:
                raise output_error(self.address(path), error, started=self._started) from error
        self._started = True
        return written

    @contextlib.contextmanager
    def _locked(self, path: str) -> Iterator[None]:
        """Keep other processes of this program from changing a file."""
        place = self.root / f".{path.rpartition('/')[2]}.lock"
        with contextlib.ExitStack() as stack:
            try:
                place.parent.mkdir(parents=True, exist_ok=True)
                stack.enter_context(disk.locked(place))
            except OSError as error:
                raise output_error(str(place), error, started=self._started) from error
            yield

    def exists(self, path: str = "") -> bool:
        """See `Storage.exists`."""
        return os.path.exists(os.path.join(self.root, path))

    def address(self, path: str) -> str:
        """See `Storage.address`."""
        return str(self.root / path)


def read_or_failure(
    storage: Storage, path: str, *, pause: Callable[[float], None] = time.sleep
) -> tuple[bytes | Failure, bool]:
    """Read one image; transient errors are retried with growing pauses.

    Returns:
        The bytes, or the failure and whether it may have been an outage of the store. It is
        one for certain where the code is ``read.not_found`` or ``read.denied``: then the
        whole source is gone, or its credentials are not accepted any more.
    """
    try:
        return _read(storage, path, pause), False
    except StoreGone as error:
        return Failure(FailureCode.READ_NOT_FOUND, str(error)), True
    except CredentialsRefused as error:
        return Failure(FailureCode.READ_DENIED, str(error)), True
    except FileNotFoundError:
        # A whole source that vanished is an outage, not a thousand missing images.
        gone = isinstance(storage, LocalStorage) and not storage.exists()
        return Failure(FailureCode.READ_NOT_FOUND, "it vanished after it was listed"), gone
    except PermissionError:
        return Failure(FailureCode.READ_DENIED, "no permission to read it"), False
    except Archived:
        return Failure(FailureCode.READ_ARCHIVED, "archived; restore it first"), False
    except OSError as error:
        return Failure(FailureCode.READ_FAILED, reason(error)), True


def _read(storage: Storage, path: str, pause: Callable[[float], None]) -> bytes:
    for attempt in range(storage.attempts - 1):
        try:
            return storage.read(path)
        except (FileNotFoundError, PermissionError, Archived, StoreError):
            raise
        except OSError:
            pause(FIRST_PAUSE_SECONDS * 4**attempt)
    return storage.read(path)
