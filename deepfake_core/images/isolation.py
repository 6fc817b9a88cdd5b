"""Decode what may take long in a process that can be ended.

Decoders are C code that no thread can stop, and many keep the interpreter's lock. A file that
may be slow or large is decoded by a child process: it is given a time, and its memory is bounded.
"""

from __future__ import annotations

import atexit
import json
import os
import select
import signal
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import IO

from PIL import Image

import deepfake_core
from deepfake_core.images.picture import Loaded, Wanted
from deepfake_core.records import Failure, FailureCode

# A picture holds a lane for at most 10 s, starting a process included.
DEADLINE_SECONDS = 8.0
START_SECONDS = 60.0
HEAD = struct.Struct("<II")
ENVIRONMENT = {
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "PYTHONPATH": str(Path(deepfake_core.__file__).parents[1]),
}
READ_AT_ONCE = 2**20


class DecoderEnded(Exception):
    """The process ended, or was ended, before it had answered."""


class _Decoder:
    """A process that decodes one file after another."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "deepfake_core.images.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            # Ctrl-C is for the program that waits, which ends its decoders.
            start_new_session=True,
            env={**os.environ, **ENVIRONMENT},
        )
        self._input, self._output = _pipe(self._process.stdin), _pipe(self._process.stdout)
        self._receive(1, time.monotonic() + START_SECONDS)

    def decode(self, data: bytes, wanted: Wanted) -> Loaded | Failure:
        """Send a file and wait for its pixels; raises DecoderEnded or TimeoutError."""
        deadline = time.monotonic() + DEADLINE_SECONDS
        told = json.dumps(wanted.as_json()).encode()
        try:
            self._input.write(HEAD.pack(len(told), len(data)) + told)
            self._input.write(data)
            self._input.flush()
        except OSError as error:
            raise DecoderEnded from error
        head_bytes, pixel_bytes = HEAD.unpack(self._receive(HEAD.size, deadline))
        answer = json.loads(self._receive(head_bytes, deadline))
        pixels = self._receive(pixel_bytes, deadline)
        if "code" in answer:
            return Failure(FailureCode(answer["code"]), answer["detail"])
        image = Image.frombytes("RGB", tuple(answer.pop("size")), pixels)
        return Loaded(image=image, **answer)

    def _receive(self, count: int, deadline: float) -> bytes:
        parts, missing = [], count
        while missing:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self._output], [], [], left)[0]:
                raise TimeoutError
            part = os.read(self._output.fileno(), min(missing, READ_AT_ONCE))
            if not part:
                raise DecoderEnded
            parts.append(part)
            missing -= len(part)
        return b"".join(parts)

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


class Decoders:
    """Processes that are started when they are needed and used again."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._idle: list[_Decoder] = []
        self._busy: set[_Decoder] = set()
        self._process = os.getpid()
        self._registered = False
        self._stops = 0

    def decode(self, data: bytes, wanted: Wanted) -> Loaded | Failure:
        """Decode a file in another process; never raises on bad bytes."""
        decoder, stops = None, self._stops
        try:
            decoder = self._take()
            if self._stops != stops:
                raise TimeoutError
            loaded = decoder.decode(data, wanted)
        except TimeoutError:
            self._drop(decoder)
            detail = f"decoding took more than {DEADLINE_SECONDS:.0f} s and was stopped"
            return Failure(FailureCode.DECODE_TIMEOUT, detail)
        except (DecoderEnded, OSError, ValueError):
            return _why(self._drop(decoder))
        with self._lock:
            self._busy.discard(decoder)
            self._idle.append(decoder)
        return loaded

    def stop(self) -> None:
        """End what is being decoded; those who wait are told that it took too long."""
        with self._lock:
            # Counted for those whose process is being started.
            self._stops += 1
            for decoder in self._busy:
                decoder.kill()

    def close(self) -> None:
        """End all; called when the program ends."""
        with self._lock:
            idle, self._idle = self._idle, []
        self.stop()
        if self._process == os.getpid():
            for decoder in idle:
                decoder.end()

    def _take(self) -> _Decoder:
        with self._lock:
            if self._process != os.getpid():
                # A fork must not talk to the decoders of its parent.
                self._idle, self._busy, self._process = [], set(), os.getpid()
            decoder = self._idle.pop() if self._idle else None
            if not self._registered:
                self._registered = True
                atexit.register(self.close)
        decoder = decoder or _Decoder()
        with self._lock:
            self._busy.add(decoder)
        return decoder

    def _drop(self, decoder: _Decoder | None) -> int:
        if decoder is None:
            return -signal.SIGKILL
        with self._lock:
            self._busy.discard(decoder)
        return decoder.end()


def _why(code: int) -> Failure:
    """The failure of a file whose decoder ended by itself, or was ended by the system."""
    if code == -signal.SIGKILL:
        detail = "the process that decoded it was ended, as happens where memory runs out"
        return Failure(FailureCode.DECODE_OUT_OF_MEMORY, detail)
    return Failure(FailureCode.DECODE_CORRUPT, "the decoder broke down on it")


def _pipe(pipe: IO[bytes] | None) -> IO[bytes]:
    if pipe is None:
        raise OSError("no pipe to the decoder")
    return pipe


decoders = Decoders()
