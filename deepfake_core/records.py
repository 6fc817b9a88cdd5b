"""The values that travel through a scan: images, failures, labels."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
import numpy.typing as npt

UInt8Array = npt.NDArray[np.uint8]
Float32Array = npt.NDArray[np.float32]

MAX_DETAIL_CHARACTERS = 200


class Label(StrEnum):
    """What a verdict says of an image."""

    FAKE = "fake"
    REAL = "real"
    UNCERTAIN = "uncertain"
    NOT_APPLICABLE = "not_applicable"


# The labels that a score can lead to.
DECIDED = (Label.FAKE, Label.REAL, Label.UNCERTAIN)


class Reason(StrEnum):
    """Why a label is `not_applicable`, or why it was made `uncertain`."""

    NO_FACE = "no_face"
    FACE_TOO_SMALL = "face_too_small"
    UNFAMILIAR = "unfamiliar"
    UNSTABLE = "unstable"


class FailureCode(StrEnum):
    """Why an image could not be judged; the prefix names the stage."""

    READ_NOT_FOUND = "read.not_found"
    READ_DENIED = "read.denied"
    READ_ARCHIVED = "read.archived"
    READ_FAILED = "read.failed"
    DECODE_UNSUPPORTED = "decode.unsupported"
    DECODE_CORRUPT = "decode.corrupt"
    DECODE_TOO_LARGE = "decode.too_large"
    DECODE_TIMEOUT = "decode.timeout"
    DECODE_OUT_OF_MEMORY = "decode.out_of_memory"
    SCORE_NOT_FINITE = "score.not_finite"


# Of the moment rather than of the file: later scans try again.
TRIED_AGAIN = tuple(
    code.value
    for code in FailureCode
    if code.startswith("read.")
    or code in (FailureCode.DECODE_TIMEOUT, FailureCode.DECODE_OUT_OF_MEMORY)
)


@dataclass(frozen=True, slots=True)
class Failure:
    """An image that cannot be judged: a value, never an exception.

    Attributes:
        code: one of the closed set of failure codes.
        detail: at most 200 characters for people, without paths or credentials.
    """

    code: FailureCode
    detail: str = ""

    def __post_init__(self) -> None:
        """Cut the detail to its promised length and to one line."""
        one_line = " ".join(self.detail.split())
        object.__setattr__(self, "detail", one_line[:MAX_DETAIL_CHARACTERS])


@dataclass(frozen=True, slots=True)
class Decoded:
    """An image as the network sees it, with what the file said of itself.

    Attributes:
        pixels: uint8[size, size, 3], RGB, 0 to 255.
        format: the format found in the content, such as ``JPEG``.
        width: pixels after EXIF orientation, before resizing.
        height: likewise.
    """

    pixels: UInt8Array
    format: str
    width: int
    height: int


Json = dict[str, Any]
