"""What earlier runs know of the images that a source holds now, and of those it held."""

from __future__ import annotations

import datetime as dt
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from deepfake_core.records import TRIED_AGAIN
from deepfake_core.results.layout import KEY_OF_CONFIG
from deepfake_core.results.manifest import replace_columns
from deepfake_core.results.schema import VERDICTS
from deepfake_core.results.store import Results
from deepfake_core.results.verdict_files import chunks_of

COLUMNS = ("image", "etag", "source", "failure", "label", "model_id", "run_started")
# Rows of earlier runs that are held against the listing at once.
ROWS_AT_ONCE = 200_000
NEVER = np.iinfo(np.int64).min


@dataclass(frozen=True, slots=True)
class History:
    """What earlier runs know.

    Attributes:
        listed: the manifest with its columns ``seen``, ``seen_label`` and ``seen_model``.
        known: bool[N], which of its images were judged before under the same configuration.
            Failures of `TRIED_AGAIN` are not among them.
        gone: how many images were known and are not listed any more.
        renamed: how many images are new by their name, with the etag of one that is gone.
        warnings: what is said of files that were left out as they are damaged, and of runs that
            are dated in the future.
    """

    listed: pa.Table
    known: np.ndarray
    gone: int
    renamed: int
    warnings: tuple[str, ...] = ()


def read_history(
    results: Results,
    source: str,
    config_fingerprint: str,
    *,
    listed: pa.Table,
    unreadable: Sequence[str] = (),
) -> History:
    """Hold a new listing against the verdicts that were published.

    Args:
        results: where they are.
        source: the name of the source.
        config_fingerprint: model and settings of the run that is planned.
        listed: the manifest as it was built, which is sorted.
        unreadable: folders that could not be listed; what they hold is not gone.
    """
    memory = _Known(listed.select(["image", "etag"]))
    left_out: list[str] = []
    for rows in _chunks(results, source, config_fingerprint, left_out):
        memory.take(rows)
    gone = _gone(memory.lost, unreadable)
    renamed = 0
    if gone.num_rows:
        same = pc.is_in(listed["etag"], pc.drop_null(gone["etag"]).combine_chunks())
        renamed = int((same.to_numpy() & (memory.seen == NEVER)).sum())
    count = pc.count_distinct(gone["image"]).as_py()
    warnings = (*left_out, *memory.warnings())
    return History(memory.fill(listed), memory.known, count, renamed, warnings)


