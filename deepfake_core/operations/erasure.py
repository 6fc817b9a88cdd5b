"""Erase what is kept about one image, by the sha256 of its bytes.

A run's files are changed in an order in which the rows that name the image go last, and each file
is replaced whole, so that an erasure that was cut off is finished by asking for it again. A run
that is being scanned at this moment must be stopped first.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from deepfake_core.errors import UsageError
from deepfake_core.reporting.run_report import write_report
from deepfake_core.results.feedback import ENTRIES, IMAGES, Feedback
from deepfake_core.results.layout import LATEST, MANIFEST_FILE, part_name, run_file
from deepfake_core.results.manifest import (
    MANIFEST_SCHEMA,
    from_bytes,
    to_bytes,
    turn_counts,
    turn_order,
    unskipped,
)
from deepfake_core.results.run_record import Counts, RunRecord
from deepfake_core.results.schema import VERDICTS
from deepfake_core.results.store import Results
from deepfake_core.results.verdict_files import parquet_bytes, read_verdicts
from deepfake_core.storage.base import Storage
from deepfake_core.storage.opening import open_storage

# What is counted, in the order in which it is told.
KINDS = ("verdicts", "latest", "parts", "listed", "reports", "answers", "images")
_DIGEST = re.compile(r"[0-9a-f]{64}")
# An image as a manifest knows it: source, path and etag.
Place = tuple[str, str, str | None]


def erase(output: str, sha256: str) -> dict[str, int]:
    """Erase rows, reports' mentions and feedback about an image; doing it again is the same.

    Args:
        output: the folder of results, local or a URL.
        sha256: 64 hex digits.

    Returns:
        How much was removed, by `KINDS`: rows of ``verdicts/``, of ``latest.parquet``, of parts
        and of manifests, reports rendered again, answers of people, and their images.

    Raises:
        UsageError: that is no sha256.
        OutputError: a file cannot be read or written.
    """
    digest = sha256.strip().lower()
    if not _DIGEST.fullmatch(digest):
        raise UsageError(f"{sha256!r} is no sha256; give the 64 hex digits of a verdict's sha256")
    storage = open_storage(output)
    results, counts = Results(storage), Counter(dict.fromkeys(KINDS, 0))
    published = {PurePosixPath(path).stem: path for path in results.published()}
    names = sorted({*published, *storage.names("runs")})
    runs = [_Run(results, name, published.get(name), digest) for name in names]
    places = _places(runs, storage, digest)
    # Runs that name the image only in their manifest come first: they are found by the others.
    for run in sorted(runs, key=lambda run: run.names_image):
        counts.update(run.erase(places))
    if storage.exists(LATEST):
        found = _count(read_verdicts(storage, LATEST, ["sha256"]), digest)
        if found:
            results.rebuild_latest()
        counts["latest"] = found
    counts.update(_erase_feedback(storage, digest))
    return {kind: counts[kind] for kind in KINDS}


class _Run:
    """The files of one run."""

    def __init__(self, results: Results, run_id: str, published: str | None, digest: str) -> None:
        self._results, self._storage = results, results.storage
        self._run_id, self._published, self._digest = run_id, published, digest
        parts = [run_file(run_id, f"parts/{part_name(i)}") for i in results.committed(run_id)]
        self._parts = {path: self._rows(path) for path in sorted(parts)}
        self._parts = {path: rows for path, rows in self._parts.items() if rows.num_rows}
        self._own = self._rows(published) if published else VERDICTS.empty_table()

    def _rows(self, path: str) -> pa.Table:
        """The rows about the image, few columns of them."""
        columns = ["source", "image", "etag", "sha256"]
        rows = read_verdicts(self._storage, path, columns)
        return rows.filter(pc.fill_null(pc.equal(rows["sha256"], self._digest), False))

    @property
    def names_image(self) -> bool:
        return bool(self._own.num_rows or self._parts)

    def places(self) -> Iterable[Place]:
        for rows in (self._own, *self._parts.values()):
            yield from _place_rows(rows)

    def erase(self, places: set[Place]) -> Counter[str]:
        counts: Counter[str] = Counter()
        run = self._results.get_run(self._run_id)
        listed, gone = self._manifest(run, places)
        if not gone.any() and not self.names_image:
            return counts
        if run is not None and run.state == "done":
            self._report(run, listed.filter(pa.array(~gone)))
            counts["reports"] = 1
            for path, rows in self._parts.items():
                self._storage.put(path, parquet_bytes(self._without(path)))
                counts["parts"] += rows.num_rows
        elif run is not None:
            counts["parts"] = self._uncommit(listed, gone, run.shard_size)
        if gone.any():
            data = to_bytes(listed.filter(pa.array(~gone)))
            self._storage.put(run_file(self._run_id, MANIFEST_FILE), data)
        counts["listed"] = int(gone.sum())
        counts["verdicts"] = self._erase_published()
        return counts

    def _manifest(self, run: RunRecord | None, places: set[Place]) -> tuple[pa.Table, np.ndarray]:
        """The manifest and bool[N], which of its rows are about the image."""
        path = run_file(self._run_id, MANIFEST_FILE)
        if run is None or not self._storage.exists(path):
            return MANIFEST_SCHEMA.empty_table(), np.zeros(0, bool)
        listed = from_bytes(self._storage.read(path), self._storage.address(path))
        wanted = {(image, etag) for source, image, etag in places if source == run.source}
        names = pa.array([image for image, _ in wanted], pa.string())
        gone = pc.is_in(listed["image"], names).to_numpy(zero_copy_only=False).copy()
        for index in np.flatnonzero(gone):
            row = listed["image"][int(index)].as_py(), listed["etag"][int(index)].as_py()
            gone[index] = row in wanted
        return listed, gone

    def _report(self, run: RunRecord, listed: pa.Table) -> None:
        """Count again what is left, and render the report without the image."""
        rows = self._without(self._published) if self._published else VERDICTS.empty_table()
        skipped = Counter(reason for reason in listed["skip"].to_pylist() if reason)
        judged = int(pc.sum(pc.equal(rows["status"], "ok")).as_py() or 0)
        before = run.counts.listed
        run.counts = Counts(
            listed=listed.num_rows,
            skipped=skipped.total(),
            judged=judged,
            failed=rows.num_rows - judged,
        )
        run.skipped_reasons = dict(skipped)
        run.new, run.backlog, run.left = turn_counts(listed)
        run.erased += before - listed.num_rows
        thumbnails = bool(run.config.get("thumbnails", True))
        write_report(run, rows, self._results, thumbnails=thumbnails)
        self._results.put_run(run)

    def _uncommit(self, listed: pa.Table, gone: np.ndarray, shard_size: int) -> int:
        """Remove the parts from the image's shard on: what follows it moves up by a row.

        When the run is continued, they are judged again.
        """
        wanted = pc.is_null(listed["skip"]).to_numpy(zero_copy_only=False)
        order = turn_order(unskipped(listed))
        affected = np.flatnonzero(gone[wanted][order])
        removed = 0
        if len(affected):
            first = int(affected[0]) // shard_size
            for index in sorted(i for i in self._results.committed(self._run_id) if i >= first):
                self._storage.delete(run_file(self._run_id, f"parts/{part_name(index)}"))
                removed += 1
        return sum(rows.num_rows for rows in self._parts.values()) if removed else 0

    def _erase_published(self) -> int:
        if not self._published or not self._own.num_rows:
            return 0
        rows = self._without(self._published)
        if rows.num_rows:
            self._storage.put(self._published, parquet_bytes(rows))
        else:
            # A run in which nothing was judged has no published file.
            self._storage.delete(self._published)
        return int(self._own.num_rows)

    def _without(self, path: str) -> pa.Table:
        """A verdict file's rows but for the image's, with the footer as it was."""
        rows = read_verdicts(self._storage, path)
        return rows.filter(pc.fill_null(pc.not_equal(rows["sha256"], self._digest), True))


def _place_rows(rows: pa.Table) -> Iterable[Place]:
    columns = (rows[name].to_pylist() for name in ("source", "image", "etag"))
    return zip(*columns, strict=True)


def _places(runs: Sequence[_Run], storage: Storage, digest: str) -> set[Place]:
    """Where the image was found, by everything that is kept about it."""
    places = {place for run in runs for place in run.places()}
    if storage.exists(LATEST):
        rows = read_verdicts(storage, LATEST, ["source", "image", "etag", "sha256"])
        places.update(_place_rows(rows.filter(pc.equal(rows["sha256"], digest))))
    for entry in Feedback(storage).entries_of(digest):
        verdict = entry["verdict"]
        if verdict.get("source") and verdict.get("image"):
            places.add((verdict["source"], verdict["image"], verdict.get("etag")))
    return places


def _count(rows: pa.Table, digest: str) -> int:
    return int(pc.sum(pc.equal(rows["sha256"], digest)).as_py() or 0)


def _erase_feedback(storage: Storage, digest: str) -> dict[str, int]:
    """Remove images, then the manifest's line, then the answers."""
    counts = {}
    for kind, folder in (("images", IMAGES), ("answers", ENTRIES)):
        names = [name for name in storage.names(folder) if name.startswith(digest)]
        for name in names:
            storage.delete(f"{folder}/{name}")
        counts[kind] = len(names)
        if names and kind == "images":
            Feedback(storage).write_manifest()
    return counts
