"""A folder of this machine."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from deepfake_core import files
from deepfake_core.errors import OutputError, SourceError, output_error, unreadable
from deepfake_core.files import (
    flush,
    locked,
    make_results_folder,
    results_umask,
    write_through,
)
from deepfake_core.storage.base import MAX_FILE_BYTES, Content, NoFile, Readable, TooLarge, Update
from deepfake_core.storage.listing import Listing
from deepfake_core.storage.staging import spooled, sweep, sweep_temporary

STAGING = ".staging"
# A file that vanished meanwhile, or a link that leads nowhere.
NOTHING_THERE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)
# While nobody else uses an output, only small files are written beside, such as an answer.
STALLED_SECONDS = 60.0


class LocalStorage:
    """A folder of this machine."""

    attempts = 3
    most_bytes = MAX_FILE_BYTES
    is_local = True

    def __init__(self, root: Path) -> None:
        """Name a folder; nothing is created."""
        self.root = Path(os.path.abspath(root.expanduser()))
        self.name = os.fsencode(self.root).decode("utf-8", "backslashreplace")
        self._started = False
        # Files whose size and date could not be found when they were listed.
        self._unknown: set[str] = set()

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
                try:
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(path)
                        continue
                    status = entry.stat()
                except OSError as error:
                    if error.errno in NOTHING_THERE:
                        continue
                    self._unknown.add(path)
                    listing.add(path, size=None, etag=None, modified=None)
                    continue
                _add(listing, path, status)

    def list_file(self, path: str) -> Listing:
        """See `Storage.list_file`."""
        listing = Listing()
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            _add(listing, path, os.stat(os.path.join(self.root, path)))
        return listing

    def names(self, folder: str) -> list[str]:
        """See `Storage.names`."""
        try:
            return sorted(entry.name for entry in os.scandir(self.root / folder))
        except (FileNotFoundError, NotADirectoryError):
            return []
        except OSError as error:
            raise unreadable(self.address(folder), error) from error

    def read(self, path: str) -> bytes:
        """See `Storage.read`; a file that could not be looked at must show that it now can."""
        if path in self._unknown:
            os.stat(os.path.join(self.root, path))
        with self._open_file(path) as stream:
            size = os.fstat(stream.fileno()).st_size
            if size > self.most_bytes:
                raise TooLarge(f"{size} bytes; at most {self.most_bytes} are read")
            return stream.read(size)

    def _open_file(self, path: str) -> IO[bytes]:
        """Open a regular file, and nothing else.

        A pipe without a writer would keep an ordinary `open` waiting, and a device never ends.
        """
        opened = os.open(os.path.join(self.root, path), os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        if not stat.S_ISREG(os.fstat(opened).st_mode):
            os.close(opened)
            raise NoFile(errno.EINVAL, "it was a file when it was listed, and is none now")
        return os.fdopen(opened, "rb")

    def readable(self, path: str) -> Readable:
        """See `Storage.readable`."""
        return os.path.join(self.root, path)

    @contextlib.contextmanager
    def spool(self) -> Iterator[Path]:
        """A name in a folder that no reader looks into, on the disk of the final names."""
        staging = self.root / STAGING
        try:
            make_results_folder(staging)
            if not self._started:
                sweep(staging)
        except OSError as error:
            raise output_error(self.address(STAGING), error, started=self._started) from error
        with spooled(staging) as file:
            yield file

    def put(self, path: str, data: Content) -> None:
        """Write beside, flush to the disk, rename."""
        self._write(path, data, files.replace)

    def create(self, path: str, data: Content) -> bool:
        """See `Storage.create`."""
        return self._write(path, data, files.create)

    def update(self, path: str, change: Update) -> None:
        """See `Storage.update`."""
        with self._locked(path), self.spool() as file:
            try:
                change(self.readable(path) if self.exists(path) else None, file)
            except OSError as error:
                raise output_error(self.address(path), error, started=self._started) from error
            self.put(path, file)

    def _write(self, path: str, data: Content, show: Callable[[Path, Path], bool]) -> bool:
        final = self.root / path
        with self.spool() as beside:
            try:
                make_results_folder(final.parent)
                if isinstance(data, Path):
                    flush(data)
                    beside = data
                else:
                    write_through(beside, data)
                beside.chmod(0o666 & ~results_umask())
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
                make_results_folder(place.parent)
                stack.enter_context(locked(place))
            except OSError as error:
                raise output_error(str(place), error, started=self._started) from error
            yield

    def delete(self, path: str) -> None:
        """See `Storage.delete`."""
        try:
            (self.root / path).unlink(missing_ok=True)
        except OSError as error:
            raise output_error(self.address(path), error, started=self._started) from error

    def sweep(self) -> int:
        """See `Storage.sweep`."""
        staging = self.root / STAGING
        try:
            left = sweep(staging, after_seconds=STALLED_SECONDS) if staging.is_dir() else 0
        except OSError as error:
            raise output_error(self.address(STAGING), error, started=True) from error
        return left + sweep_temporary()

    def exists(self, path: str = "") -> bool:
        """See `Storage.exists`."""
        return os.path.exists(os.path.join(self.root, path))

    def address(self, path: str) -> str:
        """See `Storage.address`."""
        return str(self.root / path)

    def check_writable(self) -> None:
        """See `Storage.check_writable`; nothing is created."""
        folder = self.root
        while not folder.exists() and folder != folder.parent:
            folder = folder.parent
        if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
            raise OutputError(
                f"cannot write to {self.name}: {folder} is not a folder that this user may write "
                "to; give another with --output"
            )


def _add(listing: Listing, path: str, status: os.stat_result) -> None:
    """Add what is a regular file."""
    if stat.S_ISREG(status.st_mode):
        etag = f"{status.st_size}-{status.st_mtime_ns}"
        listing.add(path, size=status.st_size, etag=etag, modified=status.st_mtime)
