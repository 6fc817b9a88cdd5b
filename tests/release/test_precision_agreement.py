"""When a faster precision counts as good as fp32."""

import numpy as np
import pytest

from deepfake_core.models.decision import Thresholds
from deepfake_core.release.precision_agreement import Answers, Truth, agreement

THRESHOLDS = Thresholds(real_below=0.2, fake_from=0.8)
COUNT = 4000
FAKE = np.arange(COUNT) % 2 == 0
TRUTH = Truth(FAKE, np.ones(COUNT, bool), [str(at // 4) for at in range(COUNT)])


def exact_scores() -> np.ndarray:
    """Mostly decided, some uncertain; fakes above reals but for a few."""
    rng = np.random.default_rng(0)
    raw = np.where(FAKE, 2.5, -2.5) + rng.normal(0, 1.5, COUNT)
    return (1 / (1 + np.exp(-raw))).astype(np.float32)


def compared(scores: np.ndarray, precision: str = "int8", truth: Truth = TRUTH):
    exact = Answers(exact_scores()[: len(scores)], THRESHOLDS)
    return agreement(exact, Answers(scores, THRESHOLDS), truth, precision)


def test_equal_answers_qualify():
    found = compared(exact_scores(), "bf16")
    assert found.qualified
    assert (found.flips, found.changed, found.largest_difference) == (0, 0, 0.0)
    assert found.auc_loss == 0.0
    assert 0 < found.changed_at_most < 0.001, "that nothing changed on 4,000 proves a bound only"
    assert found.as_json()["qualified"] is True


def test_one_flip_refuses():
    scores = exact_scores()
    scores[scores.argmin()] = 0.9
    found = compared(scores)
    assert (found.flips, found.changed) == (1, 1)
    assert found.reasons == ("1 labels flip between fake and real",)


@pytest.mark.parametrize(("precision", "most"), [("bf16", 0.01), ("int8", 0.04)])
def test_the_bound_of_the_share_that_changes_decides_not_the_share(precision, most):
    scores = exact_scores()
    sure = np.flatnonzero((scores > 0.8) & FAKE)
    few, many = scores.copy(), scores.copy()
    few[sure[: int(0.6 * most * COUNT)]] = 0.79
    many[sure[: int(0.95 * most * COUNT)]] = 0.79
    assert not [one for one in compared(few, precision).reasons if "change" in one]
    found = compared(many, precision)
    assert found.changed / COUNT < most < found.changed_at_most
    assert [one for one in found.reasons if "labels change" in one]


def test_too_few_faces_cannot_tell():
    some = 2999
    truth = Truth(FAKE[:some], np.ones(some, bool), TRUTH.groups[:some])
    found = compared(exact_scores()[:some], truth=truth)
    assert found.reasons == ("2,999 faces are too few to tell; 3,000 are needed",)


def test_a_loss_of_auc_refuses_also_where_no_label_changes():
    scores = exact_scores()
    inside = (scores > 0.2) & (scores < 0.8)
    scores[inside] = np.where(FAKE[inside], 0.21, 0.79)
    found = compared(scores)
    assert found.changed == 0
    assert found.auc_loss > 0.003
    assert found.auc_loss_interval[0] < found.auc_loss < found.auc_loss_interval[1]
    assert len(found.reasons) == 1
    assert "AUC may fall" in found.reasons[0]


def test_faces_of_unknown_truth_count_for_agreement_alone():
    scores = exact_scores()
    labelled = np.arange(COUNT) < 1000
    scores[~labelled] = scores[~labelled].clip(0.21, 0.79)
    found = compared(scores, truth=Truth(FAKE, labelled, TRUTH.groups))
    assert found.labelled == 1000
    assert found.auc_loss == 0.0
    assert found.changed > 1000


def test_each_side_is_decided_by_its_own_thresholds():
    shifted = Thresholds(real_below=0.3, fake_from=0.9)
    exact = Answers(exact_scores(), THRESHOLDS)
    raised = Answers(exact_scores() + np.float32(0.1), shifted)
    found = agreement(exact, raised, TRUTH, "int8")
    assert found.flips == 0
    assert found.changed <= 2, "rounding of sums alone"
