"""Policies: the promise is kept, the lines have no gaps, the models are the right ones."""

import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deepfake_core.binomial import at_most, interval, upper_end
from deepfake_core.errors import UsageError
from deepfake_core.models.decision import Thresholds
from deepfake_core.models.policy import Policy, check_made_for, decide_by_policy, parse_policy
from deepfake_core.operations.policies import (
    Judges,
    Promise,
    derive_policy,
    mistakes_allowed,
    outliers,
    photographs_needed,
    tier_starts,
)
from deepfake_core.records import Label

LAWS = settings(max_examples=200, deadline=None, derandomize=True)
JUDGES = Judges("resnet50@3+01234567", "clip@1+89abcdef", "auto", "centerface@1+00112233")
PROMISE = Promise(0.01)


def scores_of(rng: np.random.Generator, count: int, *, sunk: float = 0.0) -> Any:
    """Scores of photographs: skewed towards 0, some of them high."""
    return (1 / (1 + np.exp(-rng.normal(-3 - sunk, 1.5, count)))).astype(np.float32)


@LAWS
@given(trials=st.integers(1, 3000), data=st.data(), confidence=st.sampled_from([0.8, 0.95, 0.99]))
def test_an_interval_holds_the_share_it_was_counted_as(trials: int, data: Any, confidence: float):
    count = data.draw(st.integers(0, trials))
    low, high = interval(count, trials, confidence)
    assert 0 <= low <= count / trials <= high <= 1
    assert low < high
    mirrored = interval(trials - count, trials, confidence)
    assert mirrored == pytest.approx((1 - high, 1 - low), abs=1e-9)
    tail = (1 - confidence) / 2
    if count < trials:
        assert at_most(count, trials, high) == pytest.approx(tail, abs=1e-6)
    if count > 0:
        assert 1 - at_most(count - 1, trials, low) == pytest.approx(tail, abs=1e-6)


@pytest.mark.parametrize(
    ("count", "trials", "expected"),
    # From the tables of Clopper and Pearson, as R's binom.test prints them.
    [(0, 185, (0.0, 0.01974)), (1, 10, (0.00253, 0.44502)), (50, 100, (0.39832, 0.60168))],
)
def test_intervals_are_those_of_the_tables(count: int, trials: int, expected: tuple[float, float]):
    assert interval(count, trials) == pytest.approx(expected, abs=1e-5)


def test_a_count_beyond_its_trials_is_refused():
    with pytest.raises(ValueError, match="from 0 to 3, found 4"):
        interval(4, 3)


@LAWS
@given(
    photographs=st.integers(1, 20_000),
    fpr=st.floats(0.001, 0.3),
    confidence=st.floats(0.5, 0.999),
)
def test_as_many_mistakes_are_allowed_as_the_promise_bears_and_no_more(
    photographs: int, fpr: float, confidence: float
):
    promise = Promise(fpr, confidence)
    allowed = mistakes_allowed(photographs, promise)
    doubt = 1 - confidence
    assert at_most(allowed, photographs, fpr) <= doubt
    assert at_most(allowed + 1, photographs, fpr) > doubt
    assert (allowed >= 0) == (photographs >= photographs_needed(promise))
    if allowed >= 0:
        assert upper_end(allowed, photographs, confidence) <= fpr * (1 + 1e-6)


def test_a_thousand_buckets_keep_the_promise():
    """Each bucket has other photographs and a line of its own, and is scanned with it."""
    rng = np.random.default_rng(5)
    kept = 0
    for _ in range(1000):
        policy = derive_policy(scores_of(rng, 700), None, promise=PROMISE, judges=JUDGES)
        kept += share_beyond(policy.fake_from) <= PROMISE.fpr
    assert kept >= 950


def share_beyond(line: float, *, sunk: float = 0.0) -> float:
    """The share of the photographs of `scores_of` that a line flags, exactly."""
    logit = math.log(line / (1 - line))
    return 0.5 * math.erfc((logit + 3 + sunk) / 1.5 / math.sqrt(2))


def test_the_promise_holds_in_every_tier_of_a_bucket_at_once():
    rng = np.random.default_rng(6)
    kept = 0
    for _ in range(300):
        sizes = rng.choice([70.0, 110.0, 300.0], 2100).astype(np.float32)
        # Small faces score otherwise than large ones: one line would break the promise for some.
        scores = np.where(sizes < 100, scores_of(rng, 2100), scores_of(rng, 2100, sunk=2))
        policy = derive_policy(scores.astype(np.float32), sizes, promise=PROMISE, judges=JUDGES)
        assert len(policy.tiers) == 3
        spots = ((70.0, 0.0), (110.0, 2.0), (300.0, 2.0))
        shares = [share_beyond(policy.line(size), sunk=sunk) for size, sunk in spots]
        kept += max(shares) <= PROMISE.fpr
    assert kept >= 285


def test_too_few_photographs_are_refused_with_the_number_needed():
    scores = np.zeros(298, np.float32)
    with pytest.raises(UsageError, match=r"298 photographs .* 299 are needed .* add 1,"):
        derive_policy(scores, None, promise=PROMISE, judges=JUDGES)
    made = derive_policy(np.zeros(299, np.float32), None, promise=PROMISE, judges=JUDGES)
    assert made.tiers[0].flagged == 0


def test_a_model_that_is_certain_of_photographs_cannot_promise():
    with pytest.raises(UsageError, match="no line keeps the promise"):
        derive_policy(np.ones(400, np.float32), None, promise=PROMISE, judges=JUDGES)


