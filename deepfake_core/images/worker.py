"""The process that decodes what may take long: one file after another, from a pipe to a pipe."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import resource
import signal
import sys
from collections.abc import Mapping
from typing import BinaryIO

from deepfake_core.images.decoding import decode_here
from deepfake_core.images.isolation import HEAD
from deepfake_core.images.picture import Wanted
from deepfake_core.records import Failure

# More than any picture within the limits takes; a file that takes more is out of memory here
# before the machine is.
MAX_EXTRA_BYTES = 1000 * 2**20
# Should the program that waits be gone, nothing else ends a decoder that hangs.
GIVE_UP_SECONDS = 30
PR_SET_PDEATHSIG = 1


def main() -> None:
    """Answer until the pipe is closed."""
    source = sys.stdin.buffer
    # What a library might print must not get between the answers.
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    _bound()
    answers.write(b".")
    answers.flush()
    while head := source.read(HEAD.size):
        told_bytes, data_bytes = HEAD.unpack(head)
        wanted = Wanted.from_json(json.loads(source.read(told_bytes)))
        signal.alarm(GIVE_UP_SECONDS)
        _answer(answers, *_decoded(source.read(data_bytes), wanted))
        signal.alarm(0)


def _decoded(data: bytes, wanted: Wanted) -> tuple[dict[str, object], bytes]:
    loaded = decode_here(data, wanted)
    if isinstance(loaded, Failure):
        return {"code": loaded.code.value, "detail": loaded.detail}, b""
    facts = {
        "size": loaded.image.size,
        "format": loaded.format,
        "width": loaded.width,
        "height": loaded.height,
        "reduction": loaded.reduction,
    }
    return facts, loaded.image.tobytes()


def _answer(answers: BinaryIO, facts: Mapping[str, object], pixels: bytes) -> None:
    head = json.dumps(facts).encode()
    answers.write(HEAD.pack(len(head), len(pixels)) + head)
    answers.write(pixels)
    answers.flush()


def _bound() -> None:
    """Bound this process's memory, and its life by that of its parent."""
    with open("/proc/self/statm") as statm:
        used = int(statm.read().split()[0]) * resource.getpagesize()
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    wanted = used + MAX_EXTRA_BYTES
    allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_AS, (allowed, hard))
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


if __name__ == "__main__":
    main()
