"""Errors: promises the program cannot keep. Each message says what to do now."""

from __future__ import annotations

import errno
from pathlib import Path


class DeepfakeError(Exception):
    """Base of all errors that are meant for people; exit status 1."""


class UsageError(DeepfakeError):
    """The request itself is wrong: a path, a name, a setting; exit status 2."""


class SourceError(UsageError):
    """The source cannot be listed."""


class OutputError(UsageError):
    """The output cannot be written."""


class DamagedFile(OutputError):
    """A file of the results has other bytes than were written; others can still be used."""


class OutputBusy(DeepfakeError):
    """Another process uses the output in a way that excludes this one."""


class OutputLost(DeepfakeError):
    """The output stopped taking files in the middle of a run; the run can be resumed."""


class ModelError(UsageError):
    """A bundle is missing, incomplete or not what its hashes say."""


class PlanMismatch(UsageError):
    """A run is resumed with settings other than those it was planned with."""


class RunTaken(UsageError):
    """Two processes began the same new run at once, and the other was faster."""


class SourceOutage(DeepfakeError):
    """The source stopped answering during a run; the run can be resumed."""


class SuspectNetworks(DeepfakeError):
    """Networks answer known pictures otherwise than they did; the run can be resumed."""


class StoreError(DeepfakeError, OSError):
    """A store cannot be used as a whole; an OSError as well, as a disk's would be."""

    def __str__(self) -> str:
        """The message alone."""
        return str(self.args[-1])


class StoreGone(StoreError):
    """The bucket is not there."""


class CredentialsRefused(StoreError):
    """There are no credentials, or the store does not accept them, such as expired ones."""


class BrokenInvariant(DeepfakeError):
    """Rows do not add up; nothing is published from such a state."""


class LeakedImages(SourceError):
    """Images that a model should be tested on were used to make it.

    Attributes:
        images: all of them.
    """

    def __init__(self, message: str, images: tuple[Path, ...]) -> None:
        """Keep the images beside the message."""
        super().__init__(message)
        self.images = images


class CandidateRefused(DeepfakeError):
    """A candidate did not pass the gate, so it does not become current."""


class ForeignModelError(ModelError):
    """A network made elsewhere cannot be run here, or does not do what it was said to do."""


class TrainingError(DeepfakeError):
    """A training went astray, such as into a loss that is not a number."""


class DataRefused(DeepfakeError):
    """The data checks found why nothing should be learnt from a labelled folder."""


class ClusterError(UsageError):
    """A cluster or one of its workers cannot do what was asked."""


class ClusterLost(DeepfakeError):
    """A cluster stopped working in the middle of a run; the run can be resumed."""


def reason(error: BaseException) -> str:
    """What went wrong, without the path that OSError appends."""
    if isinstance(error, StoreError):
        return str(error)
    if isinstance(error, OSError) and error.strerror:
        return f"{type(error).__name__}: {error.strerror}"
    return f"{type(error).__name__}: {error}"


def output_error(address: str, error: OSError, *, started: bool) -> OutputError | OutputLost:
    """The error of a file that cannot be written.

    Args:
        address: the file.
        error: why.
        started: whether files were written before, so that the usage is not to blame.
    """
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    message = f"cannot write {address}: {reason(error)}; "
    if full or started:
        advice = "make room, then start" if full else "when it can be written again, start"
        return OutputLost(f"{message}{advice} the run again with its --run-id")
    return OutputError(f"{message}give a folder that can be written with --output")


def damaged(
    address: str, problem: str = "its hash is not the one it was written with"
) -> DamagedFile:
    """The error of a file of the results whose bytes are not those that were written."""
    what = " ".join(problem.split())[:200] or "it cannot be parsed"
    return DamagedFile(
        f"{address} cannot be read, as it is damaged: {what}; `deepfake repair` makes it again "
        "where that is possible, and sets aside what is lost"
    )


def unreadable(address: str, error: OSError) -> OutputError | OutputLost:
    """The error of a result that cannot be read."""
    message = f"cannot read {address}: {reason(error)}"
    if isinstance(error, StoreError) and not isinstance(error, StoreGone):
        return OutputLost(f"{message}; when it can be read again, do the same again")
    return OutputError(message)
