"""Erase an image from the files of one run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from deepfake_core.errors import DamagedFile
from deepfake_core.reporting.run_report import make_report
from deepfake_core.reporting.summary import count_rows
from deepfake_core.results.layout import (
    MANIFEST_FILE,
    MARKDOWN_FILE,
    REPORT_FILE,
    RUN_FILE,
    SUMMARY_FILE,
    part_name,
    run_file,
)
from deepfake_core.results.manifest import (
    MANIFEST_SCHEMA,
    from_bytes,
    known_flagged,
    to_bytes,
    turn_counts,
    turn_order,
    unskipped,
)
from deepfake_core.results.recording import rewrite, write_all
from deepfake_core.results.run_record import Counts, RunRecord
from deepfake_core.results.schema import VERDICTS
from deepfake_core.results.store import Results, json_bytes
from deepfake_core.results.verdict_files import parquet_bytes, read_verdicts

# An image as a manifest knows it: source, path and etag.
Place = tuple[str, str, str | None]
_PLACE_COLUMNS = ("source", "image", "etag")
Contents = dict[str, bytes | None]


def place_rows(rows: pa.Table) -> Iterable[Place]:
    """The places of verdict rows."""
    return zip(*(rows[name].to_pylist() for name in _PLACE_COLUMNS), strict=True)


class RunErasure:
    """The files of one run, as far as they can be read.

    Attributes:
        unread: a message for each damaged file that may hold the image and that nothing else in
            the run speaks for.
    """

    def __init__(self, results: Results, run_id: str, published: str | None, digest: str) -> None:
        """Look for the image in parts and published rows."""
        self.unread: list[str] = []
        self._results, self._storage = results, results.storage
        self._run_id, self._published, self._digest = run_id, published, digest
        # The run's files that cannot be read, with why.
        self._damaged: dict[str, str] = {}
        indices = sorted(results.committed(run_id))
        paths = [run_file(run_id, f"parts/{part_name(index)}") for index in indices]
        parts = {path: self._rows(path) for path in paths}
        self._parts = {path: rows for path, rows in parts.items() if rows.num_rows}
        self._own = self._rows(published) if published else VERDICTS.empty_table()
        self._complete = bool(paths) and not self._damaged.keys() & set(paths)

    def _rows(self, path: str) -> pa.Table:
        """The rows about the image, few columns of them; none where the file is damaged."""
        columns = [*_PLACE_COLUMNS, "sha256"]
        try:
            rows = read_verdicts(self._storage, path, columns)
        except DamagedFile as error:
            self._damaged[path] = str(error)
            return VERDICTS.empty_table().select(columns)
        return rows.filter(pc.fill_null(pc.equal(rows["sha256"], self._digest), False))

    @property
    def names_image(self) -> bool:
        """Whether the image was found in its rows."""
        return bool(self._own.num_rows or self._parts)

    def places(self) -> Iterable[Place]:
        """Where the image was when it was judged."""
        for rows in (self._own, *self._parts.values()):
            yield from place_rows(rows)

    def erase(self, places: set[Place]) -> Counter[str]:
        """Erase it; returns how much, by `deepfake_core.operations.erasure.KINDS`."""
        counts: Counter[str] = Counter()
        run = self._run()
        listed, gone = self._manifest(run, places)
        self._tell_unread(run)
        if not gone.any() and not self.names_image:
            return counts
        contents: Contents = {}
        if run is not None and run.state != "done":
            counts["parts"] = self._uncommit(listed, gone, run.shard_size)
        else:
            contents = self._reported(run, listed, gone)
            counts["reports"] = int(run is not None)
            for path, rows in self._parts.items():
                contents[path] = parquet_bytes(self._without(path))
                counts["parts"] += rows.num_rows
            if self.names_image:
                # What is left of a damaged part may be of the image; the published rows are whole.
                contents |= {path: None for path in self._damaged if "/parts/" in path}
        if gone.any():
            left = to_bytes(listed.filter(pa.array(~gone)))
            contents[run_file(self._run_id, MANIFEST_FILE)] = left
        counts["listed"] = int(gone.sum())
        contents |= self._published_left()
        counts["verdicts"] = self._own.num_rows
        self._rewrite(contents)
        return counts

    def _run(self) -> RunRecord | None:
        """The run; None where its ``run.json`` is missing or damaged."""
        try:
            return self._results.get_run(self._run_id)
        except DamagedFile as error:
            self._damaged[run_file(self._run_id, RUN_FILE)] = str(error)
            return None

    def _tell_unread(self, run: RunRecord | None) -> None:
        """Which damaged files nothing else of the run speaks for."""
        done = run is None or run.state == "done"
        for path, message in self._damaged.items():
            if path == self._published:
                told = self._complete
            elif "/parts/" in path:
                told = done and self._published is not None and self._published not in self._damaged
            else:
                told = path.endswith(RUN_FILE) and not self.names_image
            if not told:
                self.unread.append(message)

    def _manifest(self, run: RunRecord | None, places: set[Place]) -> tuple[pa.Table, np.ndarray]:
        """The manifest and bool[N], which of its rows are about the image."""
        path = run_file(self._run_id, MANIFEST_FILE)
        nothing = MANIFEST_SCHEMA.empty_table(), np.zeros(0, bool)
        if not self._storage.exists(path):
            return nothing
        try:
            listed = from_bytes(self._storage.read(path), self._storage.address(path))
        except DamagedFile as error:
            self._damaged[path] = str(error)
            return nothing
        source = None if run is None else run.source
        wanted = {(image, etag) for place, image, etag in places if source in (None, place)}
        names = pa.array([image for image, _ in wanted], pa.string())
        gone = pc.is_in(listed["image"], names).to_numpy(zero_copy_only=False).copy()
        for index in np.flatnonzero(gone):
            row = listed["image"][int(index)].as_py(), listed["etag"][int(index)].as_py()
            gone[index] = row in wanted
        return listed, gone

    def _reported(self, run: RunRecord | None, listed: pa.Table, gone: np.ndarray) -> Contents:
        """The run's own files without the image, after counting again what is left."""
        if run is None:
            # Without run.json no report can be made; the old ones may name the image.
            names = (SUMMARY_FILE, MARKDOWN_FILE, REPORT_FILE)
            paths = [run_file(self._run_id, name) for name in names]
            return {path: None for path in paths if self._storage.exists(path)}
        rows = VERDICTS.empty_table()
        if self._published:
            rows = self._rows_left()
        if len(gone):
            self._count(run, listed.filter(pa.array(~gone)), rows)
        else:
            self._count_rows(run, rows)
        thumbnails = bool(run.config.get("thumbnails", True))
        made = make_report(run, rows, self._results, thumbnails=thumbnails)[1]
        return {**made, run_file(self._run_id, RUN_FILE): json_bytes(run.as_json())}

    def _count(self, run: RunRecord, listed: pa.Table, rows: pa.Table) -> None:
        skipped = Counter(reason for reason in listed["skip"].to_pylist() if reason)
        before = run.counts.listed
        run.counts = _counted(rows, skipped.total())
        run.skipped_reasons = dict(skipped)
        run.new, run.backlog, run.left = turn_counts(listed)
        run.known_flagged = known_flagged(listed)
        run.erased += before - listed.num_rows

    def _count_rows(self, run: RunRecord, rows: pa.Table) -> None:
        """Count without the manifest, which retention has removed: skipped ones stay."""
        fewer = self._own.num_rows
        run.counts = _counted(rows, run.counts.skipped)
        run.new = max(0, (run.new or 0) - fewer)
        run.backlog = rows.num_rows - run.new
        run.erased += fewer

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

    def _published_left(self) -> Contents:
        """The published file without the image; None where no row is left."""
        if not self._published:
            return {}
        if self._published in self._damaged and not (self._parts and self._complete):
            return {}
        if self._published not in self._damaged and not self._own.num_rows:
            return {}
        rows = self._rows_left()
        # A run in which nothing was judged has no published file.
        return {self._published: parquet_bytes(rows) if rows.num_rows else None}

    def _rows_left(self) -> pa.Table:
        """The published rows but for the image's; from the parts where they are damaged."""
        if self._published and self._published not in self._damaged:
            return self._without(self._published)
        indices = sorted(self._results.committed(self._run_id))
        paths = [run_file(self._run_id, f"parts/{part_name(index)}") for index in indices]
        rows = [self._without(path) for path in paths if path not in self._damaged]
        if not rows:
            return VERDICTS.empty_table()
        footer = rows[0].schema.metadata
        together = pa.concat_tables([table.replace_schema_metadata() for table in rows])
        return together.sort_by("image").replace_schema_metadata(footer)

    def _without(self, path: str) -> pa.Table:
        """A verdict file's rows but for the image's, with the footer as it was."""
        rows = read_verdicts(self._storage, path)
        return rows.filter(pc.fill_null(pc.not_equal(rows["sha256"], self._digest), True))

    def _rewrite(self, contents: Contents) -> None:
        try:
            rewrite(self._results, self._run_id, "erase", contents)
        except DamagedFile as error:
            # The list of hashes alone is damaged, which is no reason to keep the image.
            self.unread.append(str(error))
            write_all(self._results, contents)


def _counted(rows: pa.Table, skipped: int) -> Counts:
    counts = count_rows(rows)
    counts.listed, counts.skipped = rows.num_rows + skipped, skipped
    return counts
