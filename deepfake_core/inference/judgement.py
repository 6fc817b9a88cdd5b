"""What is known of an image once it was judged, and of each face in it."""

from __future__ import annotations

from dataclasses import dataclass, field

from deepfake_core.provenance.claims import Claim
from deepfake_core.records import Failure, Label, Reason


@dataclass(slots=True)
class JudgedFace:
    """A face that was considered; what was not judged has neither logit nor score.

    Attributes:
        x: left edge of its box, in pixels after EXIF orientation.
        y: top edge, likewise.
        width: of the box, likewise.
        height: likewise.
        size: side of the aligned crop in pixels of the picture; the size of the face.
        roll: degrees by which it is turned.
        found: the finder's confidence in [0, 1].
        logit: of the first look; positive means fake.
        second_logit: of the second look, where it was taken.
        score: calibrated probability that it was generated.
        label: the decision; `not_applicable` where it was not judged.
        reason: why it was not judged.
        once: the size that the face had before its picture was enlarged, by which it counts;
            None where that is its size.
    """

    x: float
    y: float
    width: float
    height: float
    size: float
    roll: float
    found: float
    logit: float | None = None
    second_logit: float | None = None
    score: float | None = None
    label: Label = Label.NOT_APPLICABLE
    reason: Reason | None = None
    once: float | None = None

    @property
    def counted_size(self) -> float:
        """The size that calibration and the least size go by."""
        return self.size if self.once is None else self.once


@dataclass(slots=True)
class Judgement:
    """What is known of one image; either `failure` or `label` is set.

    Attributes:
        sha256: of the bytes judged; None where they could not be read.
        format: the format found in the content; None where it was not decoded.
        width: pixels after EXIF orientation; None where it was not decoded.
        height: likewise.
        failure: why there is no label.
        logit: raw output for the face that decided, of its last look; positive means fake.
        score: calibrated probability of fake in [0, 1]; None where nothing was judged.
        label: the decision.
        reason: why the label is `not_applicable`, or was made `uncertain`.
        faces: the faces considered, the one that decided first; None where the whole picture
            was judged.
        faces_found: how many there were.
        second_model_id: the second look, where it was taken.
        score_low: least score under cheap re-encodings; None where it was not judged again.
        score_high: largest score, likewise.
        provenance: what the file says of itself.
        brightness: mean of what is judged first in it, 0 to 255; None where nothing is.
    """

    sha256: str | None = None
    format: str | None = None
    width: int | None = None
    height: int | None = None
    failure: Failure | None = None
    logit: float | None = None
    score: float | None = None
    label: Label | None = None
    reason: Reason | None = None
    faces: list[JudgedFace] | None = None
    faces_found: int | None = None
    second_model_id: str | None = None
    score_low: float | None = None
    score_high: float | None = None
    provenance: tuple[Claim, ...] = ()
    brightness: float | None = None

    def refuse(self, reason: Reason) -> None:
        """Say that the model has no business judging this image."""
        self.label, self.reason = Label.NOT_APPLICABLE, reason

    def fail(self, failure: Failure) -> None:
        """Say that the image cannot be judged; nothing of a judgement is left."""
        self.failure = failure
        self.label = self.reason = self.logit = self.score = None
        self.faces = self.faces_found = None


@dataclass(slots=True)
class StageSeconds:
    """Seconds spent in each stage, added up over threads."""

    read: float = 0.0
    decode: float = 0.0
    find: float = 0.0
    infer: float = 0.0

    def add(self, other: StageSeconds) -> None:
        """Add another's."""
        self.read += other.read
        self.decode += other.decode
        self.find += other.find
        self.infer += other.infer


@dataclass(slots=True)
class JudgedBatch:
    """The judgements of a batch, in its order, and the time they took."""

    judgements: list[Judgement]
    seconds: StageSeconds = field(default_factory=StageSeconds)
