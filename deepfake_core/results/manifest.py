"""The manifest: the sorted, fingerprinted list of what a run found, and why it skips some."""

from __future__ import annotations

import hashlib
import io
import json
import os
from typing import TypedDict

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from deepfake_core.errors import OutputError, unreadable
from deepfake_core.records import Label
from deepfake_core.results import manifest
from deepfake_core.results.layout import MANIFEST_FILE, run_file
from deepfake_core.results.run_record import RunRecord, parse_run
from deepfake_core.results.seals import sealed_writer
from deepfake_core.results.store import Results
from deepfake_core.results.verdict_files import parse

# Reasons why an image is listed and not judged.
KNOWN, EXCLUDED, OLD, OVER_LIMIT, OUT_OF_TIME = "known", "excluded", "old", "limit", "time"
ROWS_AT_ONCE = 100_000
RUN_KEY = b"deepfake.run"

MANIFEST_SCHEMA = pa.schema(
    [
        pa.field("image", pa.string(), nullable=False),
        # The name in the file system where it is not UTF-8, so that the image can be read again.
        pa.field("raw", pa.binary()),
        # Null where the store does not say it.
        pa.field("bytes", pa.int64()),
        pa.field("etag", pa.string()),
        pa.field("modified", pa.float64()),
        pa.field("skip", pa.string()),
        # When this content was last tried under this name, and what was then said of it by which
        # model; null where it is new.
        pa.field("seen", pa.timestamp("us", tz="UTC")),
        pa.field("seen_label", pa.string()),
        pa.field("seen_model", pa.string()),
        # Whose turn it is, where images are not judged in the order of their names.
        pa.field("turn", pa.int64()),
    ]
)


class Name(TypedDict):
    """What an image is called.

    Attributes:
        image: its name as text.
        raw: its name in the file system, where that is not UTF-8.
    """

    image: str
    raw: bytes | None


class Entry(Name):
    """A row of the manifest, as far as it is needed to judge its image; null: not known."""

    bytes: int | None
    etag: str | None


def path_of(row: Name) -> str:
    """The path by which a manifest row is read from its source."""
    return row["image"] if row["raw"] is None else os.fsdecode(row["raw"])


def replace_columns(manifest: pa.Table, **columns: pa.Array) -> pa.Table:
    """The manifest with other values in some of its columns."""
    for name, values in columns.items():
        at = MANIFEST_SCHEMA.get_field_index(name)
        manifest = manifest.set_column(at, MANIFEST_SCHEMA.field(at), values)
    return manifest


def turn_order(rows: pa.Table) -> np.ndarray:
    """int64[N]: the positions of a manifest's unskipped rows, in the order of their turns."""
    if rows["turn"].null_count == rows.num_rows:
        return np.arange(rows.num_rows)
    order: np.ndarray = pc.sort_indices(rows["turn"]).to_numpy().astype(np.int64)
    return order


def unskipped(manifest: pa.Table) -> pa.Table:
    """The rows that are judged."""
    return manifest.filter(pc.is_null(manifest["skip"]))


def turn_counts(manifest: pa.Table) -> tuple[int, int, int]:
    """How many images are judged that are new, how many were tried before, how many must wait."""
    wanted = unskipped(manifest)
    new = wanted["seen"].null_count
    waiting = pc.is_in(manifest["skip"], pa.array([OVER_LIMIT, OUT_OF_TIME]))
    left = pc.sum(waiting).as_py() or 0
    return new, wanted.num_rows - new, left


def known_flagged(manifest: pa.Table) -> int:
    """How many images are left out as they are known, and were called fake."""
    known = pc.equal(manifest["skip"], KNOWN)
    return pc.sum(pc.and_(known, pc.equal(manifest["seen_label"], Label.FAKE))).as_py() or 0


def fingerprint(manifest: pa.Table) -> str:
    """sha256 over every image with its etag and size, in order."""
    digest = hashlib.sha256()
    for name in ("image", "etag", "bytes"):
        # No path, etag or number holds a zero byte.
        for chunk in manifest[name].chunks:
            for start in range(0, len(chunk), ROWS_AT_ONCE):
                column = pc.fill_null(chunk[start : start + ROWS_AT_ONCE].cast(pa.string()), "")
                digest.update("\0".join([*column.to_pylist(), ""]).encode())
        digest.update(b"\0")
    return digest.hexdigest()


def to_bytes(manifest: pa.Table, *, run: RunRecord | None = None) -> bytes:
    """The manifest as Parquet; with the content of ``run.json`` in its footer, where given."""
    footer = {RUN_KEY: json.dumps(run.as_json(), default=str)} if run else None
    buffer = io.BytesIO()
    table = manifest.replace_schema_metadata(footer)
    with sealed_writer(buffer, table.schema) as writer:
        writer.write_table(table)
    return buffer.getvalue()


def from_bytes(data: bytes, address: str = "a manifest") -> pa.Table:
    """Read what `to_bytes` wrote.

    Raises:
        DamagedFile: these are not the bytes that were written.
    """
    return parse(data, address, schema=MANIFEST_SCHEMA)


def run_of(data: bytes, address: str) -> RunRecord | None:
    """The run with which a stored manifest was planned; None where it does not say.

    Raises:
        DamagedFile: these are not the bytes that were written.
    """
    footer = parse(data, address, columns=[]).schema.metadata or {}
    run = json.loads(footer.get(RUN_KEY, b"null"))
    return None if run is None else parse_run(run, where=f"the run in the footer of {address}")


def read_manifest(results: Results, run_id: str) -> pa.Table:
    """The stored manifest of a run.

    Raises:
        OutputError: it cannot be read, or retention has removed it.
    """
    path = run_file(run_id, MANIFEST_FILE)
    try:
        return manifest.from_bytes(results.storage.read(path), results.storage.address(path))
    except FileNotFoundError as error:
        raise OutputError(
            f"{results.storage.address(path)} is gone, as retention removes the manifests of old "
            "runs; this run's report and verdicts stay as they are"
        ) from error
    except OSError as error:
        raise unreadable(results.storage.address(path), error) from error
