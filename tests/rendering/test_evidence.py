"""The words for people: their bounds, what nobody may read, intervals that are never a point."""

import math
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deepfake_core.records import Label
from deepfake_core.rendering.evidence import (
    BOUNDS,
    LABEL_WORDS,
    SCALE,
    Strength,
    at_prior,
    label_words,
    likelihood_ratio,
    mistaken_share,
    of_hundred,
    strength,
    strengths,
)
from deepfake_core.rendering.figure_intervals import figure_interval
from deepfake_core.rendering.text import line_text, percent, score_text, share_text

LAWS = settings(max_examples=200, deadline=None, derandomize=True)
SHARES = st.floats(0.001, 0.999)


@LAWS
@given(scores=st.lists(st.floats(0, 1, width=32), min_size=1, max_size=20), prior=SHARES)
def test_the_words_grow_stronger_with_the_score(scores: list[float], prior: float):
    found = strengths(np.sort(np.float32(scores)), prior=prior)
    ranks = [list(Strength).index(word) for word in found]
    assert ranks == sorted(ranks)
    assert len(found) == len(scores)


@pytest.mark.parametrize("word", BOUNDS)
def test_a_word_begins_at_its_stated_ratio(word: Strength):
    ratio = BOUNDS[word]
    below = list(Strength)[list(Strength).index(word) - 1]
    assert strength((ratio * 1.0001) / (1 + ratio * 1.0001)) is word
    assert strength((ratio * 0.9999) / (1 + ratio * 0.9999)) is below
    assert f"{ratio:,.0f}" in SCALE
    assert word in SCALE


@LAWS
@given(score=SHARES, prior=SHARES, other=SHARES)
def test_the_strength_does_not_depend_on_how_common_fakes_were_in_calibration(
    score: float, prior: float, other: float
):
    moved = at_prior(score, other, calibrated_for=prior)
    ratio = likelihood_ratio(score, prior=prior)
    assert likelihood_ratio(moved, prior=other) == pytest.approx(float(ratio), rel=1e-6)
    assert at_prior(score, prior, calibrated_for=prior) == pytest.approx(score)


def test_the_ends_of_the_scale_have_words():
    assert strengths([0.0, 1.0]) == [Strength.NONE, Strength.VERY_STRONG]
    assert at_prior(1.0, 0.001) == 1.0
    assert at_prior(0.0, 0.999) == 0.0
    assert at_prior(0.3, 1.0) == 1.0


def test_what_is_flagged_never_reads_none_found():
    assert strength(0.3) is Strength.NONE
    assert strength(0.3, Label.FAKE) is Strength.WEAK
    assert strength(0.999, Label.FAKE) is Strength.STRONG


def test_nobody_reads_that_a_picture_is_real():
    for label in [*Label, None]:
        assert not re.search(r"\breal\b|photograph|authentic", label_words(label))
    assert set(Label) <= set(LABEL_WORDS)


@LAWS
@given(found=SHARES, alarms=SHARES, prior=SHARES)
def test_flags_are_mistaken_by_the_rule_of_bayes(found: float, alarms: float, prior: float):
    share = mistaken_share(found, alarms, prior)
    ratio = (1 - share) / share
    assert math.isclose(ratio, found / alarms * prior / (1 - prior), rel_tol=1e-6)
    assert mistaken_share(found, alarms, prior / 2) >= share


def test_a_share_of_flags_is_a_count_of_a_hundred():
    assert [of_hundred(share) for share in (0, 0.001, 0.5, 0.998, 1)] == [
        "about 0", "fewer than 1", "about 50", "more than 99", "about 100",
    ]  # fmt: skip
    assert mistaken_share(0, 0, 0.5) == 0


@LAWS
@given(trials=st.integers(1, 5000), data=st.data())
def test_a_counted_share_is_told_with_an_interval_that_is_no_point(
    trials: int, data: st.DataObject
):
    count = data.draw(st.integers(0, trials))
    text = share_text(count, trials)
    low, high = re.search(r"\((.+) to (.+)\)$", text).groups()  # type: ignore[union-attr]
    assert low != high or trials > 1000
    assert (low == "0 %") == (count == 0)
    assert (high == "100 %") == (count == trials)


def test_none_of_some_is_no_certainty():
    assert share_text(0, 185) == "0 of 185: 0 % (0 % to 2 %)"
    assert share_text(0, 0) == "0 of 0: unknown"


def test_an_interval_of_a_figure_is_never_narrower_than_counting_allows():
    found = {"fpr_at_fake": 0.0, "real": 185, "auc": 0.9, "tpr_at_fake": 0.5, "fake": 400}
    found["intervals"] = {"fpr_at_fake": [0.0, 0.0], "auc": [0.88, 0.92], "tpr_at_fake": [0.3, 0.7]}
    assert figure_interval(found, "fpr_at_fake") == pytest.approx((0, 0.01974), abs=1e-5)
    assert figure_interval(found, "auc") == (0.88, 0.92)
    assert figure_interval(found, "tpr_at_fake") == (0.3, 0.7)
    assert figure_interval(found, "ece") is None
    assert figure_interval({"fpr_at_fake": 0.0}, "fpr_at_fake") is None


@LAWS
@given(threshold=st.floats(0.0011, 0.9989), score=st.floats(0, 1, width=32))
def test_a_score_below_a_line_is_never_shown_as_reaching_it(threshold: float, score: float):
    shown, line = float(score_text(score)), float(line_text(threshold))
    if score < threshold - 1e-6:
        assert shown < line
    else:
        assert shown >= line - 0.0011


def test_shares_that_are_not_none_never_read_none():
    assert percent(1e-9) == "under 0.1 %"
