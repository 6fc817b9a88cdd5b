"""Finished scans: their rows, filtered, and their images where these can still be read."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from deepfake_core.records import Failure, FailureCode, Json
from deepfake_core.results.store import Results
from deepfake_core.results.verdict_files import read_verdicts
from deepfake_core.storage.opening import open_storage
from deepfake_core.storage.reading import read_or_failure

FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Filter:
    """Which rows of a scan are wanted; what is empty filters nothing.

    Attributes:
        labels: labels, or ``failed``.
        failures: failure codes; judged rows pass these only where their label is named.
        scores: lowest and highest score wanted; failed rows pass only the whole range.
        name: part of the image's path, in any case.
    """

    labels: tuple[str, ...] = ()
    failures: tuple[str, ...] = ()
    scores: tuple[float, float] = (0.0, 1.0)
    name: str = ""


def finished_scans(reports: str) -> dict[str, str]:
    """The paths of published files by run id, newest first."""
    paths = Results(open_storage(reports)).published()
    names = {path.rpartition("/")[2].removesuffix(".parquet"): path for path in paths}
    return dict(sorted(names.items(), key=lambda item: item[1], reverse=True))


def read_scan(reports: str, path: str) -> pa.Table:
    """The rows of a published file, highest scores first, failed ones last."""
    rows = read_verdicts(open_storage(reports), path)
    return rows.sort_by([("score", "descending"), ("image", "ascending")])


def counts(rows: pa.Table) -> dict[str, int]:
    """How many rows have each label, ``failed`` among them."""
    labels = pc.fill_null(rows["label"], FAILED)
    return {pair["values"]: pair["counts"] for pair in pc.value_counts(labels).to_pylist()}


def failure_codes(rows: pa.Table) -> list[str]:
    """The failure codes that occur, sorted."""
    return sorted(pc.unique(rows["failure"].drop_null()).to_pylist())


def choose(rows: pa.Table, wanted: Filter) -> pa.Table:
    """The rows that pass a filter, in their order."""
    low, high = wanted.scores
    # Compared in float32, as scores are stored.
    least, most = pa.scalar(low, pa.float32()), pa.scalar(high, pa.float32())
    scores = rows["score"]
    inside = pc.and_(pc.greater_equal(scores, least), pc.less_equal(scores, most))
    keep = pc.fill_null(inside, low <= 0 and high >= 1)
    if wanted.labels:
        labels = pc.fill_null(rows["label"], FAILED)
        keep = pc.and_(keep, pc.is_in(labels, pa.array(wanted.labels)))
    if wanted.failures:
        judged = pc.is_valid(rows["label"]) if wanted.labels else pa.scalar(False)
        code = pc.is_in(rows["failure"], pa.array(wanted.failures))
        keep = pc.and_(keep, pc.or_(code, judged))
    if wanted.name:
        found = pc.match_substring(rows["image"], wanted.name, ignore_case=True)
        keep = pc.and_(keep, found)
    return rows.filter(keep)


def read_image(row: Json) -> bytes | Failure:
    """The image of a row as it was judged, from a source on this machine.

    Returns:
        Its bytes; a failure where it is elsewhere, gone, or no longer what was judged.
    """
    source = open_storage(row["source"])
    if not source.is_local:
        return Failure(
            FailureCode.READ_FAILED, "it lies in a store, and the page opens local images only"
        )
    content, _ = read_or_failure(source, row["image"], pause=lambda _: None)
    if isinstance(content, Failure):
        return content
    if row["sha256"] and hashlib.sha256(content).hexdigest() != row["sha256"]:
        return Failure(FailureCode.READ_NOT_FOUND, "the file was changed since it was judged")
    return content
