"""What a run found, as numbers and as plain words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from deepfake_core.binomial import upper_end
from deepfake_core.errors import BrokenInvariant
from deepfake_core.models.decision import Thresholds
from deepfake_core.records import FailureCode, Label
from deepfake_core.rendering.evidence import mistaken_share
from deepfake_core.reporting.credentials import count_credentials
from deepfake_core.reporting.findings import by_folder, declared_images, flagged_images
from deepfake_core.reporting.input_profile import profile
from deepfake_core.reporting.prior import flag_worth
from deepfake_core.reporting.summary_record import (
    Expectation,
    FailedImage,
    FlagWorth,
    Histogram,
    LabelChanges,
    ShownImage,
    Summary,
)
from deepfake_core.results.run_record import Counts, RunRecord

ROWS_SHOWN, FAILED_SHOWN, BINS = 24, 200, 40
SHARES_OF_FAKES = (0.001, 0.01, 0.1, 0.5)
COUNTS = ("listed", "skipped", "judged", "not_applicable", "failed")
# Facts of run.json that the summary repeats, by their name there.
FACTS = (
    *("run_id", "run_date", "source", "finished", "model_id", "precision", "engine"),
    *("second_model_id", "second_look"),
    *("new", "backlog", "left", "gone", "renamed", "redecided", "thresholds", "temperature"),
    *("skipped_reasons", "unlisted_folders", "card", "known_flagged"),
    *("suspect", "canaries", "tags"),
)
COLUMNS_SHOWN = ("image", "score", "label", "width", "height", "format", "sha256", "faces")


def summarise(
    verdicts: pa.Table, *, run: RunRecord, changes: LabelChanges | None = None
) -> Summary:
    """Build the content of ``summary.json``.

    Args:
        verdicts: the run's rows, see `deepfake_core.results.schema`; may have none.
        run: the finished run; what it lacks is null or empty.
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
    declared, declared_shown = declared_images(verdicts)
    own_line = run.policy is None and run.redecided is None
    decided = sum(labels.values()) - labels[Label.NOT_APPLICABLE]
    if not counts.judged == decided == histogram.sum():
        raise BrokenInvariant(f"{counts.judged} judged, but labels {labels} or scores differ")
    return Summary(
        **{name: getattr(run, name) for name in FACTS},
        started=run.run_started,
        **counts.model_dump(),
        labels=labels,
        reasons=_tally(verdicts["reason"]),
        faces=_faces(verdicts),
        failures=failures,
        not_images=failures.get(FailureCode.DECODE_UNSUPPORTED, 0),
        histogram=Histogram(edges=edges.tolist(), counts=histogram.tolist()),
        highest=_rows(scored, np.lexsort((-scored["logit"].to_numpy(), -scores))),
        uncertain=_nearest(scored, run.thresholds),
        failed_images=_failed(verdicts),
        inputs=profile(verdicts, run.brightness),
        flagged=flagged_images(verdicts),
        folders=by_folder(verdicts),
        declared=declared,
        declared_images=declared_shown,
        credentials=count_credentials(verdicts, run.trust_list),
        timings=_timings(run, verdicts.num_rows),
        # With another line than the model's own, its figures say nothing of mistakes.
        expectations=expectations(run.card.figures) if own_line else [],
        flag_worth=_worth(run, labels, counts.judged) if own_line else None,
        changes=changes,
        warnings=run.warnings or [],
    )


def _counts(verdicts: pa.Table, run: RunRecord) -> Counts:
    """The run's counts, held against its rows."""
    counted, counts = count_rows(verdicts), run.counts
    judged, refused, failed = counted.judged, counted.not_applicable, counted.failed
    same = (counts.judged, counts.not_applicable, counts.failed) == (judged, refused, failed)
    if counts.listed != counts.accounted_for or not same:
        raise BrokenInvariant(
            f"run {run.run_id}: expected listed = judged + not applicable + failed + skipped, "
            f"found {counts!r} and rows of {judged} judged, {refused} not applicable and "
            f"{failed} failed images"
        )
    return counts


