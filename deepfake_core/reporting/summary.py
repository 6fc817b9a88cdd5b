"""What a run found, as numbers and as plain words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from deepfake_core.errors import BrokenInvariant
from deepfake_core.records import FailureCode, Json, Label

ROWS_SHOWN, FAILED_SHOWN, BINS = 24, 200, 40
SHARES_OF_FAKES = (0.001, 0.01, 0.1, 0.5)
COUNTS = ("listed", "skipped", "judged", "failed")
# Facts of run.json that the summary repeats, by their name there.
FACTS = (
    *("run_id", "run_date", "source", "finished", "model_id", "precision", "engine"),
    *("new", "backlog", "left", "gone", "renamed", "redecided"),
    "known_flagged",
)
COLUMNS_SHOWN = ("image", "score", "label", "width", "height", "format", "sha256")


def summarise(
    verdicts: pa.Table, *, run: Mapping[str, Any], changes: Mapping[str, Any] | None = None
) -> Json:
    """Build the content of ``summary.json``.

    Args:
        verdicts: the run's rows, see `deepfake_core.results.schema`; may have none.
        run: the content of ``run.json``; what it lacks is left out, null or empty.
        changes: the labels that are not as they were, see `deepfake_core.reporting.changes`.

    Raises:
        BrokenInvariant: the rows and the run's counts do not add up.
    """
    counts = _counts(verdicts, run)
    labels = {str(label): 0 for label in Label} | _tally(verdicts["label"])
    failures = _tally(verdicts["failure"])
    scored = verdicts.filter(pc.is_valid(verdicts["score"]))
    edges = np.linspace(0, 1, BINS + 1)
    scores = scored["score"].to_numpy()
    # Compared in float32, as scores are stored and labels decided.
    histogram, _ = np.histogram(scores, edges.astype(np.float32))
    if not counts["judged"] == sum(labels.values()) == histogram.sum():
        raise BrokenInvariant(f"{counts['judged']} judged, but labels {labels} or scores differ")
    thresholds, card = run.get("thresholds"), dict(run.get("card") or {})
    return {
        **{name: run.get(name) for name in FACTS},
        "started": run.get("run_started"),
        "thresholds": thresholds,
        "temperature": run.get("temperature"),
        **counts,
        "labels": labels,
        "failures": failures,
        "skipped_reasons": dict(run.get("skipped_reasons") or {}),
        "unlisted_folders": list(run.get("unlisted_folders") or []),
        "not_images": failures.get(FailureCode.DECODE_UNSUPPORTED, 0),
        "histogram": {"edges": edges.tolist(), "counts": histogram.tolist()},
        "highest": _rows(scored, np.lexsort((-scored["logit"].to_numpy(), -scores))),
        "uncertain": _nearest(scored, thresholds),
        "failed_images": _failed(verdicts),
        "timings": _timings(run, verdicts.num_rows),
        "expectations": expectations(card.get("figures") or {}),
        "card": card,
        "changes": changes,
        "warnings": list(run.get("warnings") or []),
    }


def _counts(verdicts: pa.Table, run: Mapping[str, Any]) -> dict[str, int]:
    """The run's counts, held against its rows."""
    judged = int(pc.sum(pc.equal(verdicts["status"], "ok")).as_py() or 0)
    found = {"judged": judged, "failed": verdicts.num_rows - judged, "skipped": 0}
    counts: dict[str, int] = {"listed": verdicts.num_rows, **found} | dict(run.get("counts") or {})
    parts = counts["judged"] + counts["failed"] + counts["skipped"]
    rows = (counts["judged"], counts["failed"]) == (found["judged"], found["failed"])
    if counts["listed"] != parts or not rows:
        raise BrokenInvariant(
            f"run {run.get('run_id')}: expected listed = judged + failed + skipped, found {counts}"
            f" and rows of {found['judged']} judged and {found['failed']} failed images"
        )
    return {name: counts[name] for name in COUNTS}


def _tally(column: pa.ChunkedArray) -> dict[str, int]:
    """How often each value occurs, most frequent first; nulls do not count."""
    counted = pc.value_counts(column.drop_null()).to_pylist()
    ordered = sorted(counted, key=lambda pair: (-pair["counts"], pair["values"]))
    return {pair["values"]: pair["counts"] for pair in ordered}


def _rows(table: pa.Table, order: np.ndarray) -> list[Json]:
    chosen = table.select(COLUMNS_SHOWN).take(pa.array(order[:ROWS_SHOWN]))
    return list(chosen.to_pylist())


def _nearest(scored: pa.Table, thresholds: Mapping[str, float] | None) -> list[Json]:
    """The uncertain images, those that nearly were called fake first."""
    uncertain = scored.filter(pc.equal(scored["label"], Label.UNCERTAIN))
    fake_from = thresholds["fake_from"] if thresholds else 1.0
    distance = np.abs(uncertain["score"].to_numpy() - np.float32(fake_from))
    return _rows(uncertain, np.argsort(distance, kind="stable"))


def _failed(verdicts: pa.Table) -> list[Json]:
    """The first failed images; what is no image at all comes last."""
    failed = verdicts.filter(pc.is_valid(verdicts["failure"]))
    no_image = pc.equal(failed["failure"], FailureCode.DECODE_UNSUPPORTED)
    order = np.argsort(no_image.to_numpy(), kind="stable")[:FAILED_SHOWN]
    rows = failed.select(["image", "failure", "detail"]).take(pa.array(order))
    return list(rows.to_pylist())


def _timings(run: Mapping[str, Any], rows: int) -> dict[str, float]:
    timings = {name: float(value) for name, value in dict(run.get("timings") or {}).items()}
    if rows and timings.get("seconds"):
        timings["images_per_s"] = rows / timings["seconds"]
    return timings


def expectations(figures: Mapping[str, Any]) -> list[Json]:
    """How many flagged images would be real, for stated shares of fakes in the source.

    By Bayes' rule FPR (1 - p) / (FPR (1 - p) + TPR p). Where not one real image was flagged in
    the test, FPR is at most 3 / n with 95 % confidence (the rule of three), and so is the result.

    Args:
        figures: measurements by split; that of ``report`` is used, or else the first usable.

    Returns:
        One entry per share; empty where the figures do not say enough.
    """
    for split in sorted(figures, key=lambda name: name != "report"):
        measured = figures[split] if isinstance(figures[split], Mapping) else {}
        tpr, fpr = measured.get("tpr_at_fake"), measured.get("fpr_at_fake")
        at_most = fpr == 0
        if at_most:
            fpr = min(1.0, 3 / measured["real"]) if measured.get("real") else None
        if tpr is None or fpr is None:
            continue
        shares = np.array(SHARES_OF_FAKES)
        flagged_real = fpr * (1 - shares) / (fpr * (1 - shares) + tpr * shares)
        basis = {"split": split, "tpr": tpr, "fpr": fpr, "at_most": at_most}
        return [
            {"share_of_fakes": share, "flagged_real_share": real, **basis}
            for share, real in zip(shares.tolist(), flagged_real.tolist(), strict=True)
        ]
    return []
