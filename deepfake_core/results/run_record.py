"""``run.json``: all that is kept of a run but its rows."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, ValidationError

from deepfake_core.errors import DamagedFile
from deepfake_core.models.bundle import Precision
from deepfake_core.models.canaries import CanaryCheck
from deepfake_core.models.decision import Thresholds
from deepfake_core.records import Json
from deepfake_core.results.stored import FileSystemName, Stored


class Counts(Stored):
    """How many images a run listed, and what became of them."""

    listed: int = 0
    skipped: int = 0
    judged: int = 0
    not_applicable: int = 0
    failed: int = 0

    @property
    def accounted_for(self) -> int:
        """The images of which something became; all that were listed, if nothing was lost."""
        return self.judged + self.not_applicable + self.failed + self.skipped


class RunWarning(Stored):
    """In what a run is unlike the last ones, or which of its globs took nothing.

    Attributes:
        measure: ``fakes``, ``failures``, ``scores``; ``include`` or ``exclude`` of a glob, whose
            numbers are None.
        now: its value in this run.
        before: in the last runs together.
        statistic: how far apart they are.
        limit: from where on that is worth a warning.
        words: the same for people.
    """

    measure: str
    now: float | None
    before: float | None
    statistic: float | None
    limit: float | None
    words: str


class ModelFacts(Stored):
    """What a model's card says, as it was when the run was made.

    Attributes:
        figures: what was measured, by set of images.
        trained_on: the images it was trained on.
        limits: what it must not be used for.
    """

    figures: Mapping[str, Any] = Field(default_factory=dict)
    trained_on: str = ""
    limits: tuple[str, ...] = ()


class Redecided(Stored):
    """Where the labels of a redecision come from.

    Attributes:
        scan: the run that judged the images.
        scan_started: when that run started, ISO 8601.
        origin: the run whose labels were decided again, a scan or a redecision; ``from`` in the
            file.
        thresholds_before: by which its labels were decided.
        at: when they were decided again, ISO 8601.
    """

    scan: str
    scan_started: str
    origin: str = Field(alias="from")
    thresholds_before: Thresholds
    at: str


# Says on an object of a bucket what was found, where a scan was asked to.
TAG_NAME = "deepfake-scan"


class TagCounts(Stored):
    """What became of the tags of a run's objects.

    Attributes:
        set: objects that got the tag.
        same: those that bore it already.
        changed: those that are not what was judged any more.
        gone: those that are not there any more.
        denied: those that may not be tagged.
        full: those with as many tags as a store allows.
        failed: those that could not be tagged.
        left: those that were not tried, as none before them could be tagged.
    """

    set: int = 0
    same: int = 0
    changed: int = 0
    gone: int = 0
    denied: int = 0
    full: int = 0
    failed: int = 0
    left: int = 0

    @property
    def is_complete(self) -> bool:
        """Whether all that are there as they were judged bear the tag."""
        return not self.denied + self.full + self.failed + self.left

    @property
    def words(self) -> str:
        """What became of them, in a sentence."""
        others = (
            (self.denied, "may not be tagged"),
            (self.full, "have as many tags as a store allows"),
            (self.changed, "were changed since they were judged"),
            (self.gone, "are gone"),
            (self.failed, "could not be tagged"),
            (self.left, "were not tried any more"),
        )
        said = "".join(f"; {count:,} {what}" for count, what in others if count)
        return f"{self.set + self.same:,} objects bear the tag {TAG_NAME}{said}"


class RowFacts(Stored):
    """The facts of a run that go into its rows or say how they are made.

    Attributes:
        source: where the images are, normalised.
        model_id: the model that judges them.
        precision: its arithmetic.
        engine: what runs it.
        faces: ``find`` where faces are judged, ``frame`` where whole pictures are.
        finder_id: the network that finds the faces; None where whole pictures are judged.
        finder_precision: its arithmetic.
        second_look: ``off``, ``auto`` or ``all``: which faces are given a second look.
        second_model_id: the network that takes it; None where there is none.
        second_precision: its arithmetic.
        pair: the hash of how both looks work together.
        policy: the hash of the policy that replaces the models' line of ``fake``.
        policy_content: what it says.
        stability: whether flags are judged again under cheap re-encodings.
        trust_list: by which signatures of content credentials are checked; None where none is.
        trust_signers: its certificates (PEM), unless it is the one that ships.
        run_id: the run.
        run_started: when it started, ISO 8601 with microseconds, UTC.
    """

    source: FileSystemName
    model_id: str
    precision: Precision
    engine: str
    faces: str = "frame"
    finder_id: str | None = None
    finder_precision: Precision | None = None
    second_look: Literal["auto", "off", "all"] = "off"
    second_model_id: str | None = None
    second_precision: Precision | None = None
    pair: str | None = None
    policy: str | None = None
    policy_content: Json | None = None
    stability: bool = False
    trust_list: str | None = None
    trust_signers: str | None = None
    run_id: str
    run_started: str

    @property
    def started(self) -> dt.datetime:
        """When the run started."""
        return dt.datetime.fromisoformat(self.run_started)

    @property
    def row_facts(self) -> RowFacts:
        """These facts alone, such as to send them to another machine."""
        return RowFacts(**{name: getattr(self, name) for name in RowFacts.model_fields})


class RunRecord(RowFacts):
    """The content of ``run.json``.

    Attributes:
        file: the one file of the source that was scanned; None for all of it.
        shard_size: images that are committed together.
        run_date: the UTC date on which it started.
        state: ``planned``, ``redeciding`` or ``done``.
        schema_version: of the verdict table.
        config: what was asked for, as the scan's configuration stores it.
        config_fingerprint: of the settings that can change a verdict.
        manifest_fingerprint: of what was listed.
        unlisted_folders: folders whose content is unknown.
        new: images judged for the first time.
        backlog: images judged again.
        left: images that wait for the next scan.
        gone: images of earlier runs that are not listed any more; None where nobody looked.
        renamed: new names of such images; None likewise.
        known_flagged: images that were skipped as known and called fake before.
        idle_globs: a warning for each glob that took no image.
        versions: of the program and of Python.
        counts: what became of the images; zeros until the run is finished.
        skipped_reasons: how many images were skipped for what.
        timings: seconds by stage, summed over all threads, and ``seconds`` by the clock.
        finished: when it ended.
        thresholds: by which the labels were decided.
        temperature: of the calibration.
        card: what the model's card said.
        redecided: where the labels come from, if no image was judged.
        erased: images that were listed once and are not told of any more.
        suspect: whether the networks answered known pictures otherwise than they should.
        canaries: how they answered them; None where nothing was judged or nobody asked.
        tags: what became of the tags of its objects; None where none were asked for.
        brightness: how many of the judged pictures are how bright.
        drift: the limits of the comparison with earlier runs, where they are not the usual ones.
        warnings: in what it is unlike them; None until it was compared.
    """

    file: FileSystemName | None = None
    shard_size: int
    run_date: str
    state: str
    schema_version: int = 1
    config: Json = Field(default_factory=dict)
    config_fingerprint: str = ""
    manifest_fingerprint: str = ""
    unlisted_folders: list[FileSystemName] = Field(default_factory=list)
    new: int | None = None
    backlog: int | None = None
    left: int | None = None
    gone: int | None = None
    renamed: int | None = None
    known_flagged: int | None = None
    idle_globs: list[RunWarning] = Field(default_factory=list)
    versions: dict[str, str] = Field(default_factory=dict)
    counts: Counts = Field(default_factory=Counts)
    skipped_reasons: dict[str, int] = Field(default_factory=dict)
    timings: dict[str, float] = Field(default_factory=dict)
    finished: str | None = None
    thresholds: Thresholds | None = None
    temperature: float | None = None
    card: ModelFacts = Field(default_factory=ModelFacts)
    redecided: Redecided | None = None
    erased: int = 0
    suspect: bool = False
    canaries: CanaryCheck | None = None
    tags: TagCounts | None = None
    brightness: dict[str, int] = Field(default_factory=dict)
    drift: dict[str, float] | None = None
    warnings: list[RunWarning] | None = None

    @property
    def has_rows(self) -> bool:
        """Whether a finished run published verdicts."""
        return self.counts.judged + self.counts.not_applicable + self.counts.failed > 0


def parse_run(content: object, *, where: str) -> RunRecord:
    """The content of a ``run.json``.

    Args:
        content: the parsed JSON.
        where: its address, for the message.

    Raises:
        DamagedFile: it lacks something, or is not what this version expects.
    """
    try:
        return RunRecord.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"])
        raise DamagedFile(
            f"{where} cannot be understood: {name or 'the whole file'}: {first['msg']}; it is "
            "damaged, or was written by another version. `deepfake repair` makes it again where "
            "that is possible"
        ) from error
