"""From bytes to verdicts: the one path that scans and the service share."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import CancelledError
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from deepfake_core.engines.engine import Engine
from deepfake_core.images.brightness import mean_brightness
from deepfake_core.images.decoding import decode
from deepfake_core.inference.judgement import JudgedBatch, JudgedFace, Judgement, StageSeconds
from deepfake_core.inference.looks import Looks, Scored, SecondLook, Stopping, never
from deepfake_core.models.bundle import Bundle, Curve
from deepfake_core.models.decision import decide, strongest
from deepfake_core.models.policy import Policy, decide_by_policy
from deepfake_core.provenance.c2pa_signature import SignatureChecker
from deepfake_core.provenance.claims import read_claims
from deepfake_core.records import Failure, FailureCode, Float32Array, Label, Reason, UInt8Array

NO_NUMBER = Failure(FailureCode.SCORE_NOT_FINITE, "the network gave no number")


@dataclass(frozen=True, slots=True)
class ReadFaces:
    """The faces of a decoded picture.

    Attributes:
        format: the format found in the content.
        width: pixels after EXIF orientation.
        height: likewise.
        faces: those that were considered; the first ones are judged, the rest are too small.
        crops: uint8[F, size, size, 3], aligned, of the faces that are judged.
        found: how many faces there were.
    """

    format: str
    width: int
    height: int
    faces: list[JudgedFace]
    crops: UInt8Array
    found: int


class FaceReader(Protocol):
    """Finds and aligns the faces of a picture; several threads may read at once."""

    def read(self, content: bytes, seconds: StageSeconds) -> ReadFaces | Failure:
        """Decode a picture and align its faces; adds the time it took."""
        ...


@dataclass(frozen=True, slots=True)
class Rules:
    """How outputs become labels.

    Attributes:
        curve: calibration and thresholds.
        policy: in place of the line from which on the curve calls a face fake.
    """

    curve: Curve
    policy: Policy | None = None


class Classifier:
    """A model with the engines that run it; several threads may call it at once.

    Attributes:
        bundle: the first look.
        looks: the first look with what runs it and, if there is one, the second.
        curve: calibration and thresholds at the engine's precision.
        checker: checks signatures of content credentials; None leaves them unchecked.
    """

    checker: SignatureChecker | None = None

    def __init__(
        self,
        bundle: Bundle,
        engine: Engine,
        *,
        reader: FaceReader | None = None,
        second: SecondLook | None = None,
        rules: Rules | None = None,
    ) -> None:
        """Join a model's description with an engine that holds its weights.

        Args:
            bundle: the first look.
            engine: what runs it.
            reader: finds the faces that are judged; without one the whole picture is judged.
            second: the second look.
            rules: in place of the bundle's own curve.
        """
        self.bundle = bundle
        rules = rules or Rules(bundle.description.curve(engine.precision))
        self.curve = rules.curve
        self.looks = Looks(engine, self.curve, second)
        self.reader, self.policy = reader, rules.policy

    def judge(self, contents: Iterable[bytes | Failure], stopping: Stopping = never) -> JudgedBatch:
        """Judge images from their bytes; reads that failed stay failures.

        Args:
            contents: the bytes of files, or why they could not be read.
            stopping: whether nobody waits for the verdicts any more.

        Returns:
            One judgement per entry, in order. One bad image changes no other's judgement.

        Raises:
            CancelledError: nobody waits any more.
        """
        batch = JudgedBatch([])
        waiting: list[Judgement] = []
        crops: list[UInt8Array] = []
        for content in contents:
            if stopping():
                raise CancelledError
            judgement, pixels = self.read(content, batch.seconds)
            batch.judgements.append(judgement)
            if pixels is not None:
                judgement.brightness = mean_brightness(pixels[0])
                waiting.append(judgement)
                crops.append(pixels)
        started = time.perf_counter()
        self.score(waiting, crops, stopping)
        batch.seconds.infer = time.perf_counter() - started
        return batch

    def read(
        self, content: bytes | Failure, seconds: StageSeconds | None = None
    ) -> tuple[Judgement, UInt8Array | None]:
        """Hash and decode one image, and find what is judged in it.

        Args:
            content: the bytes of a file, or why they could not be read.
            seconds: the time of decoding and finding is added to these.

        Returns:
            What is known of it so far, and uint8[F, size, size, 3] for `score`; None where
            nothing is judged.
        """
        if isinstance(content, Failure):
            return Judgement(failure=content), None
        seconds = seconds or StageSeconds()
        started = time.perf_counter()
        judgement = Judgement(sha256=hashlib.sha256(content).hexdigest())
        judgement.provenance = read_claims(content, self.checker)
        seconds.decode += time.perf_counter() - started
        if self.reader is not None:
            return judgement, self._read_faces(judgement, self.reader.read(content, seconds))
        started = time.perf_counter()
        preprocessing = self.bundle.description.preprocessing
        decoded = decode(
            content,
            size=preprocessing.size,
            background=preprocessing.background,
            colour=preprocessing.colour,
        )
        seconds.decode += time.perf_counter() - started
        if isinstance(decoded, Failure):
            judgement.failure = decoded
            return judgement, None
        judgement.format = decoded.format
        judgement.width, judgement.height = decoded.width, decoded.height
        return judgement, decoded.pixels[None]

    def _read_faces(self, judgement: Judgement, read: ReadFaces | Failure) -> UInt8Array | None:
        if isinstance(read, Failure):
            judgement.failure = read
            return None
        judgement.format = read.format
        judgement.width, judgement.height = read.width, read.height
        judgement.faces, judgement.faces_found = read.faces, read.found
        if len(read.crops):
            return read.crops
        judgement.refuse(Reason.FACE_TOO_SMALL if read.faces else Reason.NO_FACE)
        return None

    def score(
        self,
        judgements: Sequence[Judgement],
        crops: Sequence[UInt8Array],
        stopping: Stopping = never,
    ) -> None:
        """Complete the judgements of images in which there is something to judge.

        Args:
            judgements: as `read` gave them; logit, score and label are set, or the failure.
            crops: uint8[F, size, size, 3] of each, in their order.
            stopping: whether nobody waits for them any more.

        Raises:
            CancelledError: nobody waits any more.
        """
        if not judgements:
            return
        counts = [len(some) for some in crops]
        sizes = [size for each in judgements for size in _sizes(each, self.crop_side)]
        scored = self.looks.look(np.concatenate(crops), sizes, stopping=stopping)
        largest = [largest_judged(judgement) for judgement in judgements]
        labels = self.decide(
            scored.scores, largest=np.repeat(largest, counts), faces=np.repeat(counts, counts)
        )
        start = 0
        for judgement, count in zip(judgements, counts, strict=True):
            self._fill(judgement, scored, labels, range(start, start + count))
            start += count

    def decide(
        self, scores: Float32Array, *, largest: npt.ArrayLike, faces: npt.ArrayLike
    ) -> list[Label]:
        """The label of each face, by the bundle's line or by that of a policy.

        Args:
            scores: float32[N] in [0, 1].
            largest: float[N] or one number, the largest face that is judged in its picture.
            faces: int[N] or one number, how many are judged there.
        """
        if self.policy is None:
            return decide(scores, self.curve.thresholds, faces)
        sizes = np.broadcast_to(np.asarray(largest, np.float32), scores.shape)
        return decide_by_policy(scores, self.curve.thresholds, policy=self.policy, sizes=sizes)

    @property
    def engine(self) -> Engine:
        """What runs the first look."""
        return self.looks.engine

    @property
    def crop_side(self) -> int:
        """Side of the network's input in pixels."""
        return self.bundle.description.preprocessing.size

    def _fill(
        self, judgement: Judgement, scored: Scored, labels: Sequence[Label], rows: range
    ) -> None:
        """Write what the looks said of an image's faces into its judgement."""
        if not np.isfinite(scored.scores[rows]).all():
            judgement.fail(NO_NUMBER)
            return
        first = [float(scored.first[row]) for row in rows]
        second = [float(scored.second[row]) if scored.went_on[row] else None for row in rows]
        scores = [float(scored.scores[row]) for row in rows]
        decided = [labels[row] for row in rows]
        best = strongest(decided, scores)
        last = second[best]
        judgement.logit = first[best] if last is None else last
        judgement.score, judgement.label = scores[best], decided[best]
        if self.looks.second is not None and scored.went_on[rows].any():
            judgement.second_model_id = self.looks.second.model_id
        if judgement.faces is None:
            return
        for at, face in enumerate(judgement.faces[: len(rows)]):
            face.logit, face.second_logit = first[at], second[at]
            face.score, face.label = scores[at], decided[at]
        judgement.faces.insert(0, judgement.faces.pop(best))


def largest_judged(judgement: Judgement) -> float:
    """The size of the largest face that is judged in a picture; NaN where it is judged whole."""
    sizes = [face.counted_size for face in judgement.faces or () if face.reason is None]
    return max(sizes, default=np.nan)


def _sizes(judgement: Judgement, side: int) -> list[float]:
    """The size of each thing that is judged in an image: of its faces, or of the picture."""
    if judgement.faces is None:
        return [float(min(judgement.width or side, judgement.height or side))]
    return [face.counted_size for face in judgement.faces if face.reason is None]
