"""How an image is wanted, and what comes of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from PIL import Image

from deepfake_core.images.colour import Colour
from deepfake_core.images.conversion import Background
from deepfake_core.records import UInt8Array

LARGE_REDUCED_TO = (2048, 2048)
JPEG_REDUCTIONS = (1, 2, 4, 8)


@dataclass(frozen=True, slots=True)
class Loaded:
    """An image in RGB before it is resized to the network's input.

    Attributes:
        image: mode RGB, upright; it may have been decoded at a smaller scale.
        format: the format found in the content.
        width: pixels of the whole image after EXIF orientation.
        height: likewise.
    """

    image: Image.Image
    format: str
    width: int
    height: int


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
        least = self.reduction(width, height)
        return next((power for power in JPEG_REDUCTIONS if power >= max(scale, least)), 8)

    def reduction(self, width: int, height: int) -> int:
        """The least whole factor that leaves no more pixels than are wanted."""
        factor = 1
        while self.max_pixels and -(-width // factor) * -(-height // factor) > self.max_pixels:
            factor += 1
        return factor

    def shrink(self, reduction: int) -> Callable[[Image.Image], Image.Image]:
        """How a large image is made smaller."""
        if self.max_pixels:
            return lambda image: image.reduce(reduction)
        return _thumbnail


def _thumbnail(image: Image.Image) -> Image.Image:
    image.thumbnail(LARGE_REDUCED_TO, Image.Resampling.BILINEAR)
    return image
