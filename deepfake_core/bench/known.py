"""Millions of images that are known: their verdicts, and the listing of a store that has them."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from deepfake_core.results.layout import published_name
from deepfake_core.results.schema import VERDICTS
from deepfake_core.results.store import Results
from deepfake_core.results.verdict_files import write_verdicts
from deepfake_core.storage.listing import Listing
from deepfake_core.storage.local import LocalStorage

SOURCE, MODEL = "s3://bucket/uploads", "resnet50@1+00000000"
FIRST_DAY = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
NIGHTS = 10
ROWS_AT_ONCE = 100_000


def publish_known(results: Results, count: int, config_fingerprint: str) -> list[str]:
    """Publish verdicts of a first run, nine tenths of all, and of ten nights; returns the paths."""
    first = count * 9 // 10
    night = (count - first) // NIGHTS
    starts = [0, *range(first, first + NIGHTS * night, night)]
    paths = []
    for day, (start, end) in enumerate(zip(starts, [*starts[1:], count], strict=True)):
        paths.append(published_name(_moment(day).date().isoformat(), f"run-{day}"))
        with results.storage.spool() as file:
            rows = _rows(start, end, day)
            write_verdicts(file, rows, {"config_fingerprint": config_fingerprint})
            results.storage.put(paths[-1], file)
    return paths


def known_listing(count: int, *, new: int) -> Listing:
    """What a store lists that holds the known images and some new ones."""
    listing = Listing()
    for start in range(0, count + new, ROWS_AT_ONCE):
        end = min(start + ROWS_AT_ONCE, count + new)
        listing.paths += _names(start, end).to_pylist()
        listing.etags += _hashes(start, end, words=2).to_pylist()
        listing.sizes += range(start, end)
        listing.modified += [1.8e9 + index for index in range(start, end)]
    return listing


class Listed(LocalStorage):
    """A source whose listing costs nothing, as it was made before."""

    def __init__(self, count: int, *, new: int) -> None:
        """Name nothing that exists; see `known_listing`."""
        super().__init__(Path())
        self.name = SOURCE
        self._listing = known_listing(count, new=new)

    def list_files(self, *, leave_out: str = "") -> Listing:  # noqa: ARG002
        """See `Storage.list_files`."""
        return self._listing


def _moment(day: int) -> dt.datetime:
    return FIRST_DAY + dt.timedelta(days=day)


def _numbers(start: int, end: int) -> pa.Array:
    return pc.utf8_lpad(pa.array(np.arange(start, end)).cast(pa.string()), 9, "0")


def _names(start: int, end: int) -> pa.Array:
    """Names that are sorted by their numbers, as long as those of cameras and dates."""
    numbers = _numbers(start, end)
    folders = pc.utf8_slice_codeunits(numbers, 0, 5)
    return pc.binary_join_element_wise("2026/camera-", folders, "/photograph-", numbers, ".jpg", "")


def _hashes(start: int, end: int, *, words: int) -> pa.Array:
    """For each number 16 hex digits a word, which compress to no less than half."""
    numbers = np.arange(start, end, dtype=np.uint64)[:, None]
    mixed: np.ndarray = numbers + np.arange(words, dtype=np.uint64)
    for factor in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9):
        mixed *= np.uint64(factor)
        mixed ^= mixed >> np.uint64(29)
    offsets = np.arange(end - start + 1, dtype=np.int32) * 16 * words
    text = mixed.tobytes().hex().encode()
    return pa.StringArray.from_buffers(end - start, pa.py_buffer(offsets), pa.py_buffer(text))


def _rows(start: int, end: int, day: int) -> Iterator[pa.Table]:
    for at in range(start, end, ROWS_AT_ONCE):
        yield _verdicts(at, min(at + ROWS_AT_ONCE, end), day)


def _verdicts(start: int, end: int, day: int) -> pa.Table:
    """Rows of whole pictures: what has no column here is null."""
    count = end - start
    scores = pa.array(np.random.default_rng(start).random(count, np.float32))
    columns = {
        "image": _names(start, end),
        "source": pa.repeat(SOURCE, count),
        "etag": _hashes(start, end, words=2),
        "sha256": _hashes(start, end, words=4),
        "bytes": pa.array(np.arange(start, end)),
        "status": pa.repeat("ok", count),
        "failure": pa.nulls(count, pa.string()),
        "detail": pa.nulls(count, pa.string()),
        "format": pa.repeat("JPEG", count),
        "width": pa.repeat(pa.scalar(256, pa.int32()), count),
        "height": pa.repeat(pa.scalar(256, pa.int32()), count),
        "logit": scores,
        "score": scores,
        "label": pc.if_else(pc.greater(scores, 0.5), "fake", "real"),
        "model_id": pa.repeat(MODEL, count),
        "run_id": pa.repeat(f"run-{day}", count),
        "run_started": pa.repeat(pa.scalar(_moment(day), pa.timestamp("us", "UTC")), count),
    }
    absent = (field for field in VERDICTS if field.name not in columns)
    columns |= {field.name: pa.nulls(count, field.type) for field in absent}
    return pa.table(columns, schema=VERDICTS)
