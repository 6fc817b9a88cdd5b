"""Judge some images of a finished run again, and compare with what it published."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from deepfake_core.errors import DamagedFile, DeepfakeError
from deepfake_core.inference.opening import open_classifier
from deepfake_core.models.registry import find_model
from deepfake_core.records import Failure
from deepfake_core.results.layout import MANIFEST_FILE, published_name, run_file
from deepfake_core.results.manifest import Entry, path_of, read_manifest
from deepfake_core.results.run_record import RunRecord
from deepfake_core.results.store import Results
from deepfake_core.results.verdict_files import read_verdicts
from deepfake_core.results.verdict_row import VerdictRow
from deepfake_core.scanning.resume import networks_of
from deepfake_core.scanning.verdict_rows import verdict_rows
from deepfake_core.storage.opening import open_storage
from deepfake_core.storage.reading import read_or_failure

# As close as a score stays on one machine (C8); other processors round otherwise at less bits.
TOLERANCE = {"fp32": 1e-4}
ROUGH_TOLERANCE = 0.05
AT_ONCE = 16
COLUMNS = ("image", "etag", "bytes", "sha256", "logit", "label", "reason", "status")


@dataclass(slots=True)
class Replayed:
    """What was found of a run's images.

    Attributes:
        compared: images that were judged again.
        same: those that gave what was published.
        gone: those that cannot be read at their source any more.
        problems: what is otherwise now, for people.
        notes: why nothing could be compared.
    """

    compared: int = 0
    same: int = 0
    gone: int = 0
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Listed:
    """A published row, and its image's name in the file system where that is not UTF-8."""

    row: VerdictRow
    raw: bytes | None

    @property
    def entry(self) -> Entry:
        """As a manifest lists it."""
        row = self.row
        return {
            "image": row["image"],
            "raw": self.raw,
            "bytes": row["bytes"],
            "etag": row["etag"],
        }


def replay(results: Results, run: RunRecord, *, sample: int, registry: Path) -> Replayed:
    """Read a random sample of a run's judged images again, and judge them.

    Args:
        results: where it is published.
        run: the run.
        sample: at most so many images.
        registry: where the bundles are.

    Raises:
        OutputError: the published rows cannot be read.
    """
    replayed = Replayed()
    if not run.has_rows or not sample:
        return replayed
    rows = read_verdicts(results.storage, published_name(run.run_date, run.run_id), list(COLUMNS))
    judged = rows.filter(pc.equal(rows["status"], "ok")).drop(["status"])
    places = random.SystemRandom().sample(range(len(judged)), min(sample, len(judged)))
    chosen: list[VerdictRow] = judged.take(pa.array(sorted(places), pa.int64())).to_pylist()
    raw = _raw_names(results, run, [row["image"] for row in chosen])
    listed = [_Listed(row, raw.get(row["image"])) for row in chosen]
    contents = list(_contents(run, listed, replayed))
    if not contents:
        return replayed
    name = run.model_id.partition("+")[0]
    try:
        networks = networks_of(run, find_model(name, registry), registry)
        if networks.bundle.model_id != run.model_id:
            replayed.notes.append(f"{run.model_id} is not here, but {networks.bundle.model_id}")
            return replayed
        classifier = open_classifier(networks)
    except DeepfakeError as error:
        replayed.notes.append(f"nothing was judged again: {error}")
        return replayed
    for start in range(0, len(contents), AT_ONCE):
        some = contents[start : start + AT_ONCE]
        judgements = classifier.judge([content for _, content in some]).judgements
        again = verdict_rows(
            [published.entry for published, _ in some], judgements, run
        ).to_pylist()
        for (published, _), row in zip(some, again, strict=True):
            _compare(run, published.row, row, replayed)
    return replayed


def _raw_names(results: Results, run: RunRecord, images: list[str]) -> dict[str, bytes | None]:
    """The names that are not UTF-8, as long as the manifest is there."""
    if not results.storage.exists(run_file(run.run_id, MANIFEST_FILE)):
        return {}
    try:
        listed = read_manifest(results, run.run_id)
    except DamagedFile:
        return {}
    some = listed.filter(pc.is_in(listed["image"], pa.array(images, pa.string())))
    return dict(zip(some["image"].to_pylist(), some["raw"].to_pylist(), strict=True))


def _contents(
    run: RunRecord, listed: list[_Listed], replayed: Replayed
) -> Iterator[tuple[_Listed, bytes]]:
    """The images that are still there, as they are now."""
    try:
        source = open_storage(run.source)
    except DeepfakeError as error:
        replayed.gone = len(listed)
        replayed.notes.append(f"the images cannot be read: {error}")
        return
    for published in listed:
        content, _ = read_or_failure(source, path_of(published.entry), pause=lambda _: None)
        if isinstance(content, Failure):
            replayed.gone += 1
        else:
            yield published, content


def _compare(run: RunRecord, before: VerdictRow, now: VerdictRow, replayed: Replayed) -> None:
    replayed.compared += 1
    said = f"{before['image']}: "
    if now["sha256"] != before["sha256"]:
        replayed.problems.append(f"{said}its bytes are not those that were judged")
        return
    tolerance = TOLERANCE.get(run.precision, ROUGH_TOLERANCE)
    if not _close(before["logit"], now["logit"], tolerance):
        replayed.problems.append(f"{said}logit {now['logit']}, published {before['logit']}")
        return
    # Labels that were decided again, or made uncertain by re-encodings, are not the network's.
    own = run.redecided is None and before["reason"] != "unstable"
    if own and (now["label"], now["reason"]) != (before["label"], before["reason"]):
        replayed.problems.append(f"{said}label {now['label']}, published {before['label']}")
        return
    replayed.same += 1


def _close(before: float | None, now: float | None, tolerance: float) -> bool:
    """Whether two logits are as good as the same; both may be missing."""
    if before is None or now is None:
        return before is now
    return math.isclose(before, now, rel_tol=0, abs_tol=tolerance)
