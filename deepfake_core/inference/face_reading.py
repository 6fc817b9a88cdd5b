"""From bytes to the aligned faces of a picture."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
from PIL import Image

from deepfake_core.faces.alignment import align, square_of
from deepfake_core.faces.finder import FaceFinder
from deepfake_core.faces.quality import is_blank, true_size
from deepfake_core.faces.records import FoundFace
from deepfake_core.faces.selection import select_faces
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
        (faces,) = self.finder.find([loaded.image])
        if isinstance(faces, Failure):
            return faces
        seconds.find += time.perf_counter() - decoded
        return self._align(content, loaded, faces)

    def load(self, content: bytes, side: int = FINDING_SIDE) -> Loaded | Failure:
        """Decode a picture for finding; a large JPEG at the smallest scale of twice the side."""
        told = self.preprocessing
        return load(content, size=side, background=told.background, colour=told.colour)

    def find(self, image: Image.Image) -> list[FoundFace]:
        """The faces of a decoded picture, in its pixels; none where the finder fails."""
        (faces,) = self.finder.find([image])
        return [] if isinstance(faces, Failure) else list(faces)

    def _align(
        self, content: bytes, loaded: Loaded, candidates: Sequence[FoundFace]
    ) -> ReadFaces | Failure:
        """Align the faces that are judged, from a finer decoding where they need it."""
        across, down = (
            loaded.width / loaded.image.width,
            loaded.height / loaded.image.height,
        )
        chosen = select_faces(candidates, loaded.image.size, most=MOST_LISTED)
        listed = [
            (face.scaled(across, down), true_size(loaded.image, face.landmarks) * across)
            for face in chosen.faces
        ]
        least = self.preprocessing.least_size
        enough = [at for at, (_, size) in enumerate(listed) if size >= least][:MOST_JUDGED]
        judged = [listed[at] for at in enough]
        image = self._finer(content, loaded, [face for face, _ in judged])
        if isinstance(image, Failure):
            return image
        back = image.width / loaded.width, image.height / loaded.height
        crops = [self._crop(image, face.scaled(*back)) for face, _ in judged]
        shown = [at for at, crop in enumerate(crops) if not is_blank(crop)]
        faces = [_judged_face(*judged[at], None) for at in shown]
        rest = [pair for at, pair in enumerate(listed) if at not in enough]
        faces += [_judged_face(*pair, _why_not(pair[1], least)) for pair in rest]
        side = self.preprocessing.size
        empty = np.empty((0, side, side, 3), np.uint8)
        return ReadFaces(
            format=loaded.format,
            width=loaded.width,
            height=loaded.height,
            faces=faces,
            crops=np.stack([crops[at] for at in shown]) if shown else empty,
            found=chosen.found - (len(judged) - len(shown)),
        )

    def _finer(
        self, content: bytes, loaded: Loaded, faces: Sequence[FoundFace]
    ) -> Image.Image | Failure:
        """The decoding from which faces are cut: another one where they would be enlarged."""
        scale = loaded.width / loaded.image.width
        smallest = min((_size(face) for face in faces), default=np.inf) / scale
        if smallest >= self.preprocessing.size or scale <= 1:
            return loaded.image
        wanted = FINDING_SIDE * min(scale, self.preprocessing.size / smallest)
        finer = self.load(content, int(wanted) + 1)
        return finer if isinstance(finer, Failure) else finer.image

    def _crop(self, image: Image.Image, face: FoundFace) -> UInt8Array:
        return align(image, face.landmarks, size=self.preprocessing.size).crop


def _size(face: FoundFace) -> float:
    return square_of(face.landmarks).size


def _why_not(size: float, least: float) -> Reason | None:
    """Why a face is listed and not judged; None where there were larger ones enough."""
    return Reason.FACE_TOO_SMALL if size < least else None


def _judged_face(face: FoundFace, once: float, reason: Reason | None) -> JudgedFace:
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
        once=float(once) if once < square.size else None,
    )
