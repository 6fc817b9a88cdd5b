"""Metrics, calibration, thresholds and the comparison of precisions."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepfake_core.evaluation.metrics import (
    balanced_accuracy,
    expected_calibration_error,
    figures,
    threshold_curve,
    tpr_at_fpr,
)
from deepfake_core.models.decision import Calibration, Thresholds, calibrate, decide
from deepfake_core.ranking import auc
from deepfake_core.release.calibration import choose_thresholds, fit_calibration
from deepfake_core.resampling import resample_counts, resamples

RNG = np.random.default_rng(7)
CURVE = Calibration(temperature=1.0)
BAND = Thresholds(real_below=0.3, fake_from=0.7)


def two_classes(count: int = 400, gap: float = 2.0) -> tuple[np.ndarray, np.ndarray]:
    fake = np.arange(count) % 2 == 0
    logits = RNG.normal(np.where(fake, gap, -gap), 1.5).astype(np.float32)
    return logits, fake


@given(
    st.lists(st.tuples(st.integers(0, 9), st.booleans()), min_size=2, max_size=60).filter(
        lambda rows: len({fake for _, fake in rows}) == 2
    )
)
def test_auc_counts_pairs(rows: list[tuple[int, bool]]) -> None:
    scores = np.array([score for score, _ in rows], np.float32)
    fake = np.array([label for _, label in rows])
    differences = scores[fake][:, None] - scores[~fake][None, :]
    expected = ((differences > 0) + 0.5 * (differences == 0)).mean()
    assert auc(scores, fake) == pytest.approx(expected)


@given(st.floats(0, 0.5))
def test_tpr_keeps_the_false_alarms(fpr: float) -> None:
    logits, fake = two_classes()
    found = tpr_at_fpr(logits, fake, fpr)
    best = max(
        (logits[fake] > cut).mean()
        for cut in logits[~fake]
        if (logits[~fake] > cut).mean() <= fpr + 1e-9
    )
    assert found == pytest.approx(best)


def test_balanced_accuracy_ignores_class_sizes() -> None:
    fake = np.array([True] * 90 + [False] * 10)
    assert balanced_accuracy(np.ones(100, bool), fake) == 0.5


def test_calibration_error_of_true_and_of_overconfident_scores() -> None:
    truth = RNG.random(40_000).astype(np.float32)
    fake = RNG.random(40_000) < truth
    assert expected_calibration_error(truth, fake) < 0.02
    assert expected_calibration_error(np.where(truth > 0.5, 1.0, 0.0), fake) > 0.2


def test_calibration_finds_the_curve_that_made_the_labels() -> None:
    logits = RNG.normal(0.5, 4, 60_000).astype(np.float32)
    fake = RNG.random(60_000) < 1 / (1 + np.exp(-(logits - 0.7) / 2.5))
    even = RNG.random(60_000) < np.where(fake, (~fake).sum() / max(fake.sum(), 1), 1)
    curve = fit_calibration(logits[even], fake[even])
    assert curve.temperature == pytest.approx(2.5, rel=0.05)


@pytest.mark.parametrize(("spread", "middle"), [(1, 10), (50, 500), (1e-3, 0.5), (0.1, -20)])
def test_calibration_does_not_depend_on_unit_and_origin_of_the_logits(
    spread: float, middle: float
) -> None:
    fake = np.arange(400) % 2 == 0
    plain = RNG.normal(np.where(fake, 0.75, -0.75), 1)
    curve = fit_calibration(plain.astype(np.float32), fake)
    moved = fit_calibration((plain * spread + middle).astype(np.float32), fake)
    assert moved.temperature == pytest.approx(curve.temperature * spread, rel=0.01)
    assert moved.offset == pytest.approx(curve.offset * spread + middle, abs=0.02 * spread)


def test_reversed_labels_are_named() -> None:
    logits, fake = two_classes()
    with pytest.raises(ValueError, match="reversed"):
        fit_calibration(logits, ~fake)


@given(st.floats(0, 0.1), st.floats(0, 0.1), st.floats(0.2, 3))
def test_thresholds_keep_both_limits(max_fpr: float, max_miss: float, gap: float) -> None:
    logits, fake = two_classes(gap=gap)
    scores = calibrate(logits, CURVE)
    chosen = choose_thresholds(scores, fake, max_fpr=max_fpr, max_miss=max_miss)
    labels = np.array([str(label) for label in decide(scores, chosen)])
    assert (labels[~fake] == "fake").mean() <= max_fpr + 1e-9
    assert (labels[fake] == "real").mean() <= max_miss + 1e-9


def test_resamples_draw_whole_groups() -> None:
    groups = ["a", "b", "b", "c", "c", "c"]
    for rows in resamples(groups, count=50):
        counts = {
            name: [list(rows).count(i) for i in range(6) if groups[i] == name] for name in groups
        }
        assert all(len(set(found)) == 1 for found in counts.values())


def test_figures_lie_in_their_intervals() -> None:
    logits, fake = two_classes()
    scores = calibrate(logits, CURVE)
    found = figures(scores, decide(scores, BAND), fake, [str(i // 2) for i in range(len(fake))])
    assert found["images"] == len(fake) == found["real"] + found["fake"]
    for name, (low, high) in found["intervals"].items():
        assert low <= high
        if name != "ece":
            assert low - 1e-6 <= found[name] <= high + 1e-6


def test_figures_equal_the_plain_definitions_in_every_resample() -> None:
    logits, fake = two_classes(count=90, gap=0.6)
    # Ties, and groups of two to four.
    scores = np.round(calibrate(logits, CURVE), 1).astype(np.float32)
    groups = [str(row // 4 if row % 3 else row // 2) for row in range(len(fake))]
    labels = decide(scores, BAND)
    found = figures(scores, labels, fake, groups)
    counts = resample_counts(groups, count=20)
    for rows, drawn in zip(resamples(groups, count=20), counts, strict=True):
        np.testing.assert_array_equal(np.bincount(rows, minlength=len(fake)), drawn)
    called = np.array([str(label) for label in labels])
    expected = {
        "auc": auc(scores, fake),
        "tpr_at_1_percent_fpr": tpr_at_fpr(scores, fake, 0.01),
        "tpr_at_5_percent_fpr": tpr_at_fpr(scores, fake, 0.05),
        "balanced_accuracy": balanced_accuracy(scores >= 0.5, fake),
        "ece": expected_calibration_error(scores, fake),
        "brier": np.mean([((scores - fake)[rows] ** 2).mean() for rows in (fake, ~fake)]),
        "fpr_at_fake": (called[~fake] == "fake").mean(),
    }
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, abs=1e-4), name
    low, high = np.percentile(
        [auc(scores[rows], fake[rows]) for rows in resamples(groups)], [2.5, 97.5]
    )
    assert found["intervals"]["auc"] == pytest.approx([low, high], abs=1e-4)


def test_average_precision_sums_precision_over_recall() -> None:
    logits, fake = two_classes(count=300, gap=0.5)
    fake[:80] = True
    scores = np.round(calibrate(logits, CURVE), 1).astype(np.float32)
    expected, before = 0.0, 0.0
    for cut in sorted(set(scores.tolist()), reverse=True):
        recall, fpr = ((scores[rows] >= np.float32(cut)).mean() for rows in (fake, ~fake))
        expected += (recall - before) * recall / (recall + fpr) if recall + fpr else 0
        before = recall
    found = figures(scores, decide(scores, BAND), fake, [str(row) for row in range(len(fake))])
    assert found["average_precision"] == pytest.approx(expected, abs=1e-4)


def test_one_class_has_shares_and_no_auc() -> None:
    scores = np.linspace(0, 1, 50).astype(np.float32)
    for kind in (True, False):
        fake = np.full(50, kind)
        found = figures(scores, decide(scores, BAND), fake, [str(row) for row in range(50)])
        assert "auc" not in found
        assert sum(found["labels"].values()) == found["fake" if kind else "real"] == 50
        share = found["tpr_at_fake" if kind else "fpr_at_fake"]
        assert share == pytest.approx(found["labels"]["fake"] / 50)
        low, high = found["intervals"]["decided_share"]
        assert low < found["decided_share"] < high


def test_a_lone_group_has_no_interval() -> None:
    logits, fake = two_classes(count=20)
    scores = calibrate(logits, CURVE)
    found = figures(scores, decide(scores, BAND), fake, ["one"] * 20)
    assert set(found["intervals"].values()) == {None}


def test_the_curve_over_thresholds_is_that_of_the_labels():
    logits, fake = two_classes()
    scores = calibrate(logits, CURVE)
    curve = threshold_curve(scores, fake)
    at = curve["threshold"].index(BAND.fake_from)
    found = figures(scores, decide(scores, BAND), fake, [str(i) for i in range(len(fake))])
    assert curve["fpr"][at] == pytest.approx(found["fpr_at_fake"], abs=1e-4)
    assert curve["tpr"][at] == pytest.approx(found["tpr_at_fake"], abs=1e-4)
    assert curve["fpr"] == sorted(curve["fpr"], reverse=True)


def test_what_needs_a_class_that_is_missing_is_no_number() -> None:
    scores, fakes = np.array([0.2, 0.9], np.float32), np.array([True, True])
    assert math.isnan(balanced_accuracy(scores >= 0.5, fakes))
    assert math.isnan(balanced_accuracy(scores >= 0.5, ~fakes))
    assert math.isnan(tpr_at_fpr(scores, ~fakes, 0.05))
