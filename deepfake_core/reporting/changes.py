"""Which labels changed between two models, two runs, or two pairs of thresholds."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypedDict

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from deepfake_core.errors import UsageError
from deepfake_core.records import Label
from deepfake_core.rendering.text import line_text
from deepfake_core.reporting.summary_record import (
    ChangeCount,
    ChangedImage,
    LabelChanges,
    Summary,
)
from deepfake_core.results.latest import newest
from deepfake_core.results.manifest import unskipped
from deepfake_core.results.schema import REDECIDED_KEY
from deepfake_core.results.store import Results
from deepfake_core.results.verdict_files import read_verdicts

IMAGES_SHOWN = 100
# What a run says of its source beside its counts.
OF_SOURCE = ("new", "backlog", "left", "gone", "renamed")
# What is shown of an image whose label changed.
COLUMNS = ("image", "before", "after", "score", "model_before")

# What is read of verdicts to compare them; the last three tell which is the newest.
READ = (
    *("source", "image", "sha256", "label", "score", "model_id"),
    *("failure", "run_started", "run_id"),
)


def flips(pairs: pa.Table, *, shown: int = IMAGES_SHOWN) -> LabelChanges:
    """Count the labels that changed, and name the images.

    Args:
        pairs: columns `COLUMNS`, one row per image that has a label before and after.
        shown: at most this many images are named, those called fake now first.
    """
    flipped = pairs.filter(pc.not_equal(pairs["before"], pairs["after"]))
    counted = flipped.group_by(["before", "after"]).aggregate([([], "count_all")]).to_pylist()
    counted.sort(key=lambda row: (-row["count_all"], row["before"], row["after"]))
    fake_now = pc.equal(flipped["after"], Label.FAKE).to_numpy()
    # From the side of the fakes the highest scores come first, in the rest the lowest.
    scores = flipped["score"].to_numpy()
    order = np.lexsort((np.where(fake_now, -scores, scores), ~fake_now))[:shown]
    images = flipped.select(COLUMNS).take(pa.array(order)).to_pylist()
    return LabelChanges(
        compared=pairs.num_rows,
        flipped=flipped.num_rows,
        by=[
            ChangeCount(before=row["before"], after=row["after"], images=row["count_all"])
            for row in counted
        ],
        images=[ChangedImage(**row) for row in images],
    )


def changes_of_run(rows: pa.Table, manifest: pa.Table) -> LabelChanges | None:
    """The labels of a run's rows that are not those which earlier runs gave the same content.

    Args:
        rows: the run's verdicts.
        manifest: the run's manifest, which keeps the labels from before.

    Returns:
        What `flips` gives and the models; None where nothing was judged before.
    """
    before = unskipped(manifest)
    before = before.filter(pc.is_valid(before["seen_label"]))
    now = rows.select(["image", "label", "score"]).replace_schema_metadata()
    both = now.filter(pc.is_valid(now["label"])).join(
        before.select(["image", "seen_label", "seen_model"]), "image", join_type="inner"
    )
    if not both.num_rows:
        return None
    columns = ("image", "seen_label", "label", "score", "seen_model")
    pairs = pa.table({name: both[column] for name, column in zip(COLUMNS, columns, strict=True)})
    counts = pc.value_counts(both["seen_model"]).to_pylist()
    models = {str(row["values"]): int(row["counts"]) for row in counts}
    changes = flips(pairs.sort_by("image"))
    changes.models = dict(sorted(models.items()))
    return changes


def left_of_changes(before: LabelChanges, rows: pa.Table) -> LabelChanges:
    """What a summary counted, without the images that have no row any more."""
    names = pa.array([image.image for image in before.images], pa.string())
    there = pc.is_in(names, rows["image"].combine_chunks()).to_pylist()
    kept = [changed for changed, is_there in zip(before.images, there, strict=True) if is_there]
    gone = Counter(
        (changed.before, changed.after)
        for changed, is_there in zip(before.images, there, strict=True)
        if not is_there
    )
    by = [
        count.model_copy(update={"images": count.images - gone[count.before, count.after]})
        for count in before.by
    ]
    return before.model_copy(
        update={
            "compared": before.compared - gone.total(),
            "flipped": before.flipped - gone.total(),
            "by": [count for count in by if count.images],
            "images": kept,
        }
    )


class MadeWith(TypedDict):
    """A model that judged, and its thresholds where they are known."""

    model_id: str
    thresholds: dict[str, float] | None


class SideFacts(TypedDict):
    """What one side of a comparison stands for: its name, its images, what judged them."""

    name: str
    images: int
    made_with: list[MadeWith]


@dataclass(frozen=True, slots=True)
class LabelComparison:
    """The labels of two runs, or of two models.

    Attributes:
        before: what the one side stands for.
        after: likewise the other.
        changes: what `flips` gives.
        other_content: how many images were judged by both with different bytes.
        only_before: how many images only the one judged.
        only_after: likewise the other.
    """

    before: SideFacts
    after: SideFacts
    changes: LabelChanges
    other_content: int
    only_before: int
    only_after: int

    def as_json(self) -> dict[str, object]:
        """As ``--json`` prints it."""
        return {
            "before": self.before,
            "after": self.after,
            **self.changes.as_json(),
            "other_content": self.other_content,
            "only_before": self.only_before,
            "only_after": self.only_after,
        }


def compare_labels(
    results: Results, before: str, after: str, *, shown: int = IMAGES_SHOWN
) -> LabelComparison:
    """Compare two runs or two models by what they published.

    Args:
        results: where they published.
        before: a run_id, or a model as ``name@version`` or with its hash; a model's newest
            verdict of each image counts.
        after: likewise.
        shown: at most this many images are named.

    Raises:
        UsageError: nothing was published under one of the names.
    """
    old, new = _Side(results, before), _Side(results, after)
    names = {"sha256": "sha256_before", "label": "before", "model_id": "model_before"}
    left = old.rows.select(["source", "image", *names]).rename_columns(names)
    right = new.rows.select(["source", "image", "sha256", "label", "score"])
    both = right.join(left, ["source", "image"], join_type="inner")
    same = both.filter(pc.equal(both["sha256"], both["sha256_before"]))
    same = same.rename_columns({"label": "after"})
    same = same.sort_by([("source", "ascending"), ("image", "ascending")])
    return LabelComparison(
        before=old.facts,
        after=new.facts,
        changes=flips(same, shown=shown),
        other_content=both.num_rows - same.num_rows,
        only_before=old.rows.num_rows - both.num_rows,
        only_after=new.rows.num_rows - both.num_rows,
    )


class _Side:
    """The judged images of a run or of a model, each once."""

    def __init__(self, results: Results, name: str) -> None:
        self._name, self._facts, tables = name, set[tuple[str, str]](), []
        published = results.published()
        own = [path for path in published if path.endswith(f"/{name}.parquet")]
        for path in own or published:
            table = read_verdicts(results.storage, path, list(READ))
            footer = table.schema.metadata
            if not own:
                # A model's labels are those by its own thresholds.
                again = REDECIDED_KEY in footer
                table = table.slice(0, 0) if again else table.filter(_is_model(table, name))
            if table.num_rows:
                thresholds = footer.get(b"deepfake.thresholds", b"").decode()
                models = table["model_id"].unique().to_pylist()
                self._facts |= {(model, thresholds) for model in models}
                tables.append(table.replace_schema_metadata())
        if not tables:
            raise UsageError(
                f"neither a run nor a model {name} has published verdicts in "
                f"{results.storage.name}; give a run_id, or a model as NAME@VERSION"
            )
        rows = pa.concat_tables(tables)
        self.rows = newest(rows.filter(pc.is_valid(rows["label"])))

    @property
    def facts(self) -> SideFacts:
        """What the verdicts were made with."""
        made: list[MadeWith] = [
            {"model_id": model, "thresholds": json.loads(thresholds) if thresholds else None}
            for model, thresholds in sorted(self._facts)
        ]
        return {"name": self._name, "images": self.rows.num_rows, "made_with": made}


def _is_model(table: pa.Table, name: str) -> pa.ChunkedArray:
    """Which rows a model judged, by its id or by its name and version."""
    whole = pc.equal(table["model_id"], name)
    return pc.or_(whole, pc.starts_with(table["model_id"], f"{name}+")) if "@" in name else whole


def in_words(summary: Summary) -> list[str]:
    """What is new in the source, what waits, and what is gone, in sentences."""
    counts = {name: getattr(summary, name) for name in OF_SOURCE}
    if not summary.redecided or not summary.thresholds:
        tags = [f"{summary.tags.words}."] if summary.tags else []
        return [*source_words(counts), *tags]
    now, before = summary.thresholds, summary.redecided.thresholds_before
    decided = (
        f"The labels were decided again from the scores of run {summary.redecided.origin}: "
        f"nothing found below {line_text(now.real_below)} (before: "
        f"{line_text(before.real_below)}), flagged from {line_text(now.fake_from)} (before: "
        f"{line_text(before.fake_from)}). No image was read."
    )
    return [decided, *source_words({**counts, "backlog": None})]


def source_words(counts: Mapping[str, int | None]) -> list[str]:
    """The same for the counts `OF_SOURCE`, of which some may be unknown."""
    sentences = []
    new, backlog, left, gone, renamed = (counts.get(name) or 0 for name in OF_SOURCE)
    if backlog:
        sentences.append(f"{new:,} of the images were new; {backlog:,} had been tried before.")
    if left:
        sentences.append(f"{left:,} wait for the next scan, new ones first.")
    if gone:
        sentences.append(
            f"{gone:,} images that were judged before are not listed any more; their "
            "last verdicts are kept."
        )
    if renamed:
        sentences.append(f"{renamed:,} new names have the content of such an image.")
    return sentences
