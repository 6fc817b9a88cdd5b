"""What a flag is worth, by the share of fakes that was given or that a run shows."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deepfake_core.reporting.markdown import markdown
from deepfake_core.reporting.prior import LEAST_JUDGED, flag_worth, worth_words
from deepfake_core.reporting.report import render
from deepfake_core.reporting.summary import summarise
from tests.reporting.test_findings import table
from tests.support.published import row
from tests.support.runs import a_run

LAWS = settings(max_examples=200, deadline=None, derandomize=True)


def figures(found: float = 0.8, alarms: float = 0.01, count: int = 1000) -> dict[str, Any]:
    bounds = {
        name: [value, value] for name, value in (("tpr_at_fake", found), ("fpr_at_fake", alarms))
    }
    return {"tpr_at_fake": found, "fpr_at_fake": alarms, "real": count, "fake": count,
            "intervals": bounds}  # fmt: skip


@LAWS
@given(
    found=st.floats(0.3, 1),
    alarms=st.floats(0, 0.2),
    prior=st.floats(0.001, 0.9),
    count=st.integers(50, 5000),
)
def test_the_estimate_lies_in_its_interval(found: float, alarms: float, prior: float, count: int):
    worth = flag_worth(figures(found, alarms, count), prior=prior, flagged=0, judged=0)
    assert worth is not None
    assert 0 <= worth.low <= worth.best + 1e-9 <= worth.high + 2e-9 <= 1 + 2e-9
    assert worth.low < worth.high


def test_a_given_share_follows_the_rule_of_bayes():
    worth = flag_worth(figures(), prior=0.01, flagged=5, judged=10)
    assert worth is not None
    assert worth.best == pytest.approx(0.0099 / (0.0099 + 0.008))
    assert worth_words(worth).startswith(
        "If 1 % of the pictures are fake, as was said (--prior), about 55 of 100 such flags are "
    )


def test_an_estimated_share_finds_the_truth_of_simulated_runs():
    rng = np.random.default_rng(4)
    held = 0
    for _ in range(500):
        fakes = rng.binomial(5000, 0.05)
        right, wrong = rng.binomial(fakes, 0.8), rng.binomial(5000 - fakes, 0.01)
        worth = flag_worth(figures(), prior=None, flagged=int(right + wrong), judged=5000)
        assert worth is not None
        assert abs(worth.prior - fakes / 5000) < 0.03
        held += worth.low <= wrong / (right + wrong) <= worth.high
    assert held >= 475


@pytest.mark.parametrize(
    ("facts", "flagged", "judged"),
    [
        ({}, 5, 1000),
        (figures() | {"intervals": {}}, 5, 1000),
        (figures(), 0, 1000),
        (figures(), 5, LEAST_JUDGED - 1),
        (figures(0.1, 0.2), 5, 1000),
    ],
)
def test_where_too_little_is_known_nothing_is_said(
    facts: dict[str, Any], flagged: int, judged: int
):
    assert flag_worth(facts, prior=None, flagged=flagged, judged=judged) is None


def test_fewer_flags_than_false_alarms_may_all_be_photographs():
    worth = flag_worth(figures(), prior=None, flagged=3, judged=1000)
    assert worth is not None
    assert (worth.prior, worth.best, worth.high) == (0, 1, 1)


def test_the_report_says_it_and_not_for_another_line_than_the_models():
    rows = [
        row(f"{n}.jpg", 0.9 if n < 20 else 0.1, "fake" if n < 20 else "real") for n in range(400)
    ]
    found = table(rows)
    card, config = {"figures": {"report": figures()}}, {"prior": 0.01}
    told = summarise(found, run=a_run(found, card=card, config=config))
    for text in (render(told, thumbnails={}), markdown(told).replace("\\", "")):
        assert "about 55 of 100 such flags are photographs" in text
    shown = summarise(found, run=a_run(found, card=card))
    assert "as the share of flags suggests" in markdown(shown)
    other = summarise(found, run=a_run(found, card=card, config=config, policy="0" * 64))
    assert other.flag_worth is None
    assert other.expectations == []