@LAWS
@given(
    counts=st.lists(st.integers(0, 900), min_size=6, max_size=6),
    fpr=st.sampled_from([0.01, 0.05]),
)
def test_tiers_have_photographs_enough_and_leave_no_gap(counts: list[int], fpr: float):
    middles = np.array([30, 80, 100, 150, 200, 400], np.float32)
    sizes = np.repeat(middles, counts)
    promise = Promise(fpr)
    starts = tier_starts(sizes, promise)
    assert starts == sorted(set(starts))
    assert starts[0] == 0
    if len(sizes) < photographs_needed(promise):
        return
    scores = scores_of(np.random.default_rng(len(sizes)), len(sizes))
    policy = derive_policy(scores, sizes, promise=promise, judges=JUDGES)
    assert sum(tier.photographs for tier in policy.tiers) == len(sizes)
    within = Promise(fpr, 1 - 0.05 / len(policy.tiers))
    for tier in policy.tiers:
        assert tier.photographs >= photographs_needed(within)
        assert tier.flagged <= mistakes_allowed(tier.photographs, within)


def test_a_line_flags_in_the_table_what_it_flagged_among_the_photographs():
    scores = scores_of(np.random.default_rng(1), 1000)
    policy = derive_policy(scores, None, promise=PROMISE, judges=JUDGES)
    bundle = Thresholds(real_below=0.9999, fake_from=1.0)
    read_again = parse_policy(policy.model_dump_json().encode(), "policy.json")
    unknown = np.full(len(scores), np.nan, np.float32)
    labels = decide_by_policy(scores, bundle, policy=read_again, sizes=unknown)
    assert labels.count(Label.FAKE) == policy.tiers[0].flagged == 4
    # What the bundle would call real up to 0.9999 begins to be fake earlier, with nothing between.
    assert Label.UNCERTAIN not in labels


def test_a_face_is_decided_by_the_line_of_the_largest_face_in_its_picture():
    sizes = np.repeat(np.array([70, 300], np.float32), 600)
    scores = np.where(sizes < 100, 0.9, 0.2).astype(np.float32)
    policy = derive_policy(scores, sizes, promise=PROMISE, judges=JUDGES)
    bundle = Thresholds(real_below=0.1, fake_from=0.95)
    asked = np.array([0.95, 0.5, 0.5, 0.05], np.float32)
    among = np.array([70, 70, 300, 300], np.float32)
    labels = decide_by_policy(asked, bundle, policy=policy, sizes=among)
    assert labels == [Label.FAKE, Label.UNCERTAIN, Label.FAKE, Label.REAL]
    assert decide_by_policy(asked[:0], bundle, policy=policy, sizes=among[:0]) == []


def test_planted_fakes_are_shown_and_ordinary_photographs_are_not():
    rng = np.random.default_rng(2)
    scores = scores_of(rng, 1000)
    scores[[3, 500]] = (0.9999, 0.99999)
    assert outliers(scores)[:2] == [500, 3]
    assert len(outliers(scores)) <= 4
    assert outliers(np.zeros(0, np.float32)) == []
    assert outliers(np.full(500, 0.2, np.float32)) == []


def test_a_policy_for_other_models_is_refused_and_names_them():
    policy = derive_policy(np.zeros(299, np.float32), None, promise=PROMISE, judges=JUDGES)
    looks = (JUDGES.model_id, JUDGES.second_model_id)
    check_made_for(policy, looks=looks, finder=JUDGES.finder_id, second_look="auto")
    with pytest.raises(UsageError, match="--second-look auto, this scan uses all"):
        check_made_for(policy, looks=looks, finder=JUDGES.finder_id, second_look="all")
    with pytest.raises(UsageError, match=r"first look resnet50@3\+01234567, .* uses resnet50@4"):
        check_made_for(policy, looks=("resnet50@4+x", looks[1]), finder=JUDGES.finder_id)
    with pytest.raises(UsageError, match=r"second look .* uses none"):
        check_made_for(policy, looks=(looks[0], None), finder=JUDGES.finder_id)
    with pytest.raises(UsageError, match=r"finder .* uses none"):
        check_made_for(policy, looks=looks, finder=None)


def valid_policy() -> dict[str, Any]:
    policy = derive_policy(np.zeros(299, np.float32), None, promise=PROMISE, judges=JUDGES)
    content: dict[str, Any] = json.loads(policy.model_dump_json())
    return content


@pytest.mark.parametrize(
    "change",
    [
        {"unknown": 1},
        {"policy_version": 2},
        {"fake_from": float("nan")},
        {"fake_from": 1e-46},
        {"tiers": []},
        {"fpr": 0},
    ],
)
def test_what_is_no_policy_is_refused(change: dict[str, Any]):
    data = json.dumps(valid_policy() | change).encode()
    with pytest.raises(UsageError, match=r"^there\.json is not a policy: .*deepfake calibrate"):
        parse_policy(data, "there.json")


def test_tiers_with_a_gap_or_an_end_are_refused():
    content = valid_policy()
    tier = content["tiers"][0]
    low, high = {**tier, "below_size": 90.0}, {**tier, "from_size": 100.0}
    for tiers in ([low, high], [low], [high], [low, {**high, "below_size": 200.0}]):
        with pytest.raises(UsageError, match="must follow one another"):
            parse_policy(json.dumps(content | {"tiers": tiers}).encode(), "there.json")


def test_no_bytes_are_a_policy_by_chance():
    for data in (b"", b"[]", b"\xff\xfe", b"null", b'{"fake_from": 1'):
        with pytest.raises(UsageError, match="is not a policy"):
            parse_policy(data, "there.json")


def test_the_digest_changes_with_what_is_decided():
    policy = derive_policy(np.zeros(299, np.float32), None, promise=PROMISE, judges=JUDGES)
    same = Policy.model_validate_json(policy.model_dump_json())
    assert same.digest == policy.digest
    assert policy.model_copy(update={"model_id": "other@1+00000000"}).digest != policy.digest
