"""Metrics, calibration, thresholds and the comparison of precisions."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepfake_core.calibration import choose_thresholds, fit_calibration
from deepfake_core.decision import Calibration, Thresholds, calibrate, decide
from deepfake_core.metrics import (
    auc,
    balanced_accuracy,
    expected_calibration_error,
    figures,
    resamples,
    tpr_at_fpr,
)
from deepfake_core.qualification import Reference, compare

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


def test_the_same_logits_qualify_and_shifted_ones_do_not() -> None:
    logits, fake = two_classes()
    reference = Reference(logits, fake, [str(i) for i in range(len(fake))], logits[:50])
    same = compare(reference, logits, logits[:50], CURVE, BAND)
    assert same["qualified"]
    assert same["flips"] == same["labels_changed"] == 0
    noisy = logits + RNG.normal(0, 3, len(logits)).astype(np.float32)
    worse = compare(reference, noisy, noisy[:50], CURVE, BAND)
    assert not worse["qualified"]
    assert worse["flips"] > 0
