"""How an image is wanted, and what comes of it."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

from PIL import Image

from deepfake_core.images.colour import Colour
from deepfake_core.images.conversion import Background
from deepfake_core.images.exif_orientation import SIDEWAYS_ORIENTATIONS, turned
from deepfake_core.records import Failure, FailureCode, Json, UInt8Array

# A 108-megapixel phone photograph fits; larger headers are refused before anything is allocated.
MAX_PIXELS = 120_000_000
LARGE_REDUCED_TO = (2048, 2048)
JPEG_REDUCTIONS = (1, 2, 4, 8)
# Above this size images without scaled decoding are decoded one at a time, so that the peak
# memory of a scan is that of one large image and not of one per thread.
LARGE_PIXELS = 16_000_000

_large_image = threading.Lock()


@dataclass(frozen=True, slots=True)
class Loaded:
    """An image in RGB before it is resized to the network's input.

    Attributes:
        image: mode RGB, upright; it may have been decoded at a smaller scale.
        format: the format found in the content.
        width: pixels of the whole image after EXIF orientation.
        height: likewise.
        reduction: how many pixels of a side became one where a decoder or `Wanted.shrink`
            reduced by a whole factor.
    """

    image: Image.Image
    format: str
    width: int
    height: int
    reduction: int = 1


@dataclass(frozen=True, slots=True)
class Picture:
    """An image as a person sees it.

    Attributes:
        pixels: uint8[H, W, 3], RGB, upright; read-only.
        format: the format found in the content, such as ``JPEG``.
        width: pixels of the whole image after EXIF orientation.
        height: likewise.
        reduction: how many pixels of a side of the whole image became one of `pixels`: 1 or
            more, and exact but for the last row and column.
    """

    pixels: UInt8Array
    format: str
    width: int
    height: int
    reduction: int


@dataclass(frozen=True, slots=True)
class Wanted:
    """How an image is wanted.

    Attributes:
        min_side: pixels that both sides keep, where the image has them; None keeps all.
        max_pixels: an image with more is reduced by a whole factor; None leaves that to
            the thumbnail that `load` makes of large images.
        background: the colour that shows through transparent pixels.
        colour: whether its profile is looked at.
    """

    min_side: int | None
    max_pixels: int | None
    background: Background
    colour: Colour

    def jpeg_reduction(self, width: int, height: int) -> int:
        """The power of two up to 8 by which a JPEG is reduced while it is decoded."""
        spare = min(width, height) // self.min_side if self.min_side else 1
        scale = max(power for power in JPEG_REDUCTIONS if power <= max(spare, 1))
        least = _least_factor(width, height, self.max_pixels or LARGE_PIXELS)
        return next((power for power in JPEG_REDUCTIONS if power >= max(scale, least)), 8)

    def reduction(self, width: int, height: int) -> int:
        """The least whole factor that leaves no more pixels than are wanted."""
        return _least_factor(width, height, self.max_pixels) if self.max_pixels else 1

    def shrink(self, reduction: int) -> Callable[[Image.Image], Image.Image]:
        """How a large image is made smaller."""
        if self.max_pixels:
            return lambda image: image.reduce(reduction)
        return _thumbnail

    def as_json(self) -> dict[str, object]:
        """The same as JSON, for another process."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, told: Json) -> Wanted:
        """What `as_json` told."""
        return cls(**{**told, "background": tuple(told["background"])})


def _least_factor(width: int, height: int, pixels: int) -> int:
    factor = 1
    while -(-width // factor) * -(-height // factor) > pixels:
        factor += 1
    return factor


def upright(
    image: Image.Image, orientation: int, *, kind: str, reduction: int = 1, size: tuple[int, int]
) -> Loaded:
    """A decoded image turned as EXIF says.

    Args:
        image: mode RGB, as it is stored.
        orientation: 1 to 8.
        kind: the format found in the content.
        reduction: by how much it was reduced.
        size: width and height of the whole image as it is stored.
    """
    width, height = reversed(size) if orientation in SIDEWAYS_ORIENTATIONS else size
    return Loaded(turned(image, orientation), kind, width, height, reduction)


def too_large(width: int, height: int, most: int = MAX_PIXELS) -> Failure:
    """More pixels than are decoded, of this format."""
    detail = f"{width} x {height} pixels; at most {most // 1_000_000} megapixels are decoded"
    return Failure(FailureCode.DECODE_TOO_LARGE, detail)


def one_at_a_time(pixels: int) -> AbstractContextManager[object]:
    """Keep others from decoding a large image meanwhile."""
    return _large_image if pixels > LARGE_PIXELS else nullcontext()


def _thumbnail(image: Image.Image) -> Image.Image:
    image.thumbnail(LARGE_REDUCED_TO, Image.Resampling.BILINEAR)
    return image
