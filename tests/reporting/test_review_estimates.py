"""Estimates from a reviewed share hold the truth as often as they promise."""

import hashlib
import random

import pytest

from deepfake_core.records import Label
from deepfake_core.reporting import review_estimates
from deepfake_core.reporting.review_estimates import Estimates, random_order
from deepfake_core.results.review_log import Standing


def digests(prefix: str, count: int) -> list[str]:
    return [hashlib.sha256(f"{prefix}{number}".encode()).hexdigest() for number in range(count)]


def reviewed(truth: dict[str, str], shown: list[str]) -> dict[str, Standing]:
    return {sha256: Standing(truth[sha256], ()) for sha256 in shown}


def estimate(
    by_label: dict[str, list[str]], decided: dict[str, Standing], *, run_id: str
) -> Estimates:
    ordered = {label: random_order(those, run_id) for label, those in by_label.items()}
    return review_estimates.estimate(ordered, decided)


def test_intervals_hold_the_truth_in_most_of_a_thousand_runs():
    rng = random.Random(3)
    held = {"precision": 0, "prevalence": 0, "missed": 0}
    for number in range(1000):
        by_label = {
            Label.FAKE: digests(f"f{number}", 60),
            Label.UNCERTAIN: digests(f"u{number}", 40),
            Label.REAL: digests(f"r{number}", 300),
        }
        shares = {Label.FAKE: 0.7, Label.UNCERTAIN: 0.3, Label.REAL: 0.02}
        truth = {
            sha256: "fake" if rng.random() < shares[label] else "real"
            for label, those in by_label.items()
            for sha256 in those
        }
        shown = [
            sha256
            for label, count in ((Label.FAKE, 20), (Label.UNCERTAIN, 15), (Label.REAL, 60))
            for sha256 in random_order(by_label[label], "run")[:count]
        ]
        found = estimate(by_label, reviewed(truth, shown), run_id="run")
        true = {
            "precision": [truth[sha256] for sha256 in by_label[Label.FAKE]],
            "prevalence": list(truth.values()),
            "missed": [truth[sha256] for sha256 in by_label[Label.REAL]],
        }
        for name, all_of_it in true.items():
            share = getattr(found, name)
            held[name] += share.low <= all_of_it.count("fake") / len(all_of_it) <= share.high
    assert min(held.values()) >= 950, held


def test_what_was_chosen_by_score_does_not_count():
    flagged = digests("f", 50)
    order = random_order(flagged, "run")
    everything_but_the_first = reviewed(dict.fromkeys(order, "fake"), order[1:])
    found = estimate({Label.FAKE: flagged}, everything_but_the_first, run_id="run")
    assert (found.precision.best, found.precision.reviewed) == (None, 0)
    assert (found.precision.low, found.precision.high) == (0, 1)
    whole = estimate(
        {Label.FAKE: flagged}, reviewed(dict.fromkeys(order, "fake"), order), run_id="run"
    )
    assert whole.precision.best == 1
    assert whole.precision.low < 1


def test_the_order_is_another_in_another_run_and_knows_no_duplicates():
    those = digests("x", 30)
    assert random_order(those, "a") == random_order(those[::-1] + those, "a")
    assert random_order(those, "a") != random_order(those, "b")


def test_a_dispute_widens_the_interval_to_both_sides():
    flagged = digests("f", 10)
    order = random_order(flagged, "run")
    clear = estimate(
        {Label.FAKE: flagged}, reviewed(dict.fromkeys(order, "fake"), order), run_id="run"
    )
    truth = dict.fromkeys(order, "fake") | {order[0]: "disputed", order[1]: "unsure"}
    open_ones = estimate({Label.FAKE: flagged}, reviewed(truth, order), run_id="run")
    assert open_ones.precision.low < clear.precision.low
    assert open_ones.precision.high == clear.precision.high == 1
    assert open_ones.precision.best == pytest.approx(0.9)


def test_a_run_without_pictures_or_reviews_says_nothing():
    for by_label in ({}, {Label.REAL: digests("r", 3)}):
        found = estimate(by_label, {}, run_id="run")
        assert isinstance(found, Estimates)
        assert (found.prevalence.low, found.prevalence.best, found.prevalence.high) == (0, None, 1)
