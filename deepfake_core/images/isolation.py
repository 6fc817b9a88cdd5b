"""Decode what may take long in a process that can be ended.

Decoders are C code that no thread can stop, and many keep the interpreter's lock. A file that
may be slow or large is decoded by a child process.
"""

from __future__ import annotations

import signal

from PIL import Image

from deepfake_core.children import ChildEnded, Children
from deepfake_core.images.picture import Loaded, Wanted
from deepfake_core.records import Failure, FailureCode

# A picture holds a lane for at most 10 s, starting a process included.
DEADLINE_SECONDS = 8.0


class Decoders(Children):
    """Processes that decode; started when they are needed and used again."""

    def __init__(self) -> None:
        super().__init__("deepfake_core.images.worker")

    def decode(self, data: bytes, wanted: Wanted) -> Loaded | Failure:
        """Decode a file in another process; never raises on bad bytes."""
        try:
            answer, pixels = self.ask(wanted.as_json(), data, seconds=DEADLINE_SECONDS)
        except TimeoutError:
            detail = f"decoding took more than {DEADLINE_SECONDS:.0f} s and was stopped"
            return Failure(FailureCode.DECODE_TIMEOUT, detail)
        except ChildEnded as ended:
            return _why(ended.code)
        if "code" in answer:
            return Failure(FailureCode(answer["code"]), answer["detail"])
        image = Image.frombytes("RGB", tuple(answer.pop("size")), pixels)
        return Loaded(image=image, **answer)


def _why(code: int) -> Failure:
    """The failure of a file whose decoder ended by itself, or was ended by the system."""
    if code == -signal.SIGKILL:
        detail = "the process that decoded it was ended, as happens where memory runs out"
        return Failure(FailureCode.DECODE_OUT_OF_MEMORY, detail)
    return Failure(FailureCode.DECODE_CORRUPT, "the decoder broke down on it")


decoders = Decoders()