@dataclass(slots=True)
class _Known:
    """What is known of each listed image, in their order; `label` and `model` are codes."""

    listed: pa.Table
    seen: np.ndarray = field(init=False)
    judged_at: np.ndarray = field(init=False)
    known: np.ndarray = field(init=False)
    label: np.ndarray = field(init=False)
    model: np.ndarray = field(init=False)
    codes: dict[str | None, int] = field(default_factory=lambda: {None: 0})
    lost: list[pa.Table] = field(default_factory=list)
    now: int = field(default_factory=lambda: time.time_ns() // 1000)
    future: int = 0

    def __post_init__(self) -> None:
        count = self.listed.num_rows
        self.listed = self.listed.combine_chunks()
        self.seen, self.judged_at = np.full(count, NEVER), np.full(count, NEVER)
        self.known = np.zeros(count, bool)
        self.label, self.model = np.zeros(count, np.int32), np.zeros(count, np.int32)

    def take(self, rows: pa.Table) -> None:
        """Take some rows of earlier runs."""
        images, at = self.listed["image"], pc.search_sorted(self.listed["image"], rows["image"])
        # Behind the last image there is no row, and null is what taking null gives.
        at = pc.if_else(pc.less(at, len(images)), at, None)
        there = pc.fill_null(pc.equal(images.take(at), rows["image"]), False)
        missing = rows.select(["image", "etag"]).filter(pc.invert(there))
        if missing.num_rows:
            self.lost.append(missing.group_by(["image", "etag"]).aggregate([]))
        # An image without an etag may have changed, so it is as good as new.
        same = pc.and_(there, pc.equal(self.listed["etag"].take(at), rows["etag"]))
        self._remember(rows.filter(same), at.filter(same).to_numpy())

    def _remember(self, rows: pa.Table, at: np.ndarray) -> None:
        started = rows["run_started"].cast(pa.int64()).to_numpy()
        self.future = max(self.future, int(started.max(initial=0)))
        # What is dated in the future must not count as newer than all that follows.
        started = np.where(started > self.now, 0, started)
        judged = ~rows["again"].to_numpy(zero_copy_only=False)
        np.maximum.at(self.seen, at, started)
        self.known[at[judged & rows["same_config"].to_numpy(zero_copy_only=False)]] = True
        newer = np.flatnonzero(judged & (started >= self.judged_at[at]))
        # Of several rows of one image the newest is assigned last, and stays.
        newer = newer[np.argsort(started[newer], kind="stable")]
        self.judged_at[at[newer]] = started[newer]
        self.label[at[newer]] = self._coded(rows["label"])[newer]
        self.model[at[newer]] = self._coded(rows["model_id"])[newer]

    def warnings(self) -> list[str]:
        """A warning where a run is dated in the future."""
        if self.future <= self.now:
            return []
        dated = dt.datetime.fromtimestamp(self.future / 1e6, dt.UTC).isoformat(timespec="seconds")
        return [
            f"a run is dated {dated}, which is in the future: the clock of this machine is behind, "
            "or that of another was ahead; set it right. Until that moment its verdicts count as "
            "older than all others"
        ]

    def _coded(self, names: pa.ChunkedArray) -> np.ndarray:
        """int32[N]: a number for each name, so that ten million names are not long strings."""
        encoded = names.combine_chunks().dictionary_encode(null_encoding="encode")
        values = encoded.dictionary.to_pylist()
        numbers = [self.codes.setdefault(name, len(self.codes)) for name in values]
        coded: np.ndarray = np.array(numbers, np.int32)[encoded.indices.to_numpy()]
        return coded

    def fill(self, listed: pa.Table) -> pa.Table:
        """The manifest with what was seen."""
        never = self.seen == NEVER
        seen = pa.array(self.seen, pa.int64(), mask=never)
        names = pa.array(list(self.codes), pa.string())
        return replace_columns(
            listed,
            seen=seen.cast(VERDICTS.field("run_started").type),
            seen_label=names.take(pa.array(self.label)),
            seen_model=names.take(pa.array(self.model)),
        )


def _chunks(
    results: Results, source: str, config_fingerprint: str, left_out: list[str]
) -> Iterator[pa.Table]:
    """The rows about a source, in tables of some length; what is damaged is left out."""
    waiting: list[pa.Table] = []
    chunks = chunks_of(
        results.storage,
        results.published(),
        COLUMNS,
        rows=ROWS_AT_ONCE,
        on_damaged=lambda error: left_out.append(f"{error}; its images are judged again"),
    )
    for table in chunks:
        same = table.schema.metadata.get(KEY_OF_CONFIG, b"").decode() == config_fingerprint
        table = table.replace_schema_metadata().filter(pc.equal(table["source"], source))
        again = pc.is_in(table["failure"], pa.array(TRIED_AGAIN))
        table = table.drop(["source", "failure"]).append_column("again", again)
        waiting.append(table.append_column("same_config", pa.repeat(same, table.num_rows)))
        if sum(len(rows) for rows in waiting) >= ROWS_AT_ONCE:
            yield pa.concat_tables(waiting)
            waiting = []
    if waiting:
        yield pa.concat_tables(waiting)


def _gone(lost: list[pa.Table], unreadable: Sequence[str]) -> pa.Table:
    """Columns image and etag of what was known and is not listed, once each."""
    nothing = VERDICTS.empty_table().select(["image", "etag"])
    gone = pa.concat_tables([nothing, *lost]).group_by(["image", "etag"]).aggregate([])
    for folder in unreadable:
        name = os.fsencode(folder).decode("utf-8", "backslashreplace")
        inside = pc.or_(pc.starts_with(gone["image"], f"{name}/"), pc.equal(gone["image"], name))
        gone = gone.filter(pc.invert(inside))
    return gone
