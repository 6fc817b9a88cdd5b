"""A new head must be shown to be better, and its pair must keep to what is promised."""

from pathlib import Path

import numpy as np
import pytest

from deepfake_core.datasets.labelled import Labelled
from deepfake_core.models.pair import Pair, PairFigures
from deepfake_core.models.second_look import SecondBundle, find_second
from deepfake_core.release.gate_config import GateConfig
from deepfake_core.release.head_gate import compare_heads, pair_reasons
from deepfake_core.release.head_scoring import HeadLogits
from tests.support.second_look import two_looks

CONFIG = GateConfig(min_auc=0.5, min_tpr_at_1_percent_fpr=0, resamples=200)


@pytest.fixture
def look(tmp_path: Path, tiny_registry: Path) -> SecondBundle:
    second = find_second(None, two_looks(tmp_path / "models", tiny_registry))
    assert second is not None
    return second


def said(gap: float, seed: int, *, images: int = 1200) -> HeadLogits:
    """What a head says of images whose groups are their own; half of them are reported."""
    rng = np.random.default_rng(seed)
    fake = np.arange(images) % 2 == 0
    listed = [Labelled(Path(f"/{at}.png"), bool(fake[at]), f"g{at}") for at in range(images)]
    shared = np.random.default_rng(0).normal(0, 1, images)
    logits = (shared + gap * fake + rng.normal(0, 0.1, images)).astype(np.float32)
    logits[:4] = np.nan  # they show no face
    return HeadLogits(listed, {"fp32": {"clean": logits, "jpeg75": logits}})


def gated(old: HeadLogits, new: HeadLogits, look: SecondBundle, *, audited: bool = True):
    return compare_heads((old, new), look, config=CONFIG, shortcut_passed=audited)


def test_only_a_head_that_is_shown_to_be_better_passes(look: SecondBundle):
    assert gated(said(2, 1), said(4, 2), look).passed
    equal = gated(said(2, 1), said(2, 2), look)
    assert not equal.passed
    assert equal.reasons[-1].startswith(f"it is not shown to be better than {look.model_id}")
    worse = gated(said(4, 1), said(2, 2), look)
    assert any(reason.startswith("AUC on jpeg75") for reason in worse.reasons)


def test_the_shortcut_audit_is_required(look: SecondBundle):
    refused = gated(said(2, 1), said(4, 2), look, audited=False)
    assert refused.reasons == ("the training data did not pass the shortcut audit",)


def test_a_pair_must_keep_to_the_limits():
    figures = {"fpr_at_fake": 0.03, "fakes_called_real": 0.01}
    pair = Pair.model_construct(
        first_model_id="tiny@1+0",
        figures={"fp32": PairFigures.model_construct(auto={"report": figures})},
    )
    (reason,) = pair_reasons(pair, CONFIG)
    assert reason == "paired with tiny@1+0 at fp32, reals labelled fake: 0.0300, the limit is 0.02"
    figures["fpr_at_fake"] = 0.0
    assert pair_reasons(pair, CONFIG) == []
