"""The newest verdict of each image, among any number of rows in little memory.

Rows are sorted in portions, each portion is written to a file of its own, and the files are read
together from their beginnings to their ends.
"""

from __future__ import annotations

import contextlib
import datetime as dt
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from deepfake_core.records import TRIED_AGAIN
from deepfake_core.results.schema import VERDICTS

# About 400 bytes each; sorting holds them three times.
SORTED_AT_ONCE = 200_000
# Files that are read together, and the rows of each that are held meanwhile.
FILES_AT_ONCE = 48
ROWS_HELD = 8_000

Key = tuple[str, str]
Tables = Iterator[pa.Table]
Spool = Callable[[], contextlib.AbstractContextManager[Path]]


def newest(rows: pa.Table) -> pa.Table:
    """One row per (source, image): the newest, one to be tried again only where no other is.

    What is dated in the future, by a clock that was wrong, counts as the oldest: else it would
    hide all that is judged until that day.
    """
    again = pc.is_in(rows["failure"], pa.array(TRIED_AGAIN))
    now = pa.scalar(dt.datetime.now(dt.UTC), rows.schema.field("run_started").type)
    marked = rows.append_column("again", again)
    marked = marked.append_column("ahead", pc.greater(rows["run_started"], now))
    order: list[Any] = [(name, "ascending") for name in ("source", "image", "again", "ahead")]
    order += [("run_started", "descending"), ("run_id", "descending")]
    ordered = marked.sort_by(order).drop(["again", "ahead"])
    if ordered.num_rows < 2:
        return ordered.combine_chunks()
    same = pa.array([True] * (ordered.num_rows - 1))
    for name in ("source", "image"):
        column = ordered[name].combine_chunks()
        same = pc.and_(same, pc.equal(column[1:], column[:-1]))
    first = pa.concat_arrays([pa.array([True]), pc.invert(same)])
    return ordered.filter(first).combine_chunks()


@contextlib.contextmanager
def newest_of(tables: Iterable[pa.Table], spool: Spool, *sorted_tables: Tables) -> Iterator[Tables]:
    """The newest rows of some tables, sorted by (source, image), in tables of some length.

    Args:
        tables: verdict rows in any order and number.
        spool: names a file for rows that wait.
        sorted_tables: more rows, each of these sorted already and without doubles.
    """
    with contextlib.ExitStack() as stack:

        def spilled(rows: Iterable[pa.Table]) -> Path:
            file = stack.enter_context(spool())
            _write(file, rows)
            return file

        files: list[Path] = []
        held = VERDICTS.empty_table()
        for portion in _portions(tables):
            if held.num_rows:
                files.append(spilled([held]))
            held = portion
        while len(files) > FILES_AT_ONCE:
            some, files = files[:FILES_AT_ONCE], files[FILES_AT_ONCE:]
            files.append(spilled(merged([_read(file) for file in some])))
        yield merged([*sorted_tables, *map(_read, files), iter([held])])


def _portions(tables: Iterable[pa.Table]) -> Tables:
    waiting: list[pa.Table] = []
    for rows in tables:
        waiting.append(rows)
        if sum(map(len, waiting)) >= SORTED_AT_ONCE:
            yield newest(pa.concat_tables(waiting))
            waiting = []
    if waiting:
        yield newest(pa.concat_tables(waiting))


def _write(file: Path, tables: Iterable[pa.Table]) -> None:
    options = pa.ipc.IpcWriteOptions(compression="lz4")
    with pa.ipc.new_stream(str(file), VERDICTS, options=options) as writer:
        for rows in tables:
            writer.write_table(rows, max_chunksize=ROWS_HELD)


def _read(file: Path) -> Tables:
    with pa.OSFile(str(file)) as stream, pa.ipc.open_stream(stream) as reader:
        for batch in reader:
            yield pa.Table.from_batches([batch])


def merged(streams: Iterable[Tables]) -> Tables:
    """Join streams that are sorted by (source, image) into one; of an image the newest stays."""
    heads = [head for stream in streams if (head := _Head(stream)).more()]
    while heads:
        # Up to here all rows are known: behind it lies what one of the streams has not told yet.
        last = min(head.last for head in heads)
        due = [head.take(last) for head in heads]
        yield newest(pa.concat_tables(due)) if len(heads) > 1 else due[0]
        heads = [head for head in heads if head.more()]


class _Head:
    """What was read of a sorted stream and is not taken yet."""

    def __init__(self, stream: Tables) -> None:
        self._stream = stream
        self._rows = VERDICTS.empty_table()

    @property
    def last(self) -> Key:
        """The key of the last row."""
        return self._rows["source"][-1].as_py(), self._rows["image"][-1].as_py()

    def more(self) -> bool:
        """Read on if nothing is left; returns whether there is a row."""
        while not self._rows.num_rows:
            following = next(self._stream, None)
            if following is None:
                return False
            self._rows = following.combine_chunks()
        return True

    def take(self, last: Key) -> pa.Table:
        """Take the rows up to a key, which is among them if it is there."""
        sources, (source, image) = self._rows["source"].chunk(0), last
        start = pc.search_sorted(sources, source, side="left").as_py()
        end = pc.search_sorted(sources, source, side="right").as_py()
        inside = self._rows["image"].chunk(0)[start:end]
        count = start
        if len(inside):
            count += pc.search_sorted(inside, image, side="right").as_py()
        due, self._rows = self._rows[:count], self._rows[count:]
        return due
