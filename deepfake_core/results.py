"""Where results land: parts, published verdicts, the newest verdict of each image."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from deepfake_core.errors import BrokenInvariant, OutputError, unreadable
from deepfake_core.records import Json
from deepfake_core.schema import VERDICTS, VERSION_KEY, check_version, validate, with_metadata
from deepfake_core.storage import LocalStorage, Storage

LATEST = "latest.parquet"
# Rows of it that are held at once while others are brought in.
MERGED_AT_ONCE = 100_000
KEY_OF_CONFIG = b"deepfake.config_fingerprint"


def run_file(run_id: str, name: str) -> str:
    """The path of one of a run's files below the output."""
    return f"runs/{run_id}/{name}"


def part_name(index: int) -> str:
    """The file name of a shard's part."""
    return f"part-{index:05d}.parquet"


def published_name(run_date: str, run_id: str) -> str:
    """The path of a run's published file below the output."""
    return f"verdicts/run_date={run_date}/{run_id}.parquet"


def parquet_bytes(table: pa.Table) -> bytes:
    """A table as Parquet: zstd, dictionaries for what repeats."""
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd")
    return buffer.getvalue()


def read_verdicts(storage: Storage, path: str, columns: list[str] | None = None) -> pa.Table:
    """Read a verdict file of a schema version that is understood here.

    Raises:
        OutputError: it is of another version, or no verdict file.
    """
    return _verdicts(_read(storage, path), storage.address(path), columns)


def _read(storage: Storage, path: str) -> bytes:
    try:
        return storage.read(path)
    except OSError as error:
        raise unreadable(storage.address(path), error) from error


def _verdicts(data: bytes, address: str, columns: list[str] | None = None) -> pa.Table:
    try:
        table = pq.read_table(pa.BufferReader(data), columns=columns)
    except (pa.ArrowInvalid, OSError) as error:
        raise OutputError(f"{address} cannot be read: {error}") from error
    check_version((table.schema.metadata or {}).get(VERSION_KEY, b"none").decode(), address)
    return table


def verdict_chunks(
    storage: Storage, path: str, columns: Sequence[str], *, rows: int
) -> Iterator[pa.Table]:
    """Read a verdict file little by little; of a local one only what is asked for.

    Args:
        storage: where it is.
        path: the file.
        columns: the columns that are read.
        rows: a table has at most so many.

    Raises:
        OutputError: it cannot be read, is of another version, or no verdict file.
    """
    address = storage.address(path)
    local = isinstance(storage, LocalStorage)
    yield from _pieces(
        address if local else pa.BufferReader(_read(storage, path)), address, columns, rows
    )


def _pieces(
    place: str | pa.BufferReader, address: str, columns: Sequence[str] | None, rows: int
) -> Iterator[pa.Table]:
    try:
        with pq.ParquetFile(place) as file:
            footer = file.schema_arrow.metadata or {}
            check_version(footer.get(VERSION_KEY, b"none").decode(), address)
            for batch in file.iter_batches(rows, columns=columns and list(columns)):
                yield pa.Table.from_batches([batch]).replace_schema_metadata(footer)
    except (pa.ArrowInvalid, OSError) as error:
        raise OutputError(f"{address} cannot be read: {error}") from error


