"""The small pictures of a report, read again from the source."""

from __future__ import annotations

import hashlib

from deepfake_core.images.thumbnails import thumbnail
from deepfake_core.records import Failure
from deepfake_core.reporting.summary_record import Summary
from deepfake_core.storage.base import Storage
from deepfake_core.storage.reading import read_or_failure


def read_thumbnails(summary: Summary, source: Storage) -> dict[str, bytes]:
    """JPEG thumbnails of the images that a summary shows, by image.

    What can no longer be read, or was changed, is left out; the report shows a placeholder for it.
    """
    pictures: dict[str, bytes] = {}
    for row in [*summary.highest, *summary.uncertain]:
        content, outage = read_or_failure(source, row.image, pause=lambda _: None)
        if outage:
            # A report without its pictures now is better than one after an hour of waiting.
            break
        if isinstance(content, Failure) or hashlib.sha256(content).hexdigest() != row.sha256:
            continue
        picture = thumbnail(content, faces=row.faces or ())
        if picture is not None:
            pictures[row.image] = picture
    return pictures
