"""Files of this machine that appear whole, under their final name, or not at all."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import secrets
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

# What a killed process left in a staging folder; no write takes that long.
ORPHANED_AFTER_SECONDS = 24 * 3600.0
# What file systems say that know no hard links.
_NO_LINKS = {errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EXDEV}


@contextlib.contextmanager
def spooled(folder: Path | None = None) -> Iterator[Path]:
    """A name for a file that is still to be made; what is left of it at the end is removed.

    Args:
        folder: where; by default in a folder of its own among the system's temporary files.
    """
    own = None if folder else tempfile.mkdtemp(prefix="deepfake-")
    file = Path(folder or own or "") / f"{os.getpid()}.{secrets.token_hex(8)}"
    try:
        yield file
    finally:
        with contextlib.suppress(OSError):
            file.unlink(missing_ok=True)
        if own:
            shutil.rmtree(own, ignore_errors=True)


def sweep(staging: Path) -> None:
    """Remove what was left half-written long ago."""
    before = time.time() - ORPHANED_AFTER_SECONDS
    for orphan in staging.iterdir():
        # Another may have removed it, or it is a folder or somebody else's: no reason to stop.
        with contextlib.suppress(OSError):
            if orphan.stat().st_mtime < before:
                orphan.unlink()


def write_through(file: Path, data: bytes) -> None:
    """Write a file and wait until the disk has it."""
    with file.open("wb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())


def flush(file: Path) -> None:
    """Wait until the disk has a file that was written."""
    with file.open("rb") as stream:
        os.fsync(stream.fileno())


def show(file: Path, final: Path) -> bool:
    """Give a file its final name, whatever was there."""
    file.replace(final)
    return True


def show_first(file: Path, final: Path) -> bool:
    """Give a file its final name unless that is taken; of several processes one succeeds.

    Returns:
        Whether it has the name.
    """
    try:
        final.hardlink_to(file)
    except FileExistsError:
        return False
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        with locked(final.parent / f".{final.name}.lock"):
            return not final.exists() and show(file, final)
    return True


@contextlib.contextmanager
def locked(place: Path) -> Iterator[None]:
    """Hold a lock among the processes of this program; others wait."""
    with place.open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield
