"""Who goes on to a second look, and what both looks together say."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from deepfake_core.errors import CandidateRefused
from deepfake_core.evaluation.metrics import expected_calibration_error
from deepfake_core.models.decision import Calibration, Thresholds, calibrate
from deepfake_core.models.pair import Pair
from deepfake_core.ranking import auc
from deepfake_core.release.pair_figures import PairFaces, scores_of_both
from deepfake_core.release.pairing import (
    MAX_FAMILY_MISS,
    MAX_FPR,
    MAX_LOST,
    PairNames,
    choose_first_weight,
    choose_line,
    make_pair,
    thresholds_for_families,
)

NAMES = PairNames(first="a" * 64, first_model_id="tiny@1+aaaaaaaa", second="b" * 64)


def judged(*, count: int = 2000, second_separation: float = 5.0, seed: int = 0) -> PairFaces:
    """A first look that is often wrong, and a second that seldom is; both calibrated."""
    rng = np.random.default_rng(seed)
    fake = rng.random(count) < 0.4
    signs = np.where(fake, 1, -1)
    # Normal with variance d and means +-d/2: the logit is the log-odds.
    first = (signs * 3.0 / 2 + rng.normal(0, np.sqrt(3.0), count)).astype(np.float32)
    spread = np.sqrt(second_separation)
    second = (signs * second_separation / 2 + rng.normal(0, spread, count)).astype(np.float32)
    return PairFaces(
        first_logits=first,
        first_scores=calibrate(first, Calibration()),
        second_logits={"fp32": 2 * second + 1, "int8": 2 * second + 1.2},
        face_sizes=np.full(count, 128, np.float32),
        fake=fake,
        families=[f"{'fake' if one else 'real'}{at % 3}" for at, one in enumerate(fake.tolist())],
        tiers=["jpeg75" if at % 4 == 2 else "clean" for at in range(count)],
        groups=[str(at // 2) for at in range(count)],
        chosen=np.arange(count) // 2 % 2 == 0,
        aside=np.zeros(count, bool),
    )


@pytest.fixture(scope="module")
def faces() -> PairFaces:
    return judged(count=6000)


@pytest.fixture(scope="module")
def pair(faces: PairFaces) -> Pair:
    return make_pair(NAMES, faces)


# Some engines switch the processor to taking the smallest numbers for zero.
FLOATS = st.floats(0, 1, width=32, allow_subnormal=False)


@given(
    scores=arrays.arrays(np.float32, st.integers(1, 60), elements=FLOATS),
    share=st.floats(0, 0.5),
    data=st.data(),
)
def test_the_line_loses_no_more_fakes_than_allowed_and_could_not_be_higher(scores, share, data):
    fake = data.draw(arrays.arrays(bool, len(scores)))
    fake[0] = True
    line = choose_line(scores, fake, max_lost=share)
    fakes = scores[fake]
    allowed = int(np.floor(share * len(fakes)))
    assert (fakes < np.float32(line)).sum() <= allowed
    higher = fakes[fakes >= np.float32(line)].min()
    assert (fakes <= higher).sum() > allowed


def test_a_pair_keeps_what_it_promises_on_faces_that_chose_nothing(faces, pair):
    found = pair.figures["fp32"]
    assert 0 < found.fakes_lost.share <= MAX_LOST + 0.005
    assert found.fakes_lost.low < found.fakes_lost.share < found.fakes_lost.high
    assert found.reals_sent_on.share < 0.85
    report = found.auto["report"]
    assert report["images"] == (~faces.chosen).sum()
    assert report["auc"] > found.first_auc + 0.05
    assert found.all["report"]["auc"] == pytest.approx(report["auc"], abs=0.01)
    assert len(report["curve"]["threshold"]) == 99
    families = {f"{kind}{at}" for kind in ("fake", "real") for at in range(3)}
    assert set(found.auto) == {"report", "report_jpeg75", *families}
    assert set(found.sent_on) == families
    assert found.auto["report_jpeg75"]["images"] == report["images"] / 2
    called = [found.auto[f"real{at}"]["fpr_at_fake"] for at in range(3)]
    assert max(called) < 0.015


def test_what_is_no_task_of_the_looks_chooses_nothing_and_is_told_by_itself():
    faces = judged()
    swapped = np.array([family == "fake2" for family in faces.families])
    backwards = {name: np.where(swapped, -9, one) for name, one in faces.second_logits.items()}
    strange = replace(
        faces, second_logits={k: v.astype(np.float32) for k, v in backwards.items()}, aside=swapped
    )
    kept = ~swapped
    without = PairFaces(
        first_logits=faces.first_logits[kept],
        first_scores=faces.first_scores[kept],
        second_logits={name: one[kept] for name, one in faces.second_logits.items()},
        face_sizes=faces.face_sizes[kept],
        fake=faces.fake[kept],
        families=[name for name in faces.families if name != "fake2"],
        tiers=[tier for tier, keep in zip(faces.tiers, kept, strict=True) if keep],
        groups=[group for group, keep in zip(faces.groups, kept, strict=True) if keep],
        chosen=faces.chosen[kept],
        aside=np.zeros(int(kept.sum()), bool),
    )
    pair, expected = make_pair(NAMES, strange), make_pair(NAMES, without)
    assert (pair.line, pair.curves) == (expected.line, expected.curves)
    found = pair.figures["fp32"].auto
    assert found["report"] == expected.figures["fp32"].auto["report"]
    assert found["fake2"]["fake"] == swapped.sum(), "those of both halves: none of them chose"
    assert found["fake2"]["tpr_at_fake"] == 0


def test_a_face_that_the_first_look_leaves_uncertain_goes_on(faces, pair):
    alone = choose_line(faces.first_scores[faces.chosen], faces.fake[faces.chosen])
    lowest = min(curve.thresholds.real_below for curve in pair.curves.values())
    assert 0 < pair.line <= lowest
    assert pair.line <= alone


def test_scores_mean_the_same_with_and_without_the_second_look(faces, pair):
    calibration = pair.curve("fp32").calibration
    for line in (pair.line, 0.0):
        scores = scores_of_both(faces, faces.second_logits["fp32"], line, calibration)
        assert expected_calibration_error(scores, faces.fake) < 0.025
    assert expected_calibration_error(faces.first_scores, faces.fake) < 0.025


def test_each_precision_has_a_curve_of_its_own(pair):
    shift = pair.curve("int8").calibration.offset - pair.curve("fp32").calibration.offset
    assert shift == pytest.approx(0.2, abs=0.01)
    assert pair.curve("int8").thresholds == pair.curve("fp32").thresholds.model_copy(
        update={
            name: pytest.approx(getattr(pair.curve("fp32").thresholds, name), abs=1e-3)
            for name in ("real_below", "fake_from")
        }
    )


def test_the_first_look_has_a_say_where_it_knows_something_of_its_own():
    faces = judged(count=6000)
    second, groups = faces.second_logits["fp32"], list(faces.groups)
    weight = choose_first_weight(faces.first_logits, second, faces.fake, groups)
    assert weight > 0.5
    both = second + np.float32(weight) * faces.first_logits
    assert auc(both, faces.fake) > auc(second, faces.fake)
    noise = np.random.default_rng(1).normal(0, 3, len(second)).astype(np.float32)
    assert choose_first_weight(noise, second, faces.fake, groups) < 0.1


def test_small_faces_have_a_curve_of_their_own():
    faces = judged(count=6000)
    sizes = np.where(np.arange(6000) % 3 == 0, 40, 144).astype(np.float32)
    shifted = faces.second_logits["fp32"] + np.where(sizes == 40, 3, 0).astype(np.float32)
    sized = replace(faces, face_sizes=sizes, second_logits={"fp32": shifted})
    calibration = make_pair(NAMES, sized).curve("fp32").calibration
    offsets = dict(zip(calibration.sizes, calibration.offsets, strict=True))
    assert offsets[40.0] - offsets[144.0] == pytest.approx(3, abs=0.4)


def test_a_second_look_that_betters_nothing_is_refused():
    faces = judged(count=4000, second_separation=0.05)
    with pytest.raises(CandidateRefused, match=r"with tiny@1\+aaaaaaaa alone"):
        make_pair(NAMES, faces)


def test_thresholds_hold_in_the_worst_family_too():
    rng = np.random.default_rng(0)
    families = np.repeat(["photographs", "easy", "hard"], 3000)
    fake = families != "photographs"
    kinds = [families == "photographs", families == "easy"]
    middle, spread = np.select(kinds, [0.4, 0.98], 0.8), np.select(kinds, [0.2, 0.05], 0.1)
    scores = np.clip(rng.normal(middle, spread), 0, 1).astype(np.float32)
    pooled = Thresholds(real_below=0.75, fake_from=0.8)
    found = thresholds_for_families(scores, fake, families, pooled)
    assert (scores[~fake] >= found.fake_from).mean() <= MAX_FPR
    missed = (scores[families == "hard"] < found.real_below).mean()
    assert 0.02 < missed <= MAX_FAMILY_MISS < (scores[families == "hard"] < 0.75).mean()
    few = np.arange(len(families)) % 30 == 0
    assert thresholds_for_families(scores[few], fake[few], families[few], pooled) == pooled, (
        "a hundred faces have no say of their own"
    )
