"""Who uses an output at this moment, as others are told."""

from __future__ import annotations

import datetime as dt
import json
import os
import secrets
from dataclasses import asdict, dataclass, field, replace

from deepfake_core.files import here, who


def _started(pid: int) -> str:
    """When a process started, by the machine's ticks; tells it from a later one of its id."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as stream:
            return stream.read().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""


def _now() -> str:
    return dt.datetime.now(dt.UTC).isoformat(timespec="microseconds")


@dataclass(frozen=True, slots=True)
class Holder:
    """A process that uses an output.

    Attributes:
        what: what it does, such as ``scan of /photos``.
        alone: whether nobody else may use the output meanwhile.
        lasting: whether it may take hours, as a scan does.
        run_id: the run that it works on, which nobody else may do; empty where there is none.
        who: the user and the machine.
        pid: the process.
        here: the machine and container in which that id means something.
        started: tells the process from a later one of the same id.
        since: when it began, UTC.
        alive: its last sign of life, UTC; of one on this machine the process itself is asked.
        token: tells two uses by one process apart.
    """

    what: str
    alone: bool
    lasting: bool = False
    run_id: str = ""
    who: str = field(default_factory=who)
    pid: int = field(default_factory=os.getpid)
    here: str = field(default_factory=here)
    started: str = field(default_factory=lambda: _started(os.getpid()))
    since: str = field(default_factory=_now)
    alive: str = field(default_factory=_now)
    token: str = field(default_factory=lambda: secrets.token_hex(8))

    @property
    def words(self) -> str:
        """The same for people."""
        return f"{self.what} (process {self.pid} of {self.who}, since {self.since[:19]}Z)"

    @property
    def is_dead(self) -> bool:
        """Whether it surely has ended; of another machine's nobody can say."""
        if self.here != here():
            return False
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return True
        except PermissionError:
            return False
        now = _started(self.pid)
        return bool(self.started and now) and now != self.started

    def precedes(self, other: Holder) -> bool:
        """Whether it came first to a run that both want."""
        same = bool(self.run_id) and self.run_id == other.run_id
        return same and (self.since, self.token) < (other.since, other.token)

    def silent_seconds(self) -> float:
        """How long ago its last sign of life is, by the clocks of two machines."""
        last = dt.datetime.fromisoformat(self.alive)
        return abs((dt.datetime.now(dt.UTC) - last).total_seconds())

    def beat(self) -> Holder:
        """The same with a sign of life of now."""
        return replace(self, alive=_now())

    def to_bytes(self) -> bytes:
        """As it is stored."""
        return json.dumps(asdict(self)).encode()


def read_holder(data: bytes) -> Holder | None:
    """What `Holder.to_bytes` gave; None of anything else, such as what was let go."""
    try:
        return Holder(**json.loads(data))
    except (ValueError, TypeError):
        return None
