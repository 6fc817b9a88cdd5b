"""Where images come from and where results go: a local folder, or any URL fsspec knows."""

from __future__ import annotations

import contextlib
import datetime as dt
import errno
import os
import stat
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from deepfake_core.errors import OutputError, SourceError
from deepfake_core.records import Failure, FailureCode

RETRIES = 3
FIRST_PAUSE_SECONDS = 0.1
STAGING = ".staging"


@dataclass(slots=True)
class Listing:
    """Columns of the regular files below a folder, in no order.

    Attributes:
        paths: relative to the folder, forward slashes; bytes that are no UTF-8 as surrogates.
        sizes: bytes.
        etags: the store's, or size and modification time in nanoseconds.
        modified: seconds since 1970, or None where the store does not say.
        unreadable: folders, and what is in them, that could not be listed.
    """

    paths: list[str] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    etags: list[str | None] = field(default_factory=list)
    modified: list[float | None] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)


class Storage(Protocol):
    """A folder; every path given to it is relative to that folder.

    Attributes:
        name: the folder, normalised, without credentials; a local one is absolute.
    """

    name: str

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
        """Write a file so that it appears whole or not at all; raises OutputError."""
        ...

    def exists(self, path: str = "") -> bool:
        """Whether a file, or the folder itself, is there."""
        ...

    def address(self, path: str) -> str:
        """The path or URL by which others open a file."""
        ...


def open_storage(location: str) -> Storage:
    """The storage of a local path or a URL such as ``s3://bucket/prefix``."""
    if "://" in location and not location.startswith("file://"):
        return RemoteStorage(location)
    return LocalStorage(Path(location.removeprefix("file://")))


class LocalStorage:
    """A folder of this machine."""

    def __init__(self, root: Path) -> None:
        """Name a folder; nothing is created."""
        self.root = Path(os.path.abspath(root.expanduser()))
        self.name = os.fsencode(self.root).decode("utf-8", "backslashreplace")

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
            final.parent.mkdir(parents=True, exist_ok=True)
            with beside.open("wb") as stream:
                stream.write(data)
                stream.flush()
                os.fsync(stream.fileno())
            beside.replace(final)
        except OSError as error:
            with contextlib.suppress(OSError):
                beside.unlink(missing_ok=True)
            raise _output_error(self.address(path), error) from error

    def exists(self, path: str = "") -> bool:
        """See `Storage.exists`."""
        return os.path.exists(os.path.join(self.root, path))

    def address(self, path: str) -> str:
        """See `Storage.address`."""
        return str(self.root / path)


class RemoteStorage:
    """A folder behind a URL, through fsspec; credentials come from the usual places."""

    def __init__(self, url: str) -> None:
        """Connect lazily; the URL must hold no credentials."""
        import fsspec

        scheme, _, rest = url.partition("://")
        if "@" in rest.partition("/")[0]:
            raise SourceError(
                "the URL holds credentials; leave them out and set them in the environment"
            )
        self.name = f"{scheme}://{rest.strip('/')}"
        try:
            self._fs: Any
            self._fs, root = fsspec.core.url_to_fs(self.name)
        except (ImportError, ValueError) as error:
            raise SourceError(f"cannot open {self.name}: {error}") from error
        self._root = root.rstrip("/")

    def list_files(self, *, leave_out: str = "") -> Listing:
        """See `Storage.list_files`."""
        listing = Listing()
        skipped = leave_out.rstrip("/") + "/" if leave_out else None
        try:
            found = self._fs.find(self._root, detail=True)
        except Exception as error:
            raise SourceError(f"cannot list {self.name}: {_reason(error)}") from error
        if not found and not self._fs.exists(self._root):
            raise SourceError(f"cannot list {self.name}: there is no such folder")
        for full, info in found.items():
            path = full[len(self._root) :].lstrip("/")
            hidden = any(part.startswith(".") for part in path.split("/"))
            if not path or path.endswith("/") or hidden:
                continue
            if skipped and f"{self.name}/{path}".startswith(skipped):
                continue
            changed = info.get("LastModified") or info.get("mtime") or info.get("created")
            if isinstance(changed, dt.datetime):
                changed = changed.timestamp()
            etag = info.get("ETag") or info.get("etag")
            listing.paths.append(path)
            listing.sizes.append(int(info.get("size") or 0))
            listing.etags.append(etag.strip('"') if etag else f"{info.get('size')}-{changed}")
            listing.modified.append(changed)
        return listing

    def names(self, folder: str) -> list[str]:
        """See `Storage.names`."""
        try:
            self._fs.invalidate_cache()
            return sorted(path.rpartition("/")[2] for path in self._fs.ls(self._at(folder), False))
        except FileNotFoundError:
            return []

    def read(self, path: str) -> bytes:
        """See `Storage.read`."""
        data: bytes = self._fs.cat_file(self._at(path))
        return data

    def put(self, path: str, data: bytes) -> None:
        """One put; the store makes it atomic."""
        try:
            self._fs.pipe_file(self._at(path), data)
        except Exception as error:
            raise _output_error(self.address(path), error) from error

    def exists(self, path: str = "") -> bool:
        """See `Storage.exists`."""
        return bool(self._fs.exists(self._at(path)))

    def address(self, path: str) -> str:
        """See `Storage.address`."""
        return f"{self.name}/{path}"

    def _at(self, path: str) -> str:
        return f"{self._root}/{path}".rstrip("/")


def read_or_failure(
    storage: Storage, path: str, *, pause: Callable[[float], None] = time.sleep
) -> tuple[bytes | Failure, bool]:
    """Read one image; transient errors are retried with growing pauses.

    Returns:
        The bytes, or the failure and whether it may have been an outage of the store.
    """
    for attempt in range(RETRIES):
        try:
            return storage.read(path), False
        except FileNotFoundError:
            # A whole source that vanished is an outage, not a thousand missing images.
            gone = isinstance(storage, LocalStorage) and not storage.exists()
            return Failure(FailureCode.READ_NOT_FOUND, "it vanished after it was listed"), gone
        except PermissionError:
            return Failure(FailureCode.READ_DENIED, "no permission to read it"), False
        except Exception as error:  # noqa: BLE001 - each store has its own exceptions
            if "InvalidObjectState" in str(error):
                return Failure(FailureCode.READ_ARCHIVED, "archived; restore it first"), False
            failure = Failure(FailureCode.READ_FAILED, _reason(error))
        if attempt + 1 < RETRIES:
            pause(FIRST_PAUSE_SECONDS * 4**attempt)
    return failure, True


def _reason(error: BaseException) -> str:
    """What went wrong, without the path that OSError appends."""
    if isinstance(error, OSError) and error.strerror:
        return f"{type(error).__name__}: {error.strerror}"
    return f"{type(error).__name__}: {error}"


def _output_error(address: str, error: BaseException) -> OutputError:
    advice = "give a folder that can be written with --output"
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        advice = "make room, then start the run again with its --run-id"
    return OutputError(f"cannot write {address}: {_reason(error)}; {advice}")
