"""What people say of verdicts: a label for a hash; the image only with their consent.

Below the output:

    feedback/entries/<sha256>-<time>-<random>.json   one answer, never changed
    feedback/images/<sha256>.<format>                an image that was given with consent
    feedback/manifest.csv                            these images with their labels
"""

from __future__ import annotations

import csv
import datetime as dt
import hashlib
import io
import json
import re
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypedDict, cast

import pyarrow.compute as pc

from deepfake_core.errors import UsageError
from deepfake_core.images.decoding import load
from deepfake_core.records import Failure, Label
from deepfake_core.results.layout import published_name
from deepfake_core.results.run_ids import is_run_id
from deepfake_core.results.schema import COLUMNS
from deepfake_core.results.store import Results
from deepfake_core.results.verdict_files import read_verdicts
from deepfake_core.results.verdict_row import VerdictRow
from deepfake_core.storage.base import Storage
from deepfake_core.storage.opening import open_storage
from deepfake_core.storage.reading import read_or_failure

ENTRIES, IMAGES, FEEDBACK_FILE = "feedback/entries", "feedback/images", "feedback/manifest.csv"
MANIFEST_COLUMNS = ("path", "label", "group_id", "source")
LABELS = (Label.REAL, Label.FAKE)
MAX_TEXT_CHARACTERS = 1_000
_DIGEST = re.compile(r"[0-9a-f]{64}")
_ENTRY = re.compile(r"(?P<sha256>[0-9a-f]{64})-\d{8}T\d{12}Z-[0-9a-f]{8}\.json")


class Answer(TypedDict):
    """What a person said of a verdict.

    Attributes:
        sha256: of the image, hexadecimal.
        correct: what it is, ``real`` or ``fake``.
        stored: when, ISO 8601, UTC.
        consent: whether the image was given, too.
        verdict: the verdict's columns.
    """

    sha256: str
    correct: str
    stored: str
    consent: bool
    verdict: VerdictRow


class Feedback:
    """The answers below an output; what is stored is only ever added to, or erased."""

    def __init__(self, storage: Storage) -> None:
        """Wrap the output's storage, the same that verdicts are in."""
        self.storage = storage

    def store(
        self,
        verdict: Mapping[str, object],
        *,
        correct: Label,
        image: bytes | None = None,
        consent: bool = False,
    ) -> str:
        """Keep what a person says of a verdict.

        Args:
            verdict: a verdict's columns; of others nothing is kept. Its ``sha256`` is needed.
            correct: what the person says the image is, ``real`` or ``fake``.
            image: the bytes that were judged.
            consent: whether the person agreed, in so many words, that the image is kept; without
                it the image is not looked at.

        Returns:
            The path of the entry below the output.

        Raises:
            UsageError: there is no hash or no label, or the image is not the one judged.
            OutputError: it cannot be written.
        """
        sha256 = str(verdict.get("sha256") or "")
        if not _DIGEST.fullmatch(sha256):
            raise UsageError("the verdict has no sha256: an image that was never read has none")
        if correct not in LABELS:
            raise UsageError(f"{str(correct)!r} is not an answer; say real or fake")
        now = dt.datetime.now(dt.UTC)
        entry: Answer = {
            "sha256": sha256,
            "correct": str(correct),
            "stored": now.isoformat(timespec="microseconds"),
            "consent": consent and image is not None,
            "verdict": _columns(verdict),
        }
        if consent and image is not None:
            self._keep(sha256, image)
        path = f"{ENTRIES}/{sha256}-{now:%Y%m%dT%H%M%S%f}Z-{secrets.token_hex(4)}.json"
        self.storage.put(path, json.dumps(entry, indent=1).encode())
        if entry["consent"]:
            self.write_manifest()
        return path

    def entries(self) -> list[Answer]:
        """All answers, oldest first; files that are not entries are left out."""
        names = [name for name in self.storage.names(ENTRIES) if _ENTRY.fullmatch(name)]
        entries = [json.loads(self.storage.read(f"{ENTRIES}/{name}")) for name in names]
        return sorted(entries, key=lambda entry: entry["stored"])

    def entries_of(self, sha256: str) -> list[Answer]:
        """The answers on one image."""
        names = [name for name in self.storage.names(ENTRIES) if name.startswith(f"{sha256}-")]
        return [json.loads(self.storage.read(f"{ENTRIES}/{name}")) for name in names]

    def write_manifest(self) -> int:
        """Write ``feedback/manifest.csv`` from entries and kept images; returns its rows.

        It is made from all of them each time, so that two writers at once lose nothing: the one
        that writes last has seen both entries, or the next answer puts it right.
        """
        answers = {entry["sha256"]: entry["correct"] for entry in self.entries()}
        rows = [
            (f"images/{name}", answers[name.partition(".")[0]], name.partition(".")[0], "feedback")
            for name in self.storage.names(IMAGES)
            if name.partition(".")[0] in answers
        ]
        self.storage.put(FEEDBACK_FILE, _csv(rows))
        return len(rows)

    def _keep(self, sha256: str, image: bytes) -> None:
        if hashlib.sha256(image).hexdigest() != sha256:
            raise UsageError("the image is not the one that was judged: its sha256 differs")
        self.storage.put(f"{IMAGES}/{sha256}.{_suffix(image)}", image)


