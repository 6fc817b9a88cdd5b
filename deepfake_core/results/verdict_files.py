"""Verdict files, read and written whole or little by little."""

from __future__ import annotations

import io
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from deepfake_core.errors import DamagedFile, StoreError, damaged, unreadable
from deepfake_core.results.schema import (
    VERDICTS,
    VERSION_KEY,
    check_version,
    upgraded,
    with_metadata,
)
from deepfake_core.results.seals import UNPARSABLE, is_whole, sealed_writer
from deepfake_core.storage.base import Changed, Readable, Storage
from deepfake_core.storage.range_file import RangeFile, Span

# Is told of a damaged file that is left out.
OnDamaged = Callable[[DamagedFile], None]
# Rows that are compressed together: as many as are decoded at once when they are read.
ROWS_IN_GROUP = 100_000
# Files of which the first rows are read while those before them are used.
FILES_AHEAD = 8


def parquet_bytes(table: pa.Table) -> bytes:
    """A table as sealed Parquet: zstd, dictionaries for what repeats."""
    buffer = io.BytesIO()
    with sealed_writer(buffer, table.schema) as writer:
        writer.write_table(table, row_group_size=ROWS_IN_GROUP)
    return buffer.getvalue()


def write_verdicts(file: Path, tables: Iterable[pa.Table], metadata: dict[str, str]) -> int:
    """Write verdict rows as they come, in groups that are good to read; returns their number."""
    schema, waiting, count = with_metadata(VERDICTS.empty_table(), metadata).schema, [], 0
    with sealed_writer(file, schema) as writer:
        for rows in tables:
            waiting.append(bare(rows))
            count += rows.num_rows
            if sum(map(len, waiting)) >= ROWS_IN_GROUP:
                writer.write_table(_joined(waiting, schema), row_group_size=ROWS_IN_GROUP)
                waiting = []
        if waiting:
            writer.write_table(_joined(waiting, schema), row_group_size=ROWS_IN_GROUP)
    return count


def _joined(tables: list[pa.Table], schema: pa.Schema) -> pa.Table:
    together = pa.concat_tables([VERDICTS.empty_table(), *tables])
    return together.replace_schema_metadata(schema.metadata)


def bare(table: pa.Table) -> pa.Table:
    """Verdict rows without the facts of their file."""
    return upgraded(table.replace_schema_metadata())


def read_verdicts(storage: Storage, path: str, columns: list[str] | None = None) -> pa.Table:
    """Read a verdict file of a schema version that is understood here.

    Raises:
        DamagedFile: its bytes are not those that were written.
        OutputError: it cannot be read, is of another version, or no verdict file.
    """
    address = storage.address(path)
    try:
        data = storage.read(path)
    except OSError as error:
        raise unreadable(address, error) from error
    table = parse(data, address, columns=columns and list(columns))
    check_version((table.schema.metadata or {}).get(VERSION_KEY, b"none").decode(), address)
    return upgraded(table, columns)


def read_footer(storage: Storage, path: str) -> dict[bytes, bytes]:
    """The facts in the footer of a verdict file; of one in a store only its end is read.

    Raises:
        DamagedFile: it is not Parquet.
        OutputError: it cannot be read.
    """
    address = storage.address(path)
    try:
        footer: dict[bytes, bytes] = pq.read_schema(storage.readable(path)).metadata or {}
    except UNPARSABLE as error:
        if isinstance(error, OSError) and not isinstance(error, pa.ArrowException):
            raise unreadable(address, error) from error
        raise damaged(address, str(error)) from error
    return footer


def parse(
    data: bytes, address: str, *, columns: list[str] | None = None, **options: object
) -> pa.Table:
    """The table of a Parquet file's bytes.

    Args:
        data: the bytes.
        address: where they are from, for the message.
        columns: those that are read if they are there; all by default.
        options: `schema` of `pyarrow.parquet.read_table`.

    Raises:
        DamagedFile: they are not those that were written.
    """
    if is_whole(data) is False:
        raise damaged(address)
    try:
        if columns is not None:
            present = pq.read_schema(pa.BufferReader(data)).names
            options["columns"] = [name for name in columns if name in present]
        return pq.read_table(pa.BufferReader(data), page_checksum_verification=True, **options)
    except UNPARSABLE as error:
        raise damaged(address, str(error)) from error