class Results:
    """The output folder of scans."""

    def __init__(self, storage: Storage) -> None:
        """Wrap the output's storage."""
        self.storage = storage

    def put_json(self, run_id: str, name: str, content: Json) -> None:
        """Write one of a run's JSON files."""
        data = json.dumps(content, indent=1, ensure_ascii=False, default=str) + "\n"
        # The name of a folder that could not be listed may be no UTF-8.
        self.storage.put(run_file(run_id, name), data.encode("utf-8", "backslashreplace"))

    def get_json(self, run_id: str, name: str) -> Json | None:
        """Read one of a run's JSON files; None where it is missing."""
        try:
            content: Json = json.loads(_read(self.storage, run_file(run_id, name)))
        except OutputError as error:
            if isinstance(error.__cause__, FileNotFoundError | NotADirectoryError):
                return None
            raise
        return content

    def committed(self, run_id: str) -> set[int]:
        """The numbers of the shards that are committed."""
        names = self.storage.names(run_file(run_id, "parts"))
        parts = [n for n in names if n.startswith("part-") and n.endswith(".parquet")]
        return {int(name[len("part-") : -len(".parquet")]) for name in parts}

    def commit(self, run_id: str, index: int, rows: pa.Table, metadata: dict[str, str]) -> None:
        """Check a shard's rows and put its part; its presence is the commit."""
        validate(rows)
        part = parquet_bytes(with_metadata(rows, metadata))
        self.storage.put(run_file(run_id, f"parts/{part_name(index)}"), part)

    def part(self, run_id: str, index: int) -> pa.Table:
        """Read a committed shard."""
        return read_verdicts(self.storage, run_file(run_id, f"parts/{part_name(index)}"))

    def publish(
        self, run_id: str, run_date: str, expected: pa.Table, metadata: dict[str, str], parts: int
    ) -> str:
        """Join a run's parts into its one file under ``verdicts/``, by one rename or put.

        Args:
            run_id: the run.
            run_date: the UTC date on which it started.
            expected: the manifest's unskipped rows in the order in which they were judged; the
                parts must be exactly these. They are published in the order of `image`.
            metadata: facts for the footer.
            parts: number of shards.

        Raises:
            BrokenInvariant: the rows are not those of the manifest.
        """
        buffer = io.BytesIO()
        schema = with_metadata(VERDICTS.empty_table(), metadata).schema
        checked = self._checked(run_id, expected["image"], parts)
        if not _is_sorted(expected["image"]):
            checked = iter([pa.concat_tables(checked).sort_by("image")])
        with pq.ParquetWriter(buffer, schema, compression="zstd") as writer:
            for rows in checked:
                writer.write_table(rows.replace_schema_metadata(schema.metadata))
        path = published_name(run_date, run_id)
        # Another process that finishes the same run has published the same rows.
        self.storage.create(path, buffer.getvalue())
        return path

    def _checked(self, run_id: str, expected: pa.ChunkedArray, parts: int) -> Iterator[pa.Table]:
        """The rows of each part, which must be those of the expected images, in order."""
        seen = 0
        for index in range(parts):
            rows = _bare(self.part(run_id, index))
            validate(rows)
            images = expected.slice(seen, rows.num_rows)
            if not rows["image"].combine_chunks().equals(images.combine_chunks()):
                raise BrokenInvariant(f"part {index} of run {run_id} is not its manifest's")
            yield rows
            seen += rows.num_rows
        if seen != len(expected):
            raise BrokenInvariant(f"run {run_id} has {seen} rows of {len(expected)}")

    def published(self) -> list[str]:
        """The paths of all published files, oldest date first."""
        return [
            f"verdicts/{day}/{name}"
            for day in self.storage.names("verdicts")
            if day.startswith("run_date=")
            for name in self.storage.names(f"verdicts/{day}")
            if name.endswith(".parquet") and not name.startswith(".")
        ]

    def update_latest(self, path: str) -> None:
        """Bring a published file's rows into ``latest.parquet``; doing it twice is the same."""
        rows = newest(_bare(read_verdicts(self.storage, path)))

        def merge(before: bytes | None) -> bytes:
            return _latest_bytes(rows) if before is None else _merged(before, rows)

        self.storage.update(LATEST, merge)

    def rebuild_latest(self) -> int:
        """Make ``latest.parquet`` again from ``verdicts/``; returns its rows."""
        rows = VERDICTS.empty_table()

        def rebuild(_: bytes | None) -> bytes:
            nonlocal rows
            rows = VERDICTS.empty_table()
            waiting: list[pa.Table] = []
            for path in self.published():
                waiting.append(_bare(read_verdicts(self.storage, path)))
                # Sorting all that is known for each of many small files would take hours.
                if sum(len(more) for more in waiting) >= rows.num_rows:
                    rows, waiting = newest(pa.concat_tables([rows, *waiting])), []
            rows = newest(pa.concat_tables([rows, *waiting]))
            return _latest_bytes(rows)

        self.storage.update(LATEST, rebuild)
        return int(rows.num_rows)


def _latest_bytes(rows: pa.Table) -> bytes:
    return parquet_bytes(with_metadata(rows, {}))


def _merged(before: bytes, rows: pa.Table) -> bytes:
    """Bring rows into the content of ``latest.parquet``; both are sorted, so bit by bit."""
    buffer, schema = io.BytesIO(), with_metadata(VERDICTS.empty_table(), {}).schema
    with pq.ParquetWriter(buffer, schema, compression="zstd") as writer:
        for some in _pieces(pa.BufferReader(before), LATEST, None, MERGED_AT_ONCE):
            source, image = some["source"][-1], some["image"][-1]
            here = pc.equal(rows["source"], source)
            due = pc.and_(here, pc.less_equal(rows["image"], image))
            due = pc.or_(due, pc.less(rows["source"], source))
            merged = newest(pa.concat_tables([_bare(some), rows.filter(due)]))
            writer.write_table(merged.replace_schema_metadata(schema.metadata))
            rows = rows.filter(pc.invert(due))
        writer.write_table(rows.replace_schema_metadata(schema.metadata))
    return buffer.getvalue()


def _is_sorted(images: pa.ChunkedArray) -> bool:
    if len(images) < 2:
        return True
    together = images.combine_chunks()
    return bool(pc.all(pc.less_equal(together[:-1], together[1:])).as_py())


def _bare(table: pa.Table) -> pa.Table:
    return table.replace_schema_metadata().cast(VERDICTS)


def newest(rows: pa.Table) -> pa.Table:
    """One row per (source, image): the newest, but a failed read only where nothing else is."""
    read_failed = pc.fill_null(pc.starts_with(rows["failure"], "read."), False)
    order: list[Any] = [("source", "ascending"), ("image", "ascending"), ("again", "ascending")]
    order += [("run_started", "descending"), ("run_id", "descending")]
    ordered = rows.append_column("again", read_failed).sort_by(order).drop(["again"])
    if ordered.num_rows < 2:
        return ordered.combine_chunks()
    same = pa.array([True] * (ordered.num_rows - 1))
    for name in ("source", "image"):
        column = ordered[name].combine_chunks()
        same = pc.and_(same, pc.equal(column[1:], column[:-1]))
    first = pa.concat_arrays([pa.array([True]), pc.invert(same)])
    return ordered.filter(first).combine_chunks()
