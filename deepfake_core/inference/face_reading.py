"""From bytes to the aligned faces of a picture."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
from PIL import Image

from deepfake_core.faces.alignment import align, square_of
from deepfake_core.faces.finder import FaceFinder
from deepfake_core.faces.records import FoundFace
from deepfake_core.images.decoding import Loaded, load
from deepfake_core.inference.classifier import ReadFaces
from deepfake_core.inference.judgement import JudgedFace, StageSeconds
from deepfake_core.models.bundle import Preprocessing
from deepfake_core.records import Failure, Reason, UInt8Array

# JPEGs are decoded at the smallest scale that leaves twice this side. Faces that would then be
# enlarged are cut from a finer decoding.
FINDING_SIDE = 256
# Of a picture of hundreds of faces so many are judged, the largest first, and so many are listed.
MOST_JUDGED, MOST_LISTED = 16, 64


class AlignedFaces:
    """Decodes pictures, finds their faces and aligns them."""

    def __init__(self, finder: FaceFinder, preprocessing: Preprocessing) -> None:
        """Take the finder, and what the network expects of a face."""
        self.finder, self.preprocessing = finder, preprocessing

    def read(self, content: bytes, seconds: StageSeconds) -> ReadFaces | Failure:
        """See `FaceReader.read`."""
        started = time.perf_counter()
        loaded = self.load(content)
        decoded = time.perf_counter()
        seconds.decode += decoded - started
        if isinstance(loaded, Failure):
            return loaded
        (found,) = self.finder.find([loaded.image])
        if isinstance(found, Failure):
            return found
        seconds.find += time.perf_counter() - decoded
        return self._align(content, loaded, found)

    def load(self, content: bytes, side: int = FINDING_SIDE) -> Loaded | Failure:
        """Decode a picture for finding; a large JPEG at the smallest scale of twice the side."""
        told = self.preprocessing
        return load(content, size=side, background=told.background, colour=told.colour)

    def find(self, image: Image.Image) -> list[FoundFace]:
        """The faces of a decoded picture, in its pixels; none where the finder fails."""
        (found,) = self.finder.find([image])
        return [] if isinstance(found, Failure) else list(found)

    def _align(
        self, content: bytes, loaded: Loaded, found: Sequence[FoundFace]
    ) -> ReadFaces | Failure:
        """Align the faces that are judged, from a finer decoding where they need it."""
        scale = loaded.width / loaded.image.width, loaded.height / loaded.image.height
        whole = _by_size([face.scaled(*scale) for face in found])
        judged = [face for face in whole if _size(face) >= self.preprocessing.least_size]
        judged = judged[:MOST_JUDGED]
        image = loaded.image
        side = self.preprocessing.size
        smallest = min((_size(face) for face in judged), default=np.inf) / max(scale)
        if smallest < side and max(scale) > 1:
            finer = self.load(content, int(FINDING_SIDE * min(max(scale), side / smallest)) + 1)
            if isinstance(finer, Failure):
                return finer
            image = finer.image
        back = image.width / loaded.width, image.height / loaded.height
        crops = [self._crop(image, face.scaled(*back)) for face in judged]
        listed = [face for face in whole if not any(face is one for one in judged)]
        faces = [_judged_face(face, None) for face in judged]
        for face in listed[: MOST_LISTED - len(judged)]:
            small = _size(face) < self.preprocessing.least_size
            faces.append(_judged_face(face, Reason.FACE_TOO_SMALL if small else None))
        empty = np.empty((0, side, side, 3), np.uint8)
        return ReadFaces(
            format=loaded.format,
            width=loaded.width,
            height=loaded.height,
            faces=faces,
            crops=np.stack(crops) if crops else empty,
            found=len(found),
        )

    def _crop(self, image: Image.Image, face: FoundFace) -> UInt8Array:
        return align(image, face.landmarks, size=self.preprocessing.size).crop


def _size(face: FoundFace) -> float:
    return square_of(face.landmarks).size


def _by_size(faces: Sequence[FoundFace]) -> list[FoundFace]:
    """The largest first; what is of one size in the order of its place."""
    return sorted(faces, key=lambda face: (-_size(face), face.y, face.x))


def _judged_face(face: FoundFace, reason: Reason | None) -> JudgedFace:
    square = square_of(face.landmarks)
    return JudgedFace(
        x=float(face.x),
        y=float(face.y),
        width=float(face.width),
        height=float(face.height),
        size=float(square.size),
        roll=float(square.roll),
        found=float(face.found),
        reason=reason,
    )