def verdict_chunks(
    storage: Storage, path: str, columns: Sequence[str] | None, *, rows: int
) -> Iterator[pa.Table]:
    """Read a verdict file little by little, and of it only what is asked for.

    Args:
        storage: where it is.
        path: the file.
        columns: the columns that are read; None for all.
        rows: a table has at most so many.

    Raises:
        DamagedFile: its bytes are not those that were written.
        OutputError: it cannot be read, is of another version, or no verdict file.
    """
    try:
        readable = storage.readable(path)
    except OSError as error:
        raise unreadable(storage.address(path), error) from error
    try:
        yield from pieces(readable, storage.address(path), columns, rows)
    except Changed as error:
        raise unreadable(storage.address(path), error) from error


def chunks_of(
    storage: Storage,
    paths: Iterable[str],
    columns: Sequence[str] | None,
    *,
    rows: int,
    on_damaged: OnDamaged | None = None,
) -> Iterator[pa.Table]:
    """The same of several files one after the other; meanwhile the next ones are begun.

    Args:
        storage: where they are.
        paths: the files.
        columns: see `verdict_chunks`.
        rows: likewise.
        on_damaged: told of files that are left out as they are damaged; without it they raise.
    """
    waiting: deque[tuple[Iterator[pa.Table], Future[pa.Table | None]]] = deque()
    with ThreadPoolExecutor(FILES_AHEAD, "verdicts") as pool:
        for path in paths:
            chunks = verdict_chunks(storage, path, columns, rows=rows)
            waiting.append((chunks, pool.submit(next, chunks, None)))
            if len(waiting) > FILES_AHEAD:
                yield from _begun(*waiting.popleft(), on_damaged)
        while waiting:
            yield from _begun(*waiting.popleft(), on_damaged)


def _begun(
    chunks: Iterator[pa.Table], first: Future[pa.Table | None], on_damaged: OnDamaged | None
) -> Iterator[pa.Table]:
    try:
        begun = first.result()
        if begun is not None:
            yield begun
            yield from chunks
    except DamagedFile as error:
        if on_damaged is None:
            raise
        on_damaged(error)


def pieces(
    readable: Readable, address: str, columns: Sequence[str] | None, rows: int
) -> Iterator[pa.Table]:
    """The same of what `Storage.readable` gave; Changed passes where somebody changes the file."""
    try:
        _check_seal(readable, address)
        with pq.ParquetFile(readable, page_checksum_verification=True) as file:
            footer = file.schema_arrow.metadata or {}
            check_version(footer.get(VERSION_KEY, b"none").decode(), address)
            names = [name for name in columns or VERDICTS.names if name in file.schema_arrow.names]
            for groups in _bunches(file.metadata, rows):
                if isinstance(readable, RangeFile):
                    readable.fetch(_spans(file.metadata, groups, names))
                for batch in file.iter_batches(rows, row_groups=groups, columns=names):
                    table = pa.Table.from_batches([batch]).replace_schema_metadata(footer)
                    yield upgraded(table, columns)
    except (Changed, StoreError, FileNotFoundError, PermissionError) as error:
        if isinstance(error, Changed):
            raise
        raise unreadable(address, error) from error
    except UNPARSABLE as error:
        raise damaged(address, str(error)) from error


def _check_seal(readable: Readable, address: str) -> None:
    """Hash a file that lies on this machine; of one in a store only the pages are verified."""
    if isinstance(readable, RangeFile):
        return
    if is_whole(Path(readable) if isinstance(readable, str) else readable) is False:
        raise damaged(address)
    if not isinstance(readable, str):
        readable.seek(0)


def _bunches(facts: pq.FileMetaData, rows: int) -> Iterator[list[int]]:
    """Row groups in a row that have about so many rows together."""
    bunch: list[int] = []
    count = 0
    for group in range(facts.num_row_groups):
        more = facts.row_group(group).num_rows
        if bunch and count + more > rows:
            yield bunch
            bunch, count = [], 0
        bunch.append(group)
        count += more
    if bunch:
        yield bunch


def _spans(facts: pq.FileMetaData, groups: list[int], names: list[str]) -> list[Span]:
    """Where in the file the columns of some row groups are."""
    spans = []
    for group in groups:
        for index in range(facts.num_columns):
            column = facts.row_group(group).column(index)
            # Columns of structs lie in the file as one column for each field.
            if column.path_in_schema.partition(".")[0] in names:
                start = column.data_page_offset
                if column.has_dictionary_page:
                    start = min(start, column.dictionary_page_offset)
                spans.append((start, start + column.total_compressed_size))
    return spans
