"""The report of the data checks: one HTML file that needs nothing else, and its facts."""

from __future__ import annotations

import base64
import contextlib
import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from deepfake_core.datasets.checks.charts import audit_chart, histogram_charts
from deepfake_core.datasets.checks.document import DuplicateFacts, SetFacts
from deepfake_core.datasets.checks.inspection import Inspection
from deepfake_core.datasets.checks.sets import shown
from deepfake_core.datasets.checks.shortcuts import MIN_JUDGED
from deepfake_core.images.thumbnails import thumbnail
from deepfake_core.rendering.html import template
from deepfake_core.storage.local import STAGING
from deepfake_core.storage.opening import open_storage

PAGE, FACTS = "dataset.html", "dataset.json"
THUMBNAIL_SIDE = 112
SHOWN_SETS, SHOWN_DUPLICATES, SHOWN_MEMBERS, SHOWN_UNREADABLE = 12, 24, 4, 200
KINDS = {
    "size": "size in pixels",
    "format": "format",
    "chroma_subsampling": "chroma subsampling",
    "metadata": "EXIF or other metadata",
}


def render(inspection: Inspection, folder: str | Path) -> str:
    """Write ``dataset.html`` and ``dataset.json``.

    Args:
        inspection: what was found.
        folder: where to, a local folder or a URL.

    Returns:
        The address of the HTML file.
    """
    storage = open_storage(str(folder))
    storage.put(FACTS, json.dumps(inspection.facts, indent=1).encode())
    storage.put(PAGE, page(inspection).encode())
    if storage.is_local:
        with contextlib.suppress(OSError):  # others may be writing there
            Path(storage.address(STAGING)).rmdir()
    return storage.address(PAGE)


def page(inspection: Inspection) -> str:
    """The report as HTML that loads nothing from anywhere and runs no script."""
    facts = inspection.facts
    sets = dict(list(facts["sets"].items())[:SHOWN_SETS])
    # Those that crossed splits matter most.
    duplicates = sorted(facts["duplicates"], key=lambda duplicate: not duplicate["across"])[
        :SHOWN_DUPLICATES
    ]
    text = template("dataset.html.j2").render(
        facts=facts,
        problems=inspection.problems,
        warnings=inspection.warnings,
        reasons=inspection.shortcut_reasons,
        headline=_headline(inspection),
        sets=[
            _view(name, described, facts["max_shortcut_auc"]) for name, described in sets.items()
        ],
        largest=max((sum(described["counts"].values()) for described in sets.values()), default=1)
        or 1,
        duplicates=duplicates,
        shown_members=SHOWN_MEMBERS,
        excluded=list(facts["excluded"].items())[:SHOWN_UNREADABLE],
        pictures=_pictures(inspection.root, _shown_images(sets, duplicates)),
        kinds=KINDS,
        min_judged=MIN_JUDGED,
    )
    # Bytes of a file name that are not UTF-8 must not break the write.
    return text.encode("utf-8", "replace").decode()


def _headline(inspection: Inspection) -> str:
    if inspection.problems:
        return "This folder cannot be learned from as it is"
    if inspection.shortcut_reasons:
        return "A model would learn the files here, not the faces"
    if inspection.warnings:
        return "Fit to learn from, with remarks"
    return "Fit to learn from"


def _view(name: str, described: SetFacts, limit: float) -> dict[str, object]:
    """What the template needs of one set."""
    return {
        **described,
        "name": shown(name),
        "audit": audit_chart(described["shortcuts"], limit) if described["shortcuts"] else None,
        "charts": histogram_charts(described["histograms"]),
        "tripped": any(shortcut["low"] > limit for shortcut in described["shortcuts"].values()),
    }


def _shown_images(sets: Mapping[str, SetFacts], duplicates: Sequence[DuplicateFacts]) -> list[str]:
    samples = [
        name
        for described in sets.values()
        for some in described["samples"].values()
        for name in some
    ]
    alike = [name for duplicate in duplicates for name in duplicate["images"][:SHOWN_MEMBERS]]
    return sorted({*samples, *alike})


def _pictures(root: Path, names: Sequence[str]) -> dict[str, str]:
    """Thumbnails as data URLs by name; what can no longer be read is left out."""

    def picture(name: str) -> str | None:
        try:
            small = thumbnail((root / name).read_bytes(), side=THUMBNAIL_SIDE)
        except OSError:
            return None
        return "data:image/jpeg;base64," + base64.b64encode(small).decode() if small else None

    with ThreadPoolExecutor() as threads:
        pictures = zip(names, threads.map(picture, names), strict=True)
        return {name: url for name, url in pictures if url}
