"""From bytes to verdicts: the one path that scans and the service share."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from deepfake_core.engines.engine import Engine
from deepfake_core.images.decoding import decode
from deepfake_core.models.bundle import Bundle
from deepfake_core.models.decision import calibrate, decide
from deepfake_core.records import Failure, FailureCode, Label, UInt8Array


@dataclass(slots=True)
class Judgement:
    """What is known of one image; either `failure` or `label` is set.

    Attributes:
        sha256: of the bytes judged; None where they could not be read.
        format: the format found in the content; None where it was not decoded.
        width: pixels after EXIF orientation; None where it was not decoded.
        height: likewise.
        failure: why there is no label.
        logit: raw output, positive means fake.
        score: calibrated probability of fake in [0, 1].
        label: the decision.
    """

    sha256: str | None = None
    format: str | None = None
    width: int | None = None
    height: int | None = None
    failure: Failure | None = None
    logit: float | None = None
    score: float | None = None
    label: Label | None = None


@dataclass(slots=True)
class StageSeconds:
    """Seconds spent in each stage, added up over threads."""

    read: float = 0.0
    decode: float = 0.0
    infer: float = 0.0


@dataclass(slots=True)
class JudgedBatch:
    """The judgements of a batch, in its order, and the time they took."""

    judgements: list[Judgement]
    seconds: StageSeconds = field(default_factory=StageSeconds)


class Classifier:
    """A bundle with the engine that runs it; several threads may call it at once."""

    def __init__(self, bundle: Bundle, engine: Engine) -> None:
        """Join a model's description with an engine that holds its weights."""
        self.bundle, self.engine = bundle, engine

    def judge(self, contents: Sequence[bytes | Failure]) -> JudgedBatch:
        """Judge images from their bytes; reads that failed stay failures.

        Returns:
            One judgement per entry, in order. One bad image changes no other's judgement.
        """
        batch = JudgedBatch([])
        started = time.perf_counter()
        readable: list[Judgement] = []
        pixels: list[UInt8Array] = []
        for content in contents:
            judgement, decoded = self.read(content)
            batch.judgements.append(judgement)
            if decoded is not None:
                readable.append(judgement)
                pixels.append(decoded)
        decoded_at = time.perf_counter()
        if readable:
            self.score(readable, np.stack(pixels))
        batch.seconds.decode = decoded_at - started
        batch.seconds.infer = time.perf_counter() - decoded_at
        return batch

    def read(self, content: bytes | Failure) -> tuple[Judgement, UInt8Array | None]:
        """Hash and decode one image.

        Returns:
            What is known of it so far, and its pixels for `score`; none where it has failed.
        """
        if isinstance(content, Failure):
            return Judgement(failure=content), None
        preprocessing = self.bundle.description.preprocessing
        judgement = Judgement(sha256=hashlib.sha256(content).hexdigest())
        decoded = decode(content, size=preprocessing.size, background=preprocessing.background)
        if isinstance(decoded, Failure):
            judgement.failure = decoded
            return judgement, None
        judgement.format = decoded.format
        judgement.width, judgement.height = decoded.width, decoded.height
        return judgement, decoded.pixels

    def score(self, judgements: Sequence[Judgement], pixels: UInt8Array) -> None:
        """Complete the judgements of decoded images.

        Args:
            judgements: as `read` gave them; logit, score and label are set, or the failure.
            pixels: uint8[N, size, size, 3], in the order of the judgements.
        """
        logits = self.engine.logits(pixels)
        description = self.bundle.description
        scores = calibrate(logits, description.calibration)
        labels = decide(scores, description.thresholds)
        finite = np.isfinite(logits).tolist()
        for index, judgement in enumerate(judgements):
            if finite[index]:
                judgement.logit, judgement.score = float(logits[index]), float(scores[index])
                judgement.label = labels[index]
            else:
                judgement.failure = Failure(
                    FailureCode.SCORE_NOT_FINITE, "the network gave no number"
                )
