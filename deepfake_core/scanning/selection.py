"""Which images of a listing are judged, and in which turn."""

from __future__ import annotations

import datetime as dt
import os
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from deepfake_core.results.manifest import (
    EXCLUDED,
    KNOWN,
    MANIFEST_SCHEMA,
    OLD,
    OUT_OF_TIME,
    OVER_LIMIT,
    replace_columns,
    turn_order,
    unskipped,
)
from deepfake_core.results.run_record import RunWarning
from deepfake_core.scanning.config import ScanConfig
from deepfake_core.scanning.globs import match_any, unmatched
from deepfake_core.storage.listing import Listing


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
    for values, kind in zip(more, MANIFEST_SCHEMA.types[2:5], strict=True):
        columns.append(pa.array(values, kind))
        values.clear()
    columns += [pa.nulls(count, kind) for kind in MANIFEST_SCHEMA.types[5:]]
    return pa.table(columns, schema=MANIFEST_SCHEMA).sort_by("image")


def _is_utf8(name: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in name)


def _escaped(names: list[str]) -> list[str]:
    """Names as UTF-8, each another one: what others are called already is escaped once more."""
    taken = {name for name in names if "\\" in name and _is_utf8(name)}
    as_text: dict[str, str] = {}
    for name in sorted(name for name in names if not _is_utf8(name)):
        escaped = os.fsencode(name).decode("utf-8", "backslashreplace")
        while escaped in taken:
            escaped = escaped.replace("\\", "\\\\")
        taken.add(escaped)
        as_text[name] = escaped
    return [as_text.get(name, name) for name in names]


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
    if config.include or config.exclude:
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


def _in_scope(names: list[str], config: ScanConfig) -> np.ndarray:
    included = np.ones(len(names), bool)
    if config.include:
        included = match_any(names, config.include)
    if config.exclude:
        included &= ~match_any(names, config.exclude)
    return included


def idle_globs(manifest: pa.Table, config: ScanConfig) -> list[RunWarning]:
    """A warning for each glob that takes no image: a typing error, or the source has changed."""
    names = manifest["image"].to_pylist() if config.include or config.exclude else []
    return [
        RunWarning(
            measure=option,
            now=None,
            before=None,
            statistic=None,
            limit=None,
            words=f"--{option} {glob!r} {why}",
        )
        for option, globs in (("include", config.include), ("exclude", config.exclude))
        for glob in globs
        if (why := unmatched(names, glob))
    ]
