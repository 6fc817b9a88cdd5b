"""The lock of an output in a store: objects with signs of life, put under conditions.

    .locks/alone.json           who rewrites; put only if nobody does, or whoever did has died
    .locks/beside-<token>.json  who reads and adds, such as a scan

Whoever comes says so first and looks around then, so that of two at least one sees the other.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from deepfake_core.errors import DeepfakeError, OutputLost
from deepfake_core.storage.base import Readable, Storage, Update
from deepfake_core.storage.holders import Holder, read_holder

FOLDER = ".locks"
ALONE = f"{FOLDER}/alone.json"
BEAT_SECONDS = 10.0
# Without a sign of life for so long a holder may be dead; then it is watched for two beats.
SILENT_SECONDS = 60.0
_FREE = b"{}\n"


class _Taken(Exception):
    """Somebody else changed the lock first."""


class StoreLock:
    """Of a prefix of a bucket."""

    def __init__(self, storage: Storage) -> None:
        """Name the output."""
        self._storage = storage

    @contextlib.contextmanager
    def attempt(self, holder: Holder) -> Iterator[list[Holder] | None]:
        """See `deepfake_core.storage.local_lock.LocalLock.attempt`."""
        path = ALONE if holder.alone else f"{FOLDER}/beside-{holder.token}.json"
        there = self._enter(path, holder)
        if there is not None:
            yield there
            return
        beating = _Beating(self._storage, path, holder)
        try:
            with beating:
                others = self._in_the_way(holder)
                yield others or None
        finally:
            self._leave(path, holder)
        if beating.lost and not others:
            raise OutputLost(
                f"another process took over {self._storage.name}, as this one gave no sign of life "
                f"for {SILENT_SECONDS:g} s; do the same again"
            )

    def _enter(self, path: str, holder: Holder) -> list[Holder] | None:
        """Put the own name; else tells who is there already, as far as that is known."""
        if self._storage.create(path, holder.to_bytes()):
            return None
        data = self._read(path)
        other = read_holder(data)
        if other is not None and other.token == holder.token:
            # An answer to putting it was lost, and so it was put twice.
            return None
        if other is not None and self._lives(path, other):
            return [other]
        try:
            self._storage.update(path, _instead_of(data, holder.to_bytes()))
        except _Taken:
            return []
        return None

    def _in_the_way(self, holder: Holder) -> list[Holder]:
        if holder.alone:
            return self.holders()
        alone = read_holder(self._read(ALONE))
        return [alone] if alone is not None and self._lives(ALONE, alone) else []

    def holders(self) -> list[Holder]:
        """Who uses the output beside others, and lives; who does not is forgotten."""
        living = []
        for name in self._storage.names(FOLDER):
            path = f"{FOLDER}/{name}"
            holder = read_holder(self._read(path)) if name.startswith("beside-") else None
            if holder is None:
                continue
            if self._lives(path, holder):
                living.append(holder)
            else:
                self._storage.delete(path)
        return living

    def _lives(self, path: str, holder: Holder) -> bool:
        if holder.is_dead:
            return False
        if holder.silent_seconds() < SILENT_SECONDS:
            return True
        # The clocks may differ: whoever lives gives another sign.
        time.sleep(2 * BEAT_SECONDS)
        now = read_holder(self._read(path))
        return now is not None and now != holder

    def _leave(self, path: str, holder: Holder) -> None:
        """Take the own name away, if it is still there."""
        if not holder.alone:
            self._storage.delete(path)
            return
        with contextlib.suppress(_Taken):
            mine = self._read(path)
            left = read_holder(mine)
            if left is not None and left.token == holder.token:
                self._storage.update(path, _instead_of(mine, _FREE))

    def _read(self, path: str) -> bytes:
        try:
            return self._storage.read(path)
        except FileNotFoundError:
            return b""


def _instead_of(before: bytes, after: bytes) -> Update:
    """Replace what was seen, and nothing else."""

    def change(stored: Readable | None, file: Path) -> None:
        data = b"" if stored is None else _content(stored)
        if data != before:
            raise _Taken
        file.write_bytes(after)

    return change


def _content(readable: Readable) -> bytes:
    if isinstance(readable, str):
        return Path(readable).read_bytes()
    readable.seek(0)
    return readable.read()


class _Beating:
    """Gives signs of life for a holder, in a thread, until the end of the block.

    Attributes:
        lost: whether another took over.
    """

    def __init__(self, storage: Storage, path: str, holder: Holder) -> None:
        self.lost = False
        self._storage, self._path, self._holder = storage, path, holder
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="lock", daemon=True)

    def __enter__(self) -> _Beating:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _beat(self) -> None:
        while not self._ended.wait(BEAT_SECONDS):
            try:
                self._storage.update(self._path, self._again)
            except _Taken:
                self.lost = True
                return
            except (DeepfakeError, OSError):
                # The next beat may reach the store; until then the last one counts.
                continue

    def _again(self, stored: Readable | None, file: Path) -> None:
        now = None if stored is None else read_holder(_content(stored))
        if now is None or now.token != self._holder.token:
            raise _Taken
        file.write_bytes(self._holder.beat().to_bytes())
