"""The manifest: the sorted, fingerprinted list of what a run found, and why it skips some."""

from __future__ import annotations

import datetime as dt
import hashlib
import io
import json
import os
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from deepfake_core.config import ScanConfig
from deepfake_core.records import Json
from deepfake_core.scope import match_names
from deepfake_core.storage import Listing

# Reasons why an image is listed and not judged.
KNOWN, EXCLUDED, OLD, OVER_LIMIT, OUT_OF_TIME = "known", "excluded", "old", "limit", "time"
ROWS_AT_ONCE = 100_000
RUN_KEY = b"deepfake.run"

MANIFEST = pa.schema(
    [
        pa.field("image", pa.string(), nullable=False),
        # The name in the file system where it is no UTF-8, so that the image can be read again.
        pa.field("raw", pa.binary()),
        pa.field("bytes", pa.int64(), nullable=False),
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


def build_manifest(listing: Listing) -> pa.Table:
    """Sort a listing by the UTF-8 bytes of its paths; nothing is skipped yet.

    The listing's columns are emptied, so that ten million names are not held twice.
    """
    count = len(listing.paths)
    raw = pa.nulls(count, pa.binary())
    try:
        images = pa.array(listing.paths, pa.string())
    except UnicodeEncodeError:
        names = [None if _is_utf8(name) else os.fsencode(name) for name in listing.paths]
        raw = pa.array(names, pa.binary())
        images = pa.array(_escaped(listing.paths), pa.string())
    listing.paths.clear()
    columns = [images, raw]
    more: tuple[list[Any], ...] = (listing.sizes, listing.etags, listing.modified)
    for values, kind in zip(more, MANIFEST.types[2:5], strict=True):
        columns.append(pa.array(values, kind))
        values.clear()
    columns += [pa.nulls(count, kind) for kind in MANIFEST.types[5:]]
    return pa.table(columns, schema=MANIFEST).sort_by("image")


def _is_utf8(name: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in name)


def _escaped(names: list[str]) -> list[str]:
    """Names as UTF-8, each another one: what others are called already is escaped once more."""
    taken = {name for name in names if "\\" in name and _is_utf8(name)}
    found: dict[str, str] = {}
    for name in sorted(name for name in names if not _is_utf8(name)):
        escaped = os.fsencode(name).decode("utf-8", "backslashreplace")
        while escaped in taken:
            escaped = escaped.replace("\\", "\\\\")
        taken.add(escaped)
        found[name] = escaped
    return [found.get(name, name) for name in names]


def path_of(row: dict[str, object]) -> str:
    """The path by which a manifest row is read from its source."""
    raw = row["raw"]
    return os.fsdecode(raw) if isinstance(raw, bytes) else str(row["image"])


def skip_some(manifest: pa.Table, config: ScanConfig, known: np.ndarray) -> pa.Table:
    """Fill the columns ``skip``, for what lies out of scope or was judged before, and ``turn``.

    New images come first, then those that were not tried for the longest time; with `full` all
    are taken in the order of their names.

    Args:
        manifest: as `build_manifest` made it, perhaps with what was seen before.
        config: include, exclude, since, limit and full are used.
        known: bool[N], which images need no second judgement.
    """
    reasons = np.full(manifest.num_rows, None, dtype=object)
    if config.include is not None or config.exclude is not None:
        reasons[~_in_scope(manifest["image"].to_pylist(), config)] = EXCLUDED
    if config.since is not None:
        since = config.since
        since = since if since.tzinfo else since.replace(tzinfo=dt.UTC)
        # Where the store does not say when, it is NaN, which is not less: such images are taken.
        modified = manifest["modified"].to_numpy(zero_copy_only=False)
        reasons[(modified < since.timestamp()) & (reasons == None)] = OLD  # noqa: E711
    if not config.full:
        reasons[known & (reasons == None)] = KNOWN  # noqa: E711
    left = np.flatnonzero(reasons == None)  # noqa: E711
    turns = pa.nulls(manifest.num_rows, pa.int64())
    seen = manifest["seen"].combine_chunks().take(pa.array(left))
    if not config.full and seen.null_count < len(left):
        # The sort is stable: images that were seen at the same time stay in the order of names.
        moments = pc.fill_null(seen.cast(pa.int64()), np.iinfo(np.int64).min)
        left = left[np.argsort(moments.to_numpy(), kind="stable")]
        numbers, has_turn = np.zeros(manifest.num_rows, np.int64), np.zeros(len(reasons), bool)
        numbers[left], has_turn[left] = np.arange(len(left)), True
        turns = pa.array(numbers, mask=~has_turn)
    if config.limit is not None:
        reasons[left[config.limit :]] = OVER_LIMIT
    return replace_columns(manifest, skip=pa.array(reasons, pa.string()), turn=turns)


def skip_rest(manifest: pa.Table, judged: int) -> pa.Table:
    """Mark what a run had no time for: all unskipped rows after the first `judged` turns."""
    reasons = manifest["skip"].to_numpy(zero_copy_only=False).copy()
    left = np.flatnonzero(reasons == None)  # noqa: E711
    reasons[left[turn_order(unskipped(manifest))][judged:]] = OUT_OF_TIME
    return replace_columns(manifest, skip=pa.array(reasons, pa.string()))


def replace_columns(manifest: pa.Table, **columns: pa.Array) -> pa.Table:
    """The manifest with other values in some of its columns."""
    for name, values in columns.items():
        at = MANIFEST.get_field_index(name)
        manifest = manifest.set_column(at, MANIFEST.field(at), values)
    return manifest


def turn_order(rows: pa.Table) -> np.ndarray:
    """int64[N]: the positions of a manifest's unskipped rows, in the order of their turns."""
    if rows["turn"].null_count == rows.num_rows:
        return np.arange(rows.num_rows)
    order: np.ndarray = pc.sort_indices(rows["turn"]).to_numpy().astype(np.int64)
    return order


def _in_scope(names: list[str], config: ScanConfig) -> np.ndarray:
    included = np.ones(len(names), bool)
    if config.include is not None:
        included = match_names(names, config.include)
    if config.exclude is not None:
        included &= ~match_names(names, config.exclude)
    return included


def unskipped(manifest: pa.Table) -> pa.Table:
    """The rows that are judged."""
    return manifest.filter(pc.is_null(manifest["skip"]))


def turn_counts(manifest: pa.Table) -> dict[str, int]:
    """How many images are judged that are new, how many were tried before, how many must wait."""
    wanted = unskipped(manifest)
    new = wanted["seen"].null_count
    waiting = pc.is_in(manifest["skip"], pa.array([OVER_LIMIT, OUT_OF_TIME]))
    left = pc.sum(waiting).as_py() or 0
    return {"new": new, "backlog": wanted.num_rows - new, "left": left}


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


def to_bytes(manifest: pa.Table, *, run: Json | None = None) -> bytes:
    """The manifest as Parquet; with the content of ``run.json`` in its footer, where given."""
    footer = {RUN_KEY: json.dumps(run, default=str)} if run else None
    buffer = io.BytesIO()
    pq.write_table(manifest.replace_schema_metadata(footer), buffer, compression="zstd")
    return buffer.getvalue()


def from_bytes(data: bytes) -> pa.Table:
    """Read what `to_bytes` wrote."""
    return pq.read_table(pa.BufferReader(data), schema=MANIFEST)


def run_of(data: bytes) -> Json | None:
    """The run with which a stored manifest was planned; None where it does not say."""
    try:
        footer = pq.read_schema(pa.BufferReader(data)).metadata or {}
    except pa.ArrowInvalid:
        return None
    run: Json | None = json.loads(footer.get(RUN_KEY, b"null"))
    return run
