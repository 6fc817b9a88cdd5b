"""The values that finding and alignment give."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

import numpy as np

from deepfake_core.records import Float32Array, UInt8Array

Centre = tuple[float, float]


@dataclass(frozen=True, slots=True)
class FoundFace:
    """A face as the finder sees it, in the pixels of the picture that it was given.

    Attributes:
        x: left side of the box; may lie outside the picture.
        y: upper side.
        width: of the box in pixels.
        height: likewise.
        found: the finder's confidence, 0 to 1.
        landmarks: float32[5, 2], x and y of the eye on the picture's left, the eye on its right,
            the nose, and the corners of the mouth, left and right, for an upright face.
    """

    x: float
    y: float
    width: float
    height: float
    found: float
    landmarks: Float32Array

    def scaled(self, across: float, down: float) -> FoundFace:
        """The same face in a larger or smaller copy of the picture.

        Args:
            across: width of the copy, divided by the width of the picture.
            down: likewise of the heights.
        """
        return FoundFace(
            x=self.x * across,
            y=self.y * down,
            width=self.width * across,
            height=self.height * down,
            found=self.found,
            landmarks=self.landmarks * np.array([across, down], np.float32),
        )

    def moved(self, across: float, down: float) -> FoundFace:
        """The same face in a picture of which this one is a part.

        Args:
            across: where the part begins in the picture, in pixels.
            down: likewise.
        """
        return dataclasses.replace(
            self,
            x=self.x + across,
            y=self.y + down,
            landmarks=self.landmarks + np.array([across, down], np.float32),
        )

    def turned(self, degrees: float, about: Centre, now: Centre) -> FoundFace:
        """The same face in a picture that is turned clockwise about its centre.

        Args:
            degrees: by how much.
            about: x and y of the centre of this picture.
            now: x and y of the centre of the turned picture.
        """
        cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
        turn = np.array([[cosine, sine], [-sine, cosine]])
        middle = [self.x + self.width / 2, self.y + self.height / 2]
        x, y = (np.array(middle) - about) @ turn + now
        width = abs(cosine) * self.width + abs(sine) * self.height
        height = abs(sine) * self.width + abs(cosine) * self.height
        points = (self.landmarks.astype(np.float64) - about) @ turn + now
        return dataclasses.replace(
            self,
            x=float(x) - width / 2,
            y=float(y) - height / 2,
            width=width,
            height=height,
            landmarks=points.astype(np.float32),
        )


@dataclass(frozen=True, slots=True)
class AlignedFace:
    """A face in the geometry that the network was trained on.

    Attributes:
        crop: uint8[size, size, 3], RGB.
        size: side of the square in the source's pixels that the crop shows; the size of a face.
        roll: by how many degrees the face is turned clockwise in the picture, -180 to 180.
        quad: float32[4, 2], corners of that square in the source: upper left, lower left, lower
            right, upper right of the crop.
    """

    crop: UInt8Array
    size: float
    roll: float
    quad: Float32Array
