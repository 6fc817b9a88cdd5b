"""The lock of an output on this machine: the system's, which dies with its holder."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from deepfake_core.errors import output_error
from deepfake_core.files import make_results_folder, results_umask
from deepfake_core.storage.holders import Holder, read_holder

LOCK = ".output.lock"
# Who holds it, in files of their own: what the system's lock does not tell.
HOLDERS = ".holders"

_held: set[int] = set()
_watching = False


class LocalLock:
    """Of a folder of results: one alone, or any number beside each other."""

    def __init__(self, root: Path) -> None:
        """Name the folder; nothing is created."""
        self._root = root

    @contextlib.contextmanager
    def attempt(self, holder: Holder) -> Iterator[list[Holder] | None]:
        """Take the lock if it is free.

        Yields:
            None where it is held now, until the end of the block; else those in the way, as far
            as they have said so.

        Raises:
            OutputError: the lock's file cannot be made.
        """
        try:
            descriptor = self._open()
        except OSError as error:
            raise output_error(str(self._root / LOCK), error, started=False) from error
        try:
            kind = fcntl.LOCK_EX if holder.alone else fcntl.LOCK_SH
            try:
                fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
            except BlockingIOError:
                yield self.holders()
                return
            with self._announced(holder):
                yield None
        finally:
            _held.discard(descriptor)
            os.close(descriptor)

    def _open(self) -> int:
        make_results_folder(self._root)
        descriptor = os.open(self._root / LOCK, os.O_RDWR | os.O_CREAT, 0o666 & ~results_umask())
        _forget_in_children()
        _held.add(descriptor)
        return descriptor

    def holders(self) -> list[Holder]:
        """Who says to use the folder, and lives: their files are locked as long as they do."""
        holders = []
        for file in sorted((self._root / HOLDERS).glob("*.json")):
            with contextlib.suppress(OSError), file.open("rb") as stream:
                try:
                    fcntl.flock(stream, fcntl.LOCK_SH | fcntl.LOCK_NB)
                except BlockingIOError:
                    holder = read_holder(stream.read())
                    holders += [] if holder is None else [holder]
        return holders

    @contextlib.contextmanager
    def _announced(self, holder: Holder) -> Iterator[None]:
        folder = self._root / HOLDERS
        file = folder / f"{holder.token}.json"
        try:
            make_results_folder(folder)
            if holder.alone:
                # Nobody else holds it, so these were left by processes that were killed.
                for left in folder.glob("*.json"):
                    left.unlink(missing_ok=True)
            descriptor = os.open(file, os.O_RDWR | os.O_CREAT, 0o666 & ~results_umask())
            _held.add(descriptor)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            os.write(descriptor, holder.to_bytes())
        except OSError as error:
            raise output_error(str(file), error, started=False) from error
        try:
            yield
        finally:
            file.unlink(missing_ok=True)
            _held.discard(descriptor)
            os.close(descriptor)


def _forget_in_children() -> None:
    """Let go of locks in forked children, which would keep them when their parent is killed."""
    global _watching
    if not _watching:
        _watching = True
        os.register_at_fork(after_in_child=_close_all)


def _close_all() -> None:
    for descriptor in _held:
        with contextlib.suppress(OSError):
            os.close(descriptor)
    _held.clear()
