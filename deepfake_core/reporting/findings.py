"""What a run found, image by image: all that was flagged, by folder, and what files declare."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from deepfake_core.binomial import interval
from deepfake_core.models.figures import Figures
from deepfake_core.provenance.claims import BROKEN, FOREIGN, declared_generators, from_rows
from deepfake_core.provenance.generators import AI_SOURCES, NAMED
from deepfake_core.records import Label
from deepfake_core.rendering.evidence import strength
from deepfake_core.rendering.figure_names import set_name
from deepfake_core.rendering.text import percent
from deepfake_core.reporting.summary_record import DeclaredImage, FlaggedImage, FolderCount

# What a report can hold and a browser show; `deepfake export` has no such bound.
FLAGGED_SHOWN, FOLDERS_SHOWN, DECLARED_SHOWN = 10_000, 50, 500
_DECLARES = rf"^({FOREIGN}|{BROKEN})?({'|'.join((*sorted(AI_SOURCES), NAMED))})(:|$)"
# Sets of the card of at least so many fakes say something of a kind of fakes.
LEAST_FAKES = 50


def flagged_images(verdicts: pa.Table) -> list[FlaggedImage]:
    """All images that were flagged, the strongest first; at most 10,000."""
    columns = ["image", "score", "sha256"]
    flagged = verdicts.filter(pc.fill_null(pc.equal(verdicts["label"], Label.FAKE), False))
    order = np.argsort(-flagged["score"].to_numpy(), kind="stable")[:FLAGGED_SHOWN]
    return [
        FlaggedImage(strength=strength(row["score"], Label.FAKE), **row)
        for row in flagged.select(columns).take(pa.array(order)).to_pylist()
    ]


def by_folder(verdicts: pa.Table) -> list[FolderCount]:
    """Counts by the topmost folder, those with the most flags first; at most 50."""
    if not verdicts.num_rows:
        return []
    folders = pc.struct_field(pc.extract_regex(verdicts["image"], r"^(?P<folder>[^/]*)/"), "folder")
    labels = pc.fill_null(verdicts["label"], "failed")
    table = pa.table({"folder": pc.fill_null(folders, ""), "label": labels})
    counted = table.group_by(["folder", "label"]).aggregate([([], "count_all")])
    labels_of: dict[str, dict[str, int]] = {}
    for row in counted.to_pylist():
        labels_of.setdefault(row["folder"], {})[row["label"]] = row["count_all"]
    counts = [
        FolderCount(
            folder=folder,
            images=sum(of.values()),
            flagged=of.get(Label.FAKE, 0),
            uncertain=of.get(Label.UNCERTAIN, 0),
        )
        for folder, of in labels_of.items()
    ]
    counts.sort(key=lambda count: (-count.flagged, -count.uncertain, count.folder))
    return counts[:FOLDERS_SHOWN]


def declares_generated(verdicts: pa.Table) -> np.ndarray:
    """Which rows are of files that declare themselves generated.

    Args:
        verdicts: rows with their column `provenance`.

    Returns:
        bool[N]
    """
    declares = np.zeros(verdicts.num_rows, bool)
    claims = verdicts["provenance"].combine_chunks()
    rows = pc.list_parent_indices(claims)
    flat = pc.list_flatten(claims)
    kind, value = pc.struct_field(flat, "kind"), pc.struct_field(flat, "value")
    says = pc.or_(
        pc.equal(kind, "generator"),
        pc.and_(
            pc.is_in(kind, pa.array(["c2pa", "iptc"])), pc.match_substring_regex(value, _DECLARES)
        ),
    )
    declares[rows.to_numpy()[says.to_numpy(zero_copy_only=False)]] = True
    return declares


def declared_images(verdicts: pa.Table) -> tuple[int, list[DeclaredImage]]:
    """How many files declare themselves generated, and at most 500 of them.

    Those come first on which the model sees nothing: there the claim and the pixels disagree.
    """
    those = verdicts.filter(pa.array(declares_generated(verdicts)))
    ranks = {Label.REAL: 0, Label.NOT_APPLICABLE: 1, None: 2, Label.UNCERTAIN: 3, Label.FAKE: 4}
    labels = those["label"].to_pylist()
    order = np.argsort([ranks[label] for label in labels], kind="stable")[:DECLARED_SHOWN]
    chosen = those.select(["image", "label", "score", "provenance"]).take(pa.array(order))
    images = []
    for row in chosen.to_pylist():
        claims = from_rows(row["provenance"])
        broken = any(claim.verified is False for claim in claims if claim.says_generated)
        says = "; ".join(declared_generators(claims))
        images.append(
            DeclaredImage(
                image=row["image"], label=row["label"], score=row["score"], says=says, broken=broken
            )
        )
    return those.num_rows, images


def blind_spot(figures: Mapping[str, Figures]) -> str | None:
    """What the model sees least, in a sentence; None where the card says nothing of it.

    Args:
        figures: measurements by set of images, as a bundle has them.
    """
    misses = {
        name: (round((1 - measured["tpr_at_fake"]) * measured["fake"]), int(measured["fake"]))
        for name, measured in figures.items()
        if isinstance(measured, Mapping)
        and measured.get("tpr_at_fake") is not None
        and (measured.get("fake") or 0) >= LEAST_FAKES
    }
    if not misses:
        return None
    worst = max(misses, key=lambda name: misses[name][0] / misses[name][1])
    missed, of = misses[worst]
    low, high = interval(missed, of)
    return (
        "The model misses fakes: of those in the test set it did worst on, "
        f"“{set_name(worst)}”, about {round(100 * missed / of)} of 100 were not flagged "
        f"({percent(low)} to {percent(high)} "
        "in general). That nothing was found is not a finding that a picture is authentic."
    )


def link_to_original(source: str | None, image: str) -> str | None:
    """An address of an image that a browser opens; None where there is none.

    Args:
        source: of the scan, normalised.
        image: its path below the source.
    """
    if not source:
        return None
    if re.match(r"https?://", source):
        return f"{source.rstrip('/')}/{quote(image)}"
    # A name with a backslash escape is not the one on disk.
    if "://" in source or not Path(source).is_absolute() or "\\" in image:
        return None
    return (Path(source) / image).as_uri()
