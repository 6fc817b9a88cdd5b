"""Which canvas a picture is looked at on, and how it is drawn there."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image

from deepfake_core.faces.alignment import square_of
from deepfake_core.faces.bundle import CloserLooks, FinderDescription
from deepfake_core.faces.records import Centre, FoundFace
from deepfake_core.records import UInt8Array

# Side of what is drawn for a second glance, in sides of the face's box, and what is drawn where
# it leaves the picture. Of 54 places on animals, 250 uncertain faces of people: at 1.6 and in grey,
# 0.71 parts them (all animals and a doll below it, 0.3 % of 9,900 faces lost with them); at 2.2, or
# in black, animals stay, or five times as many faces go.
GLANCE = 1.6
OUTSIDE = (127, 127, 127)
# Degrees from which a face is looked at once more, upright.
TURNED = 25.0


def first_canvas(told: FinderDescription, side: int) -> int:
    """The canvas that a picture is looked at on first; `side` is its longer one in pixels."""
    return told.small_canvas if side <= told.small_up_to else told.canvas


def finer_canvas(closer: CloserLooks, side: int) -> int:
    """The canvas on which the smallest faces that shall be found are seen, or the largest."""
    wanted = side * closer.finer_scale
    return next(
        (canvas for canvas in closer.finer_canvases if canvas >= wanted), closer.finer_canvases[-1]
    )


def is_certain(closer: CloserLooks, face: FoundFace, scale: float) -> bool:
    """Whether a face needs no second glance: it is sure, clear and not much turned."""
    upright = abs(square_of(face.landmarks).roll) < TURNED
    return face.found >= closer.sure_from and upright and is_clear(closer, face, scale)


def is_clear(closer: CloserLooks, face: FoundFace, scale: float) -> bool:
    """Whether a face is large enough on a canvas for its landmarks to be exact.

    Args:
        closer: the finder's measures.
        face: in the picture's pixels.
        scale: pixels of the canvas for one of the picture.
    """
    return square_of(face.landmarks).size * scale >= closer.clear_size


def draw_on_canvas(
    picture: Image.Image, canvas: int, *, reducing_gap: float
) -> tuple[UInt8Array, float, float]:
    """Make a picture as large as a square canvas allows, in its upper left corner.

    Args:
        picture: mode RGB.
        canvas: side of the square in pixels.
        reducing_gap: Pillow may first average whole pixels until this many times the wanted size
            is left.

    Returns:
        uint8[canvas, canvas, 3], black where the picture is not; by how much the picture was
        scaled across and down.
    """
    scale = canvas / max(picture.size)
    width, height = (max(1, round(side * scale)) for side in picture.size)
    resized = picture.resize((width, height), Image.Resampling.BILINEAR, reducing_gap=reducing_gap)
    pixels = np.zeros((canvas, canvas, 3), np.uint8)
    pixels[:height, :width] = np.asarray(resized)
    return pixels, width / picture.width, height / picture.height


@dataclass(frozen=True, slots=True)
class Part:
    """A square of a picture, cut out and turned so that a face in it is upright.

    Attributes:
        picture: the square.
        middle: x and y of its centre in the whole picture.
        degrees: by how much the face is turned clockwise in the whole picture.
    """

    picture: Image.Image
    middle: Centre
    degrees: float

    def in_the_whole(self, face: FoundFace) -> FoundFace:
        """A face that was found in the part, in the pixels of the whole picture."""
        return face.turned(self.degrees, centre(self.picture), self.middle)


def centre(picture: Image.Image) -> Centre:
    """X and y of a picture's centre in pixels."""
    return picture.width / 2, picture.height / 2


def cut_for_glance(picture: Image.Image, face: FoundFace) -> Part:
    """Cut a square around a face, grey where it leaves the picture, upright if much turned."""
    half = max(2, round(GLANCE / 2 * max(face.width, face.height)))
    left = round(face.x + face.width / 2) - half
    upper = round(face.y + face.height / 2) - half
    inside = (
        max(left, 0),
        max(upper, 0),
        min(left + 2 * half, picture.width),
        min(upper + 2 * half, picture.height),
    )
    square = Image.new("RGB", (2 * half, 2 * half), OUTSIDE)
    if inside[0] < inside[2] and inside[1] < inside[3]:
        square.paste(picture.crop(inside), (inside[0] - left, inside[1] - upper))
    roll = square_of(face.landmarks).roll
    if abs(roll) < TURNED:
        return Part(square, (left + half, upper + half), 0.0)
    upright = square.rotate(roll, Image.Resampling.BILINEAR, fillcolor=OUTSIDE)
    return Part(upright, (left + half, upper + half), roll)
