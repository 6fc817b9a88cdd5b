"""Where images come from and where results go: a local folder, a bucket, or another URL."""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

from deepfake_core.errors import (
    CredentialsRefused,
    SourceError,
    StoreError,
    StoreGone,
    output_error,
    reason,
)
from deepfake_core.listing import Listing as Listing
from deepfake_core.records import Failure, FailureCode

FIRST_PAUSE_SECONDS = 0.1
STAGING = ".staging"
# What a killed process left in the staging folder; no write takes that long.
ORPHANED_AFTER_SECONDS = 24 * 3600.0

Change = Callable[[bytes | None], bytes]


class Archived(OSError):
    """The object is in an archive and has to be restored before it can be read."""


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

    def put(self, path: str, data: bytes) -> None:
        """Write a file so that it appears whole or not at all.

        Raises:
            OutputError: it cannot be written.
            OutputLost: it cannot, after others could or since the disk is full.
        """
        ...

    def create(self, path: str, data: bytes) -> bool:
        """Like `put`, but a file that is there stays; returns whether it was written."""
        ...

    def update(self, path: str, change: Change) -> None:
        """Put what `change` makes of a file's content, or of None where it is missing.

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
        except FileNotFoundError:
            return []

    def read(self, path: str) -> bytes:
        """See `Storage.read`."""
        with open(os.path.join(self.root, path), "rb") as stream:
            return stream.read()

    def put(self, path: str, data: bytes) -> None:
        """Write in a folder that no reader looks into, flush to the disk, rename."""
        final = self.root / path
        beside = self.root / STAGING / f"{final.name}.{os.getpid()}.{threading.get_ident()}"
        try:
            beside.parent.mkdir(parents=True, exist_ok=True)
            if not self._started:
                _sweep(beside.parent)
            final.parent.mkdir(parents=True, exist_ok=True)
            with beside.open("wb") as stream:
                stream.write(data)
                stream.flush()
                os.fsync(stream.fileno())
            beside.replace(final)
        except OSError as error:
            with contextlib.suppress(OSError):
                beside.unlink(missing_ok=True)
            raise output_error(self.address(path), error, started=self._started) from error
        self._started = True

    def create(self, path: str, data: bytes) -> bool:
        """See `Storage.create`."""
        missing = not self.exists(path)
        if missing:
            self.put(path, data)
        return missing

    def update(self, path: str, change: Change) -> None:
        """See `Storage.update`."""
        with self._locked(path):
            try:
                before = self.read(path)
            except FileNotFoundError:
                before = None
            self.put(path, change(before))

    @contextlib.contextmanager
    def _locked(self, path: str) -> Iterator[None]:
        """Keep other processes of this program from changing a file."""
        place = self.root / f".{path.rpartition('/')[2]}.lock"
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            stream = place.open("w")
        except OSError as error:
            raise output_error(str(place), error, started=self._started) from error
        with stream:
            fcntl.flock(stream, fcntl.LOCK_EX)
            yield

    def exists(self, path: str = "") -> bool:
        """See `Storage.exists`."""
        return os.path.exists(os.path.join(self.root, path))

    def address(self, path: str) -> str:
        """See `Storage.address`."""
        return str(self.root / path)


def _sweep(staging: Path) -> None:
    """Remove what was left half-written long ago."""
    before = time.time() - ORPHANED_AFTER_SECONDS
    for orphan in staging.iterdir():
        with contextlib.suppress(FileNotFoundError):
            if orphan.stat().st_mtime < before:
                orphan.unlink()


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
