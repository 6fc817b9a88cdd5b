"""Files that are still being made: where, under which names, and what is left of killed makers."""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from deepfake_core.files import here

# What a killed process left in a staging folder; no write takes that long.
ORPHANED_AFTER_SECONDS = 24 * 3600.0
TEMPORARY = "deepfake-"


class MadeHere:
    """What storages that lie elsewhere share: their files are made on this machine."""

    def spool(self) -> contextlib.AbstractContextManager[Path]:
        """See `Storage.spool`."""
        return spooled()

    def sweep(self) -> int:
        """See `Storage.sweep`."""
        return sweep_temporary()


def _here_in_short() -> str:
    return hashlib.sha256(here().encode()).hexdigest()[:12]


@contextlib.contextmanager
def spooled(folder: Path | None = None) -> Iterator[Path]:
    """A name for a file that is still to be made; what is left of it at the end is removed.

    Args:
        folder: where; by default in a folder of its own among the system's temporary files.
    """
    own = None if folder else tempfile.mkdtemp(prefix=TEMPORARY)
    name = f"{os.getpid()}.{secrets.token_hex(8)}.{_here_in_short()}"
    file = Path(folder or own or "") / name
    try:
        yield file
    finally:
        with contextlib.suppress(OSError):
            file.unlink(missing_ok=True)
        if own:
            shutil.rmtree(own, ignore_errors=True)


def sweep(staging: Path, *, after_seconds: float = ORPHANED_AFTER_SECONDS) -> int:
    """Remove what killed processes left half-written; returns how many files.

    Args:
        staging: the folder.
        after_seconds: the age from which on a file is left by a process of another machine, of
            which nobody here can say whether it lives.
    """
    before, removed = time.time() - after_seconds, 0
    for orphan in staging.iterdir():
        # Another may have removed it, or it is a folder or somebody else's: no reason to stop.
        with contextlib.suppress(OSError):
            if _is_of_the_dead(orphan.name) or orphan.stat().st_mtime < before:
                orphan.unlink()
                removed += 1
    return removed


def sweep_temporary() -> int:
    """The same among the system's temporary files, where files for stores are made."""
    removed = 0
    for folder in Path(tempfile.gettempdir()).glob(f"{TEMPORARY}*"):
        with contextlib.suppress(OSError):
            names = [file.name for file in folder.iterdir()]
            if names and all(_is_of_the_dead(name) for name in names):
                shutil.rmtree(folder)
                removed += len(names)
    return removed


def _is_of_the_dead(name: str) -> bool:
    """Whether a file was named by a process of this machine that has ended."""
    pid, _, rest = name.partition(".")
    if rest.rpartition(".")[2] != _here_in_short() or not pid.isdecimal():
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return False
