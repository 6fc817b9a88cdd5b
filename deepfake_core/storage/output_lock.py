"""One lock per output: whoever rewrites has it alone; scans hold it beside each other."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import Protocol

from deepfake_core.errors import OutputBusy, RunTaken
from deepfake_core.events import Say, silent
from deepfake_core.storage.base import Storage
from deepfake_core.storage.holders import Holder
from deepfake_core.storage.local import LocalStorage
from deepfake_core.storage.local_lock import LocalLock
from deepfake_core.storage.store_lock import SILENT_SECONDS, StoreLock

# Rewriting takes seconds to minutes, a scan hours.
REWRITING_SECONDS = 600.0
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.02, 1.0


class _Lock(Protocol):
    def attempt(self, holder: Holder) -> contextlib.AbstractContextManager[list[Holder] | None]: ...


@contextlib.contextmanager
def rewriting(
    storage: Storage,
    what: str,
    *,
    wait_seconds: float = 0.0,
    say: Say = silent,
) -> Iterator[None]:
    """Have an output alone: no scan and no other rewriting goes on in it.

    Args:
        storage: the output.
        what: what is done, for those who wait.
        wait_seconds: how long to wait for scans to end; whatever else goes on is waited for.
        say: told once who is waited for.

    Raises:
        OutputBusy: others use it; the message names them.
    """
    with _held(storage, Holder(what, True), wait_seconds, say):
        yield


@contextlib.contextmanager
def beside_others(
    storage: Storage,
    what: str,
    *,
    lasting: bool = False,
    run_id: str = "",
    say: Say = silent,
) -> Iterator[None]:
    """Use an output while nobody rewrites it; any number may at once.

    Args:
        storage: the output.
        what: what is done, for those who wait.
        lasting: whether it may take hours: who wants the output alone does not wait for it.
        run_id: the run that is worked on; nobody else may do so meanwhile.
        say: told once who is waited for.

    Raises:
        OutputBusy: somebody has been rewriting it for too long; the message names them.
        RunTaken: another process works on the run.
    """
    with _held(storage, Holder(what, False, lasting, run_id), 0.0, say):
        yield


@contextlib.contextmanager
def _held(storage: Storage, holder: Holder, wait_seconds: float, say: Say) -> Iterator[None]:
    lock: _Lock
    lock = LocalLock(storage.root) if isinstance(storage, LocalStorage) else StoreLock(storage)
    began, pause, told = time.monotonic(), _FIRST_PAUSE_SECONDS, False
    while True:
        with lock.attempt(holder) as others:
            if others is None:
                others = [other for other in lock.holders() if other.precedes(holder)]
                if not others:
                    yield
                    return
        waited = time.monotonic() - began
        if waited >= _patience(storage, holder, others, wait_seconds):
            raise _refusal(storage, holder, others)
        if not told and others and waited > _LONGEST_PAUSE_SECONDS:
            told = True
            say(f"waiting for {others[0].words}")
        time.sleep(pause)
        pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)


def _patience(storage: Storage, holder: Holder, others: list[Holder], wait_seconds: float) -> float:
    """How long to wait for others, in seconds."""
    if any(other.precedes(holder) for other in others):
        # In a store it may have died and not be known to have; here the system tells.
        return 0.0 if storage.is_local else 2 * SILENT_SECONDS
    if any(other.lasting for other in others):
        return wait_seconds
    return max(wait_seconds, REWRITING_SECONDS)


def _refusal(storage: Storage, holder: Holder, others: list[Holder]) -> OutputBusy | RunTaken:
    names = ", ".join(other.words for other in others) or "another process"
    if any(other.precedes(holder) for other in others):
        return RunTaken(
            f"run {holder.run_id} is being worked on by {names}; let that finish, or start the run "
            "again to continue it when that has ended"
        )
    return OutputBusy(
        f"{storage.name} is in use by {names}; wait until that has ended, or stop it, and do the "
        "same again"
    )
