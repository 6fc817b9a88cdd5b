"""Tags on the objects of a bucket that say what a run found, as scanners of buckets set them."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa

from deepfake_core.errors import BrokenInvariant, UsageError
from deepfake_core.records import Label
from deepfake_core.results.manifest import path_of
from deepfake_core.results.run_record import TAG_NAME, TagCounts
from deepfake_core.storage.base import Storage, Tag, Taggable, Tagged

# By the label of a verdict; without one the image could not be judged.
STATES: dict[str | None, str] = {
    Label.FAKE: "flagged",
    Label.REAL: "none-found",
    Label.UNCERTAIN: "uncertain",
    Label.NOT_APPLICABLE: "not-applicable",
    None: "failed",
}
THREADS = 16
# When none of so many can be tagged, the rest is not tried.
AT_ONCE = 256
REFUSALS = {Tagged.DENIED, Tagged.FAILED}


def check_taggable(source: Storage) -> None:
    """Refuse a source whose files have no tags.

    Raises:
        UsageError: it is no bucket of S3.
    """
    if not isinstance(source, Taggable):
        raise UsageError(
            f"--tag-objects is for images in a bucket of S3, and {source.name} is none; leave the "
            "option out"
        )


def tag_objects(source: Taggable, wanted: pa.Table, rows: pa.Table) -> TagCounts:
    """Tag what a run judged; may be repeated.

    Args:
        source: where the objects are.
        wanted: the manifest's rows that were judged.
        rows: what was published of them, with `image` and `label`, in their order.

    Returns:
        What became of the tags; what the store complains of is no error.

    Raises:
        BrokenInvariant: the two are not of the same images.
    """
    if not wanted["image"].equals(rows["image"]):
        raise BrokenInvariant("the published rows are not those that were listed")
    counts: Counter[Tagged] = Counter()
    with ThreadPoolExecutor(THREADS, "tag") as threads:
        for start in range(0, rows.num_rows, AT_ONCE):
            tags = _tags(wanted.slice(start, AT_ONCE), rows.slice(start, AT_ONCE))
            outcomes = list(threads.map(lambda tag: source.tag(*tag), tags))
            counts.update(outcomes)
            if REFUSALS.issuperset(outcomes):
                break
    left = rows.num_rows - counts.total()
    return TagCounts(**{str(tag): counts[tag] for tag in Tagged}, left=left)


def _tags(wanted: pa.Table, rows: pa.Table) -> list[tuple[str, Tag]]:
    """The path of each judged image, and its tag."""
    entries = wanted.select(["image", "raw", "etag"]).to_pylist()
    return [
        (path_of(entry), Tag(TAG_NAME, STATES[label], entry["etag"]))
        for entry, label in zip(entries, rows["label"].to_pylist(), strict=True)
    ]
