"""The manifest: the sorted, fingerprinted list of what a run found, and why it skips some."""

from __future__ import annotations

import datetime as dt
import hashlib
import io
import os
from fnmatch import fnmatchcase

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from deepfake_core.config import ScanConfig
from deepfake_core.storage import Listing

# Reasons why an image is listed and not judged.
KNOWN, EXCLUDED, OLD, OVER_LIMIT, OUT_OF_TIME = "known", "excluded", "old", "limit", "time"

MANIFEST = pa.schema(
    [
        pa.field("image", pa.string(), nullable=False),
        # The name in the file system where it is no UTF-8, so that the image can be read again.
        pa.field("raw", pa.binary()),
        pa.field("bytes", pa.int64(), nullable=False),
        pa.field("etag", pa.string()),
        pa.field("modified", pa.float64()),
        pa.field("skip", pa.string()),
    ]
)


def build_manifest(listing: Listing) -> pa.Table:
    """Sort a listing by the UTF-8 bytes of its paths; nothing is skipped yet."""
    names = listing.paths
    raw: list[bytes | None] = [None] * len(names)
    try:
        names_array = pa.array(names, pa.string())
    except UnicodeEncodeError:
        raw = [None if _is_utf8(name) else os.fsencode(name) for name in names]
        names_array = pa.array([_escaped(name) for name in names], pa.string())
    table = pa.table(
        [
            names_array,
            pa.array(raw, pa.binary()),
            pa.array(listing.sizes, pa.int64()),
            pa.array(listing.etags, pa.string()),
            pa.array(listing.modified, pa.float64()),
            pa.nulls(len(names), pa.string()),
        ],
        schema=MANIFEST,
    )
    return table.sort_by("image")


def _is_utf8(name: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in name)


def _escaped(name: str) -> str:
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def path_of(row: dict[str, object]) -> str:
    """The path by which a manifest row is read from its source."""
    raw = row["raw"]
    return os.fsdecode(raw) if isinstance(raw, bytes) else str(row["image"])


def skip_some(manifest: pa.Table, config: ScanConfig, known: pa.Table) -> pa.Table:
    """Fill the column ``skip`` for what lies out of scope or was judged before.

    Args:
        manifest: as `build_manifest` made it.
        config: include, exclude, since, limit and full are used.
        known: columns image and etag of what needs no second judgement.
    """
    count = manifest.num_rows
    reasons = np.full(count, None, dtype=object)
    if config.include is not None or config.exclude is not None:
        names = manifest["image"].to_pylist()
        reasons[[not _in_scope(name, config) for name in names]] = EXCLUDED
    if config.since is not None:
        since = config.since
        since = since if since.tzinfo else since.replace(tzinfo=dt.UTC)
        modified = manifest["modified"].to_numpy(zero_copy_only=False)
        reasons[(modified < since.timestamp()) & (reasons == None)] = OLD  # noqa: E711
    if not config.full and known.num_rows:
        judged = _is_known(manifest, known)
        reasons[judged & (reasons == None)] = KNOWN  # noqa: E711
    if config.limit is not None:
        left = np.flatnonzero(reasons == None)  # noqa: E711
        reasons[left[config.limit :]] = OVER_LIMIT
    return _with_skip(manifest, reasons)


def skip_rest(manifest: pa.Table, judged: int) -> pa.Table:
    """Mark what a run had no time for: all unskipped rows after the first `judged`."""
    reasons = manifest["skip"].to_numpy(zero_copy_only=False).copy()
    left = np.flatnonzero(reasons == None)  # noqa: E711
    reasons[left[judged:]] = OUT_OF_TIME
    return _with_skip(manifest, reasons)


def _with_skip(manifest: pa.Table, reasons: np.ndarray) -> pa.Table:
    column = pa.array(reasons, pa.string())
    return manifest.set_column(MANIFEST.get_field_index("skip"), MANIFEST.field("skip"), column)


def _in_scope(name: str, config: ScanConfig) -> bool:
    included = config.include is None or _matches(name, config.include)
    return included and not (config.exclude is not None and _matches(name, config.exclude))


def _matches(name: str, glob: str) -> bool:
    """Match the whole path, or for a glob without a slash the file's name."""
    return fnmatchcase(name if "/" in glob else name.rpartition("/")[2], glob)


def _is_known(manifest: pa.Table, known: pa.Table) -> np.ndarray:
    """bool[N]: whether (image, etag) is among the known; without an etag nothing is."""
    marked = known.select(["image", "etag"]).append_column("seen", pa.repeat(True, known.num_rows))
    index = pa.array(np.arange(manifest.num_rows))
    rows = manifest.select(["image", "etag"]).append_column("row", index)
    joined = rows.join(marked, ["image", "etag"], join_type="inner")
    judged = np.zeros(manifest.num_rows, dtype=bool)
    judged[joined["row"].to_numpy()] = True
    return judged


def unskipped(manifest: pa.Table) -> pa.Table:
    """The rows that are judged."""
    return manifest.filter(pc.is_null(manifest["skip"]))


def fingerprint(manifest: pa.Table) -> str:
    """sha256 over every image with its etag and size, in order."""
    digest = hashlib.sha256()
    for name in ("image", "etag", "bytes"):
        column = pc.fill_null(manifest[name].cast(pa.string()), "")
        # No path, etag or number holds a zero byte.
        digest.update("\0".join(column.to_pylist()).encode() + b"\0\0")
    return digest.hexdigest()


def to_bytes(manifest: pa.Table) -> bytes:
    """The manifest as Parquet."""
    buffer = io.BytesIO()
    pq.write_table(manifest, buffer, compression="zstd")
    return buffer.getvalue()


def from_bytes(data: bytes) -> pa.Table:
    """Read what `to_bytes` wrote."""
    return pq.read_table(pa.BufferReader(data), schema=MANIFEST)
