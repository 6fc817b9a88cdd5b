"""``summary.json``: what a run found, as numbers."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from deepfake_core.models.canaries import CanaryCheck
from deepfake_core.models.decision import Thresholds
from deepfake_core.results.run_record import ModelFacts, Redecided, RunWarning, TagCounts
from deepfake_core.results.stored import FileSystemName, Stored


class Histogram(Stored):
    """How many images have which score.

    Attributes:
        edges: of the bins, one more than there are counts.
        counts: images by bin.
    """

    edges: list[float] = Field(default_factory=list)
    counts: list[int] = Field(default_factory=list)


class ShownImage(Stored):
    """A judged image that the report shows, as its row has it."""

    image: str
    faces: list[dict[str, Any]] | None = None
    score: float
    label: str
    width: int | None = None
    height: int | None = None
    format: str | None = None
    sha256: str | None = None


class FlaggedImage(Stored):
    """A flagged image, with the strength of its evidence in words."""

    image: str
    score: float
    strength: str
    sha256: str | None = None


class FolderCount(Stored):
    """What became of the images below one of the topmost folders; empty for those in none."""

    folder: FileSystemName
    images: int
    flagged: int
    uncertain: int


class DeclaredImage(Stored):
    """A file that declares itself generated.

    Attributes:
        image: the file.
        label: what the model says of it; None where it could not be judged.
        score: likewise.
        says: what the file claims.
        broken: whether its content credentials were shown to be broken.
    """

    image: str
    label: str | None = None
    score: float | None = None
    says: str
    broken: bool = False


class BrokenImage(Stored):
    """A file whose content credentials are broken, and what they say."""

    image: str
    says: str


class CredentialCounts(Stored):
    """What was found of content credentials; an image counts once.

    Attributes:
        images: those that have some.
        verified: the signature holds, and the signer is on the trust list.
        intact: the signature holds; who signed is not known.
        broken: changed after signing, copied from another file, or without a valid signature.
        unchecked: nothing of this is known.
        trust_list: by which signatures were checked; None where none was.
        broken_images: some of the broken ones.
    """

    images: int
    verified: int
    intact: int
    broken: int
    unchecked: int
    trust_list: str | None = None
    broken_images: list[BrokenImage] = Field(default_factory=list)


class FailedImage(Stored):
    """A file that could not be judged, with its failure code."""

    image: str
    failure: str
    detail: str | None = None


class ChangeCount(Stored):
    """How many images changed from one label to another; ``from`` and ``to`` in the file."""

    before: str = Field(alias="from")
    after: str = Field(alias="to")
    images: int


class ChangedImage(Stored):
    """An image whose label is another than before, and the model that gave the one before."""

    image: str
    before: str
    after: str
    score: float
    model_before: str | None = None


class LabelChanges(Stored):
    """The labels that are not as they were.

    Attributes:
        compared: images with a label before and after.
        flipped: those whose label is another one.
        by: how many changed from what to what, the most frequent first.
        images: some of them, those called fake now first.
        models: how many labels from before each model gave.
    """

    compared: int
    flipped: int
    by: list[ChangeCount]
    images: list[ChangedImage]
    models: dict[str, int] = Field(default_factory=dict)


class FlagWorth(Stored):
    """How many of the flags of a run are photographs.

    Attributes:
        prior: the share of fakes in the source.
        given: whether a person gave it; else it was estimated from the share of flags.
        low: least share of photographs among the flags, by the intervals of what was measured.
        best: the estimate.
        high: largest share.
    """

    prior: float
    given: bool
    low: float
    best: float
    high: float


class Expectation(Stored):
    """How many flagged images would be real, for a share of fakes in the source.

    Attributes:
        share_of_fakes: the share that is assumed.
        flagged_real_share: the share of real images among those flagged.
        split: the set of images on which the two rates were measured.
        tpr: the share of fakes that were flagged there.
        fpr: the share of real images that were.
        at_most: whether `fpr`, and so the result, is an upper bound.
    """

    share_of_fakes: float
    flagged_real_share: float
    split: str
    tpr: float
    fpr: float
    at_most: bool


class Summary(Stored):
    """The content of ``summary.json``; the fields that `RunRecord` has too mean the same."""

    run_id: str | None = None
    run_date: str | None = None
    source: FileSystemName | None = None
    finished: str | None = None
    model_id: str | None = None
    second_model_id: str | None = None
    second_look: str | None = None
    precision: str | None = None
    engine: str | None = None
    new: int | None = None
    backlog: int | None = None
    left: int | None = None
    gone: int | None = None
    renamed: int | None = None
    known_flagged: int | None = None
    redecided: Redecided | None = None
    started: str | None = None
    thresholds: Thresholds | None = None
    temperature: float | None = None
    listed: int = 0
    skipped: int = 0
    judged: int = 0
    not_applicable: int = 0
    failed: int = 0
    labels: dict[str, int] = Field(default_factory=dict)
    reasons: dict[str, int] = Field(default_factory=dict)
    faces: dict[str, int] = Field(default_factory=dict)
    failures: dict[str, int] = Field(default_factory=dict)
    skipped_reasons: dict[str, int] = Field(default_factory=dict)
    unlisted_folders: list[FileSystemName] = Field(default_factory=list)
    not_images: int = 0
    histogram: Histogram = Field(default_factory=Histogram)
    highest: list[ShownImage] = Field(default_factory=list)
    uncertain: list[ShownImage] = Field(default_factory=list)
    failed_images: list[FailedImage] = Field(default_factory=list)
    flagged: list[FlaggedImage] = Field(default_factory=list)
    folders: list[FolderCount] = Field(default_factory=list)
    declared: int = 0
    declared_images: list[DeclaredImage] = Field(default_factory=list)
    credentials: CredentialCounts | None = None
    tags: TagCounts | None = None
    timings: dict[str, float] = Field(default_factory=dict)
    expectations: list[Expectation] = Field(default_factory=list)
    flag_worth: FlagWorth | None = None
    inputs: dict[str, dict[str, int]] = Field(default_factory=dict)
    card: ModelFacts = Field(default_factory=ModelFacts)
    suspect: bool = False
    canaries: CanaryCheck | None = None
    changes: LabelChanges | None = None
    warnings: list[RunWarning] = Field(default_factory=list)
