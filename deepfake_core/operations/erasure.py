"""Erase what is kept about one image, by the sha256 of its bytes.

A run's files are changed in an order in which the rows that name the image go last, and each file
is replaced whole, so that an erasure that was cut off is finished by asking for it again. Nobody
else uses the output meanwhile; what killed processes left half-written goes, too.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import PurePosixPath

import pyarrow as pa
import pyarrow.compute as pc

from deepfake_core.errors import DamagedFile, UsageError
from deepfake_core.operations.run_erasure import Place, RunErasure, place_rows
from deepfake_core.results.feedback import ENTRIES, IMAGES, Feedback
from deepfake_core.results.layout import ASIDE, LATEST
from deepfake_core.results.review_log import ReviewLog
from deepfake_core.results.store import Results
from deepfake_core.results.verdict_files import read_verdicts
from deepfake_core.storage.base import Storage
from deepfake_core.storage.opening import open_storage
from deepfake_core.storage.output_lock import rewriting

# What is counted, in the order in which it is told.
KINDS = ("verdicts", "latest", "parts", "listed", "reports", "answers", "images")
_DIGEST = re.compile(r"[0-9a-f]{64}")


def erase(
    output: str | Results,
    sha256: str,
    *,
    wait_seconds: float = 0.0,
    on_unread: Callable[[str], None] = lambda message: None,
    say: Callable[[str], None] = lambda line: None,
) -> dict[str, int]:
    """Erase rows, reports' mentions and feedback about an image; doing it again is the same.

    Args:
        output: the folder of results, local or a URL.
        sha256: 64 hex digits.
        wait_seconds: how long to wait for scans of the output to end.
        on_unread: told of each damaged file that may still hold the image.
        say: told who is waited for.

    Returns:
        How much was removed, by `KINDS`: rows of ``verdicts/``, of ``latest.parquet``, of parts
        and of manifests, reports rendered again, answers of people, in feedback and in the review
        log, and their images.

    Raises:
        UsageError: that is not a sha256.
        OutputBusy: a scan uses the output.
        OutputError: a file cannot be read or written.
    """
    digest = sha256.strip().lower()
    if not _DIGEST.fullmatch(digest):
        raise UsageError(
            f"{sha256!r} is not a sha256; give the 64 hex digits of a verdict's sha256"
        )
    results = output if isinstance(output, Results) else Results(open_storage(output))
    with rewriting(results.storage, "an erasure", wait_seconds=wait_seconds, say=say):
        return _erase(results, digest, on_unread)


def _erase(results: Results, digest: str, on_unread: Callable[[str], None]) -> dict[str, int]:
    storage, counts = results.storage, Counter(dict.fromkeys(KINDS, 0))
    published = {PurePosixPath(path).stem: path for path in results.published()}
    names = sorted({*published, *storage.names("runs")})
    runs = [RunErasure(results, name, published.get(name), digest) for name in names]
    places = _places(runs, storage, digest)
    # Runs that name the image only in their manifest come first: they are found by the others.
    for run in sorted(runs, key=lambda run: run.names_image):
        counts.update(run.erase(places))
        for message in run.unread:
            on_unread(message)
    counts["latest"] = _erase_latest(results, digest)
    counts.update(_erase_feedback(storage, digest))
    counts["answers"] += ReviewLog(storage).erase(digest)
    for name in storage.names(ASIDE):
        # Nobody can say whether a damaged file holds the image.
        storage.delete(f"{ASIDE}/{name}")
    storage.sweep()
    return {kind: counts[kind] for kind in KINDS}


def _erase_latest(results: Results, digest: str) -> int:
    if not results.storage.exists(LATEST):
        return 0
    try:
        rows = _count(read_verdicts(results.storage, LATEST, ["sha256"]), digest)
    except DamagedFile:
        # It may hold the image, and is made again anyhow.
        results.rebuild_latest(on_damaged=_known)
        return 0
    if rows:
        results.rebuild_latest(on_damaged=_known)
    return rows


def _known(error: DamagedFile) -> None:
    """A damaged published file, of which the run it belongs to has told."""


def _places(runs: Sequence[RunErasure], storage: Storage, digest: str) -> set[Place]:
    """Where the image was found, by everything that is kept about it."""
    places = {place for run in runs for place in run.places()}
    if storage.exists(LATEST):
        try:
            rows = read_verdicts(storage, LATEST, ["source", "image", "etag", "sha256"])
            places.update(place_rows(rows.filter(pc.equal(rows["sha256"], digest))))
        except DamagedFile:
            # Its rows are in the published files, too.
            pass
    for entry in Feedback(storage).entries_of(digest):
        verdict = entry["verdict"]
        source, image = verdict.get("source"), verdict.get("image")
        if source and image:
            places.add((source, image, verdict.get("etag")))
    return places


def _count(rows: pa.Table, digest: str) -> int:
    return int(pc.sum(pc.equal(rows["sha256"], digest)).as_py() or 0)


def _erase_feedback(storage: Storage, digest: str) -> dict[str, int]:
    """Remove images, then the manifest's line, then the answers."""
    counts = {}
    for kind, folder in (("images", IMAGES), ("answers", ENTRIES)):
        names = [name for name in storage.names(folder) if name.startswith(digest)]
        for name in names:
            storage.delete(f"{folder}/{name}")
        counts[kind] = len(names)
        if names and kind == "images":
            Feedback(storage).write_manifest()
    return counts