def count_rows(verdicts: pa.Table) -> Counts:
    """How many images were judged, were not applicable, and failed."""
    ok = int(pc.sum(pc.equal(verdicts["status"], "ok")).as_py() or 0)
    refused = int(pc.sum(pc.equal(verdicts["label"], Label.NOT_APPLICABLE)).as_py() or 0)
    return Counts(judged=ok - refused, not_applicable=refused, failed=verdicts.num_rows - ok)


def _faces(verdicts: pa.Table) -> dict[str, int]:
    """How many images show no face, one, a few, many; empty where whole pictures were judged."""
    faces = verdicts["faces_found"].drop_null().to_numpy()
    if not len(faces):
        return {}
    kinds = np.digitize(faces, [1, 2, 6])
    return {
        name: int((kinds == at).sum())
        for at, name in enumerate(("none", "one", "two to five", "more"))
    }


def _worth(run: RunRecord, labels: Mapping[str, int], judged: int) -> FlagWorth | None:
    """What a flag of the run is worth, by the share of fakes that was given or that it shows."""
    figures = run.card.figures.get("report")
    if not isinstance(figures, Mapping):
        return None
    prior = run.config.get("prior")
    return flag_worth(figures, prior=prior, flagged=labels[Label.FAKE], judged=judged)


def _tally(column: pa.ChunkedArray) -> dict[str, int]:
    """How often each value occurs, most frequent first; nulls do not count."""
    counted = pc.value_counts(column.drop_null()).to_pylist()
    ordered = sorted(counted, key=lambda pair: (-pair["counts"], pair["values"]))
    return {pair["values"]: pair["counts"] for pair in ordered}


def _rows(table: pa.Table, order: np.ndarray) -> list[ShownImage]:
    chosen = table.select(COLUMNS_SHOWN).take(pa.array(order[:ROWS_SHOWN]))
    return [ShownImage(**row) for row in chosen.to_pylist()]


def _nearest(scored: pa.Table, thresholds: Thresholds | None) -> list[ShownImage]:
    """The uncertain images, those that nearly were called fake first."""
    uncertain = scored.filter(pc.equal(scored["label"], Label.UNCERTAIN))
    fake_from = thresholds.fake_from if thresholds else 1.0
    distance = np.abs(uncertain["score"].to_numpy() - np.float32(fake_from))
    return _rows(uncertain, np.argsort(distance, kind="stable"))


def _failed(verdicts: pa.Table) -> list[FailedImage]:
    """The first failed images; files that are not images come last."""
    failed = verdicts.filter(pc.is_valid(verdicts["failure"]))
    no_image = pc.equal(failed["failure"], FailureCode.DECODE_UNSUPPORTED)
    order = np.argsort(no_image.to_numpy(), kind="stable")[:FAILED_SHOWN]
    rows = failed.select(["image", "failure", "detail"]).take(pa.array(order))
    return [FailedImage(**row) for row in rows.to_pylist()]


def _timings(run: RunRecord, rows: int) -> dict[str, float]:
    timings = dict(run.timings)
    if rows and timings.get("seconds"):
        timings["images_per_s"] = rows / timings["seconds"]
    return timings


def expectations(figures: Mapping[str, Any]) -> list[Expectation]:
    """How many flagged images would be real, for stated shares of fakes in the source.

    Where not one photograph was flagged in the test, the share of false alarms is at most what
    counting bears with 95 % confidence, and so is the result.

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
            fpr = upper_end(0, measured["real"]) if measured.get("real") else None
        if tpr is None or fpr is None:
            continue
        return [
            Expectation(
                share_of_fakes=share,
                flagged_real_share=mistaken_share(tpr, fpr, share),
                split=split,
                tpr=tpr,
                fpr=fpr,
                at_most=at_most,
            )
            for share in SHARES_OF_FAKES
        ]
    return []
