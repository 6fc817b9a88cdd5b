"""Finished scans: their rows, and their images where these can still be read."""

from __future__ import annotations

import hashlib

import pyarrow as pa

from deepfake_core.records import Failure, FailureCode
from deepfake_core.results.store import Results
from deepfake_core.results.verdict_files import read_verdicts
from deepfake_core.results.verdict_row import PictureRow
from deepfake_core.storage.opening import open_storage
from deepfake_core.storage.reading import read_or_failure


def finished_scans(reports: str) -> dict[str, str]:
    """The paths of published files by run id, newest first."""
    paths = Results(open_storage(reports)).published()
    names = {path.rpartition("/")[2].removesuffix(".parquet"): path for path in paths}
    return dict(sorted(names.items(), key=lambda item: item[1], reverse=True))


def read_scan(reports: str, path: str) -> pa.Table:
    """The rows of a published file, highest scores first, failed ones last."""
    rows = read_verdicts(open_storage(reports), path)
    return rows.sort_by([("score", "descending"), ("image", "ascending")])


def read_image(row: PictureRow) -> bytes | Failure:
    """The image of a row as it was judged, from a source on this machine.

    Returns:
        Its bytes; a failure where it is elsewhere, gone, or no longer what was judged.
    """
    source = open_storage(row["source"])
    if not source.is_local:
        return Failure(
            FailureCode.READ_FAILED, "it lies in a store, and the page opens local images only"
        )
    content, _ = read_or_failure(source, row["image"], pause=lambda _: None)
    if isinstance(content, Failure):
        return content
    if row["sha256"] and hashlib.sha256(content).hexdigest() != row["sha256"]:
        return Failure(FailureCode.READ_NOT_FOUND, "the file was changed since it was judged")
    return content
