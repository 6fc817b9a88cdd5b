"""The gate of a second look with a new head: it must be shown to be better than the old one."""

from __future__ import annotations

import numpy as np

from deepfake_core.datasets.labelled import is_fake
from deepfake_core.models.decision import Thresholds
from deepfake_core.models.pair import Pair
from deepfake_core.models.second_look import SecondBundle
from deepfake_core.release.gate import GateResult, note_few, refuse_seen
from deepfake_core.release.gate_answers import Answers
from deepfake_core.release.gate_comparison import Row, floors
from deepfake_core.release.gate_config import GateConfig
from deepfake_core.release.gate_parts import compare_families, compare_people, compare_tiers
from deepfake_core.release.head_scoring import HeadLogits
from deepfake_core.release.pair_figures import REPORT
from deepfake_core.rendering.figure_names import short_name

# A second look labels nothing by itself; thresholds belong to its pairs.
NO_LABELS = Thresholds(real_below=0.0, fake_from=1.0)


def compare_heads(
    heads: tuple[HeadLogits, HeadLogits],
    before: SecondBundle,
    *,
    config: GateConfig,
    shortcut_passed: bool,
) -> GateResult:
    """Test a new head on images that neither head was fitted on.

    On images as they are it must be shown to be better, by the AUC or by the fakes found at 1 %
    false alarms; everywhere else the rules of `compare_models` hold.

    Args:
        heads: what the old and the new one say of the same images.
        before: the second look with the old head.
        config: floors and margins.
        shortcut_passed: whether the data passed the audit for shortcuts.

    Raises:
        SourceError: a head was fitted on some of the images.
    """
    reported = [image.reported for image in heads[0].images]
    images = [image for image in heads[0].images if image.reported]
    notes = refuse_seen(before, images) + list(note_few(images))
    old, new = (_answers(one, np.array(reported)) for one in heads)
    shown = new["clean"].shown
    images = [image for image, has_face in zip(images, shown, strict=True) if has_face]
    old, new = ({tier: one.of(shown) for tier, one in head.items()} for head in (old, new))
    pair = new["clean"], old["clean"]
    table = compare_tiers(new, old, [image.group_id for image in images], config)
    better = [row for row in table if row.images == "clean"]
    families, few = compare_families(pair, images, config)
    people, too = compare_people(pair, images, config)
    table = [*floors(pair[0], config), *table, *families, *people]
    reasons = [row.words() for row in table if not row.passed]
    if not any(row.bound is not None and row.bound > 0 for row in better):
        reasons.append(_not_better(better, before.model_id))
    if config.require_shortcut_audit and not shortcut_passed:
        reasons.append("the training data did not pass the shortcut audit")
    return GateResult(not reasons, tuple(reasons), tuple(table), (*notes, *few, *too))


def _answers(one: HeadLogits, rows: np.ndarray) -> dict[str, Answers]:
    fake = is_fake([image for image in one.images if image.reported])
    return {
        tier: Answers(logits[rows], fake, NO_LABELS)
        for tier, logits in one.logits[one.fastest].items()
    }


def _not_better(rows: list[Row], before: str) -> str:
    changes = ", ".join(
        f"{row.measure} {row.current:.4f} then, {row.candidate:.4f} now, at worst {row.bound:+.4f}"
        for row in rows
    )
    return f"it is not shown to be better than {before} on images as they are: {changes}"


def pair_reasons(pair: Pair, config: GateConfig) -> list[str]:
    """Why the labels that a pair gives break what is promised; empty where they do not.

    Args:
        pair: its figures are of faces that chose nothing.
        config: the limits.
    """
    limits = config.limits("clean", "find")
    promised = {"fpr_at_fake": limits.alarms, "fakes_called_real": limits.misses}
    return [
        f"paired with {pair.first_model_id} at {precision}, {short_name(name)}: "
        f"{figures.auto[REPORT][name]:.4f}, the limit is {limit:g}"
        for precision, figures in pair.figures.items()
        for name, limit in promised.items()
        if limit is not None and figures.auto[REPORT][name] > limit
    ]
