"""How the curve and the thresholds of a model are fitted."""

import numpy as np
import pytest

from deepfake_core.models.decision import Calibration, calibrate
from deepfake_core.records import Float32Array
from deepfake_core.release.calibration import choose_calibration, decide_most, fit_calibration


def float32(values: list[float]) -> Float32Array:
    return np.array(values, dtype=np.float32)


def test_an_offset_is_fitted_only_where_it_helps_on_images_left_out():
    rng = np.random.default_rng(0)
    fake = np.arange(1000) % 2 == 0
    groups = [f"group{at // 4}" for at in range(len(fake))]
    centred = float32(rng.normal(np.where(fake, 1.5, -1.5), 2))
    found = choose_calibration(centred - 3, fake, groups)
    assert found.offset == pytest.approx(-3, abs=0.3)
    # Of a normal logit the curve is known: its slope is the distance over the variance.
    assert found.temperature == pytest.approx(4 / 3, rel=0.15)
    mirrored = np.concatenate([centred, -centred])
    both, twice = np.concatenate([fake, ~fake]), [*groups, *groups]
    assert choose_calibration(mirrored, both, twice).offset == 0


def test_fakes_pass_as_real_only_as_far_as_the_goal_needs():
    rng = np.random.default_rng(1)
    fake = np.arange(4000) % 2 == 0
    scores = calibrate(float32(rng.normal(np.where(fake, 1.3, -1.3), 1)), Calibration())
    limits = {"max_fpr": 0.01, "misses": (0.02, 0.05, 0.08)}
    missed = []
    for goal in (0.0, 0.78, 1.0):
        chosen = decide_most(scores, fake, goal=goal, **limits)
        missed.append(float((scores[fake] < chosen.real_below).mean()))
        assert (scores[~fake] >= chosen.fake_from).mean() <= 0.01
    assert missed == sorted(missed)
    assert missed[0] == pytest.approx(0.02, abs=0.001)
    assert missed[2] == pytest.approx(0.08, abs=0.001)


@pytest.mark.parametrize("with_offset", [True, False])
def test_the_curve_is_that_of_logistic_regression(with_offset: bool):
    from sklearn.linear_model import LogisticRegression

    rng = np.random.default_rng(2)
    fake = np.arange(600) % 3 == 0
    logits = float32(rng.normal(np.where(fake, 2, -1), 2))
    found = fit_calibration(logits, fake, with_offset=with_offset)
    weights = np.where(fake, 0.5 / fake.sum(), 0.5 / (~fake).sum())
    other = LogisticRegression(C=1e9, fit_intercept=with_offset, tol=1e-10, max_iter=1000)
    other.fit(logits[:, None], fake, sample_weight=weights)
    slope, shift = other.coef_[0, 0], float(np.sum(other.intercept_))
    assert found.temperature == pytest.approx(1 / slope, rel=1e-4)
    assert found.offset == pytest.approx(-shift / slope, abs=1e-4)