def gather(output: str, folder: Path) -> dict[str, int]:
    """Make a labelled folder of what people said, to hold a new model against.

    Images that were given with consent are copied from the output. Images of a scan are read
    again at their source, and used if their hash is still the same. Of several answers on one
    image the newest counts.

    Args:
        output: where verdicts and feedback are.
        folder: where ``manifest.csv`` and the images are written, for
            `deepfake_core.datasets.labelled.read_labelled`; temporary, since it holds images.

    Returns:
        Counts: ``answers`` (images with one), ``given``, ``read_again``, ``missing``.
    """
    storage = open_storage(output)
    kept = {name.partition(".")[0]: name for name in storage.names(IMAGES)}
    newest = {entry["sha256"]: entry for entry in Feedback(storage).entries()}
    counts = {"answers": len(newest), "given": 0, "read_again": 0, "missing": 0}
    rows = []
    (folder / "images").mkdir(parents=True, exist_ok=True)
    for sha256, entry in newest.items():
        if sha256 in kept:
            name, data = kept[sha256], storage.read(f"{IMAGES}/{kept[sha256]}")
            counts["given"] += 1
        elif (content := _at_source(storage, entry["verdict"], sha256)) is not None:
            name, data = f"{sha256}.{_suffix(content)}", content
            counts["read_again"] += 1
        else:
            counts["missing"] += 1
            continue
        (folder / "images" / name).write_bytes(data)
        rows.append((f"images/{name}", entry["correct"], sha256, "feedback"))
    (folder / "manifest.csv").write_bytes(_csv(rows))
    return counts


def _at_source(output: Storage, verdict: Mapping[str, object], sha256: str) -> bytes | None:
    """The bytes of a scanned image, if they can still be read and are the same.

    Only what a finished run published is read: an entry alone must not name a path.
    """
    run_id, image = str(verdict.get("run_id")), verdict.get("image")
    if not is_run_id(run_id):
        return None
    results = Results(output)
    run = results.get_run(run_id)
    if run is None or run.state != "done":
        return None
    path = published_name(run.run_date, run_id)
    if not output.exists(path):
        return None
    rows = read_verdicts(output, path, ["image", "sha256"])
    same = pc.and_(pc.equal(rows["image"], image), pc.equal(rows["sha256"], sha256))
    if not rows.filter(pc.fill_null(same, False)).num_rows:
        return None
    content, _ = read_or_failure(open_storage(run.source), str(image), pause=lambda _: None)
    if isinstance(content, Failure) or hashlib.sha256(content).hexdigest() != sha256:
        return None
    return content


def _columns(verdict: Mapping[str, object]) -> VerdictRow:
    """The columns of the verdict table, with texts of a length that is bounded."""
    kept: dict[str, object] = {name: verdict.get(name) for name, *_ in COLUMNS}
    for name, value in kept.items():
        if not isinstance(value, int | float | None):
            kept[name] = str(value)[:MAX_TEXT_CHARACTERS]
    return cast(VerdictRow, kept)


def _suffix(image: bytes) -> str:
    """A suffix by the content; ``bin`` for what is not an image."""
    loaded = load(image, size=8)
    return "bin" if isinstance(loaded, Failure) else loaded.format.lower()


def _csv(rows: Sequence[tuple[str, ...]]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([MANIFEST_COLUMNS, *sorted(rows)])
    return text.getvalue().encode()
