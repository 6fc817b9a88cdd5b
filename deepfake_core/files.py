"""Files of this machine that appear whole, under their final name, or not at all."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import getpass
import os
import socket
from collections.abc import Iterator
from io import FileIO
from pathlib import Path
from typing import IO

from deepfake_core.errors import OutputError, UsageError

# The variable that says who else may read results; like the umask of a shell.
UMASK = "DEEPFAKE_RESULTS_UMASK"
# What file systems say that know no hard links.
_NO_LINKS = {errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EXDEV}


def here() -> str:
    """Names the machine, and the container on it: process ids mean something within it only."""
    try:
        namespace = os.readlink("/proc/self/ns/pid")
    except OSError:
        namespace = ""
    return f"{socket.gethostname()} {namespace}".strip()


def results_umask() -> int:
    """What others may not do with results, which are about people: by default nothing.

    Raises:
        UsageError: the variable of the environment is no such mask.
    """
    text = os.environ.get(UMASK, "077")
    try:
        mask = int(text, 8)
    except ValueError:
        mask = -1
    if not 0 <= mask <= 0o777:
        raise UsageError(f"{UMASK} is {text!r}; give an octal mask such as 027, or unset it")
    return mask


def make_results_folder(folder: Path) -> None:
    """Make a folder and those above it, as far as they are missing, for nobody else."""
    missing = []
    while not folder.is_dir():
        missing.append(folder)
        folder = folder.parent
    for parent in reversed(missing):
        parent.mkdir(mode=0o777 & ~results_umask(), exist_ok=True)


def write_through(file: Path, data: bytes) -> None:
    """Write a file and wait until the disk has it."""
    with file.open("wb") as stream:
        stream.write(data)
        settle(stream)


def settle(stream: IO[bytes]) -> None:
    """Wait until the disk has what was written to a stream."""
    stream.flush()
    os.fsync(stream.fileno())


def flush(path: Path) -> None:
    """Wait until the disk has a file that was written, or the names in a folder."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def replace(file: Path, final: Path) -> bool:
    """Give a file its final name, whatever was there."""
    file.replace(final)
    return True


def create(file: Path, final: Path) -> bool:
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
            return not final.exists() and replace(file, final)
    return True


def _like_results(path: str, flags: int) -> int:
    return os.open(path, flags, 0o666 & ~results_umask())


@contextlib.contextmanager
def locked(file: Path, *, wait: bool = True) -> Iterator[FileIO]:
    """Hold a lock among the processes of this program; it ends with the process, however that ends.

    Args:
        file: made where it is missing; its content stays.
        wait: whether to wait for whoever holds it.

    Yields:
        The file, unbuffered, to read and to append to.

    Raises:
        BlockingIOError: another process holds it, and this one does not wait.
    """
    with open(file, "ab+", buffering=0, opener=_like_results) as stream:
        fcntl.flock(stream, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield stream


@contextlib.contextmanager
def whole(path: Path) -> Iterator[IO[bytes]]:
    """Write a file that takes its place at the end, whole and on the disk, or not at all.

    What was in its place stays there until then, and where the block fails. For one writer at a
    time; what a killed one left is written over by the next.
    """
    beside = path.with_name(f".{path.name}.writing")
    try:
        with beside.open("wb") as stream:
            yield stream
            settle(stream)
        replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)
    flush(path.parent)


def write_whole(path: Path, data: bytes) -> None:
    """Write a file so that it appears whole or not at all, see `whole`."""
    with whole(path) as stream:
        stream.write(data)


@contextlib.contextmanager
def written_beside(path: Path, advice: str) -> Iterator[IO[bytes]]:
    """The same, with an error for people.

    Args:
        path: its place.
        advice: what to do where it cannot be written.

    Raises:
        OutputError: it cannot be written; what was in its place is still there.
    """
    try:
        with whole(path) as stream:
            yield stream
    except OSError as error:
        raise OutputError(
            f"{path} cannot be written: {error.strerror or error}; {advice}"
        ) from error


def make_folder(folder: Path) -> None:
    """Make a folder, if it is not there.

    Raises:
        OutputError: it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"the folder {folder} cannot be made: {error.strerror or error}; choose another"
        ) from error


def who() -> str:
    """The user and the machine, as ``user@host``."""
    try:
        user = getpass.getuser()
    except (OSError, KeyError, ImportError):
        # A container's user may have a number and no name.
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"
