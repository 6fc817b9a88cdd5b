"""Processes that answer one question after another, within a time and a memory.

Some libraries are C or Rust that no thread can stop, that keep the interpreter's lock, or that
end the whole process on a bad file. What they are asked is asked of a child process: it is given a
time, its memory is bounded, and when it breaks down nothing else does.
"""

from __future__ import annotations

import atexit
import json
import os
import resource
import select
import signal
import struct
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import IO, BinaryIO

from deepfake_core.records import Json

START_SECONDS = 60.0
HEAD = struct.Struct("<II")
# One thread each: several children work side by side.
ENVIRONMENT = {
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "PYTHONPATH": str(Path(__file__).parents[1]),
}
READ_AT_ONCE = 2**20
# Should the program that waits be gone, its pipe ends an idle child, and this one that hangs. The
# kernel's own signal comes already when the thread that started the child ends.
GIVE_UP_SECONDS = 30

# What is told goes beside bytes, both ways.
Message = tuple[Json, bytes]


class ChildEnded(Exception):
    """A child ended, or was ended, before it had answered.

    Attributes:
        code: how it ended, as `subprocess.Popen.returncode`.
    """

    def __init__(self, code: int = -signal.SIGKILL) -> None:
        super().__init__(code)
        self.code = code


class Child:
    """A process that runs a module which calls `answer_all`."""

    def __init__(self, module: str) -> None:
        """Start it; raises TimeoutError, ChildEnded or OSError."""
        self._process = subprocess.Popen(  # noqa: S603 - our own module
            [sys.executable, "-P", "-m", module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            # Ctrl-C is for the program that waits, which ends its children.
            start_new_session=True,
            env={**os.environ, **ENVIRONMENT},
        )
        self._input, self._output = _pipe(self._process.stdin), _pipe(self._process.stdout)
        self._receive(1, time.monotonic() + START_SECONDS)

    def ask(self, told: Json, data: bytes, *, seconds: float) -> Message:
        """Ask one thing and wait for the answer; raises ChildEnded or TimeoutError."""
        deadline = time.monotonic() + seconds
        try:
            _send(self._input, told, data)
        except OSError as error:
            raise ChildEnded from error
        told_bytes, data_bytes = HEAD.unpack(self._receive(HEAD.size, deadline))
        answer: Json = json.loads(self._receive(told_bytes, deadline))
        return answer, self._receive(data_bytes, deadline)

    def _receive(self, count: int, deadline: float) -> bytes:
        parts, missing = [], count
        while missing:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self._output], [], [], left)[0]:
                raise TimeoutError
            part = os.read(self._output.fileno(), min(missing, READ_AT_ONCE))
            if not part:
                raise ChildEnded
            parts.append(part)
            missing -= len(part)
        return b"".join(parts)

    def is_alive(self) -> bool:
        """Whether it still runs."""
        return self._process.poll() is None

    def end(self) -> int:
        """End it at once; returns how it ended."""
        self._process.kill()
        code = self._process.wait()
        for pipe in (self._input, self._output):
            try:
                pipe.close()
            except OSError:
                continue
        return code

    def kill(self) -> None:
        """End it, for another thread that waits for it."""
        self._process.kill()


class Children:
    """Processes of one module that are started when they are needed and used again."""

    def __init__(self, module: str) -> None:
        """Start none yet."""
        self._module = module
        self._lock = threading.Lock()
        self._idle: list[Child] = []
        self._busy: set[Child] = set()
        self._process = os.getpid()
        self._registered = False
        self._stops = 0
        _all.add(self)

    def ask(self, told: Json, data: bytes, *, seconds: float) -> Message:
        """Ask a child that is idle, or a new one.

        Args:
            told: what is asked.
            data: bytes that go with it.
            seconds: how long the answer may take, without the start of a process.

        Raises:
            TimeoutError: it took longer, or `stop` was called; the child was ended.
            ChildEnded: it ended by itself, or none could be started.
        """
        child, stops = None, self._stops
        try:
            child = self._take()
            if self._stops != stops:
                raise TimeoutError
            answer = child.ask(told, data, seconds=seconds)
        except TimeoutError:
            self._drop(child)
            raise
        except (ChildEnded, OSError, ValueError) as error:
            raise ChildEnded(self._drop(child)) from error
        with self._lock:
            self._busy.discard(child)
            self._idle.append(child)
        return answer

    def stop(self) -> None:
        """End what is being answered; those who wait are told that it took too long."""
        with self._lock:
            # Counted for those whose process is being started.
            self._stops += 1
            for child in self._busy:
                child.kill()

    def close(self) -> None:
        """End all; called when the program ends."""
        with self._lock:
            idle, self._idle = self._idle, []
        self.stop()
        if self._process == os.getpid():
            for child in idle:
                child.end()

    def _take(self) -> Child:
        with self._lock:
            if self._process != os.getpid():
                # A fork must not talk to the children of its parent.
                self._idle, self._busy, self._process = [], set(), os.getpid()
            child = self._pop_living()
            if not self._registered:
                self._registered = True
                atexit.register(self.close)
        child = child or Child(self._module)
        with self._lock:
            self._busy.add(child)
        return child

    def _pop_living(self) -> Child | None:
        """One that waits; those that ended meanwhile are no fault of what is asked next."""
        while self._idle:
            child = self._idle.pop()
            if child.is_alive():
                return child
            child.end()
        return None

    def _drop(self, child: Child | None) -> int:
        if child is None:
            return -signal.SIGKILL
        with self._lock:
            self._busy.discard(child)
        return child.end()


_all: weakref.WeakSet[Children] = weakref.WeakSet()


def stop_all() -> None:
    """End whatever any child is answering; see `Children.stop`."""
    for children in list(_all):
        children.stop()


def answer_all(answer: Callable[[Json, bytes], Message], *, max_extra_bytes: int) -> None:
    """What a child does: answer until the pipe is closed.

    Args:
        answer: from what is told, with its bytes, to what is told back, with its own.
        max_extra_bytes: how much memory it may take beyond that of its start.
    """
    source = sys.stdin.buffer
    # What a library might print must not get between the answers.
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    _bound(max_extra_bytes)
    answers.write(b".")
    answers.flush()
    while head := source.read(HEAD.size):
        told_bytes, data_bytes = HEAD.unpack(head)
        told = json.loads(source.read(told_bytes))
        signal.alarm(GIVE_UP_SECONDS)
        _send(answers, *answer(told, source.read(data_bytes)))
        signal.alarm(0)


def _send(pipe: BinaryIO | IO[bytes], told: Json, data: bytes) -> None:
    head = json.dumps(told).encode()
    pipe.write(HEAD.pack(len(head), len(data)) + head)
    pipe.write(data)
    pipe.flush()


def _bound(max_extra_bytes: int) -> None:
    """Bound this process's memory."""
    with open("/proc/self/statm") as statm:
        used = int(statm.read().split()[0]) * resource.getpagesize()
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    wanted = used + max_extra_bytes
    allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_AS, (allowed, hard))


def _pipe(pipe: IO[bytes] | None) -> IO[bytes]:
    if pipe is None:
        raise OSError("no pipe to the process")
    return pipe
