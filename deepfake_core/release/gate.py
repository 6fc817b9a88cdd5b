"""The gate: whether a candidate may take the place of the current model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import cast

import numpy as np

from deepfake_core.datasets.labelled import Labelled, is_fake
from deepfake_core.datasets.splits import split_labelled
from deepfake_core.errors import LeakedImages, SourceError
from deepfake_core.evaluation.score_cache import ScoreCache
from deepfake_core.evaluation.training_list import read_training_list
from deepfake_core.inference.cropping import open_cropper
from deepfake_core.models.bundle import Bundle
from deepfake_core.models.hashed_folder import Version
from deepfake_core.models.registry import DEFAULT_REGISTRY, find_current, record_gate
from deepfake_core.models.registry_log import GateRecord
from deepfake_core.release.engine_parity import check_engines
from deepfake_core.release.gate_answers import Answers, judge
from deepfake_core.release.gate_comparison import Row, floors, promises
from deepfake_core.release.gate_config import GateConfig
from deepfake_core.release.gate_feedback import judge_answered
from deepfake_core.release.gate_parts import compare_families, compare_people, compare_tiers
from deepfake_core.rendering.text import percent

NAMED = 3
ENGINE_IMAGES = 256
# Of each class; a share of nothing in so many is at most 1.5 %, with 95 % confidence.
FEW_OF_A_CLASS = 200


@dataclass(frozen=True, slots=True)
class GateResult:
    """What the gate found.

    Attributes:
        passed: whether the candidate may become current.
        reasons: what failed, one sentence each.
        table: every test.
        notes: what could not be tested, and why.
        engines: what `check_engines` found, where it was asked.
    """

    passed: bool
    reasons: tuple[str, ...]
    table: tuple[Row, ...]
    notes: tuple[str, ...] = ()
    engines: dict[str, object] | None = None

    def refused(self, reasons: Sequence[str]) -> GateResult:
        """The same with more reasons against the candidate; with none it stays as it is."""
        return replace(self, passed=self.passed and not reasons, reasons=(*self.reasons, *reasons))

    def as_json(self) -> GateRecord:
        """The result as plain data."""
        return cast(GateRecord, asdict(self))


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a candidate besides the images it is tested on.

    Attributes:
        shortcut_passed: whether the training data passed the shortcut audit; None: unknown.
        corrected: images with the labels that people gave them, see `judge_answered`.
        memory: what it, and no other network, scored at fp32 before, see `ScoreCache`.
    """

    shortcut_passed: bool | None = None
    corrected: Sequence[Labelled] = ()
    memory: ScoreCache | None = None


def compare_models(
    candidate: Bundle,
    current: Bundle | None,
    data: Sequence[Labelled],
    *,
    config: GateConfig,
    facts: Facts | None = None,
) -> GateResult:
    """Test a candidate on images that neither model was trained on.

    Args:
        candidate: the bundle that wants to become current.
        current: the one that is, or None for the first of its name.
        data: labelled images of both classes, such as the reported half of the validation set.
        config: floors and margins.
        facts: what else is known of the candidate.

    Raises:
        SourceError: a class is missing, or one of the models was trained on some of the images.
    """
    facts = facts or Facts()
    fake = is_fake(list(data))
    if fake.all() or not fake.any():
        raise SourceError("the gate needs images of both classes; it was given one class or none")
    bundles = [candidate] if current is None else [candidate, current]
    notes = [note for bundle in bundles for note in refuse_seen(bundle, data)]
    cropper = open_cropper(candidate.description.preprocessing)
    tiers = judge(candidate, data, cropper=cropper, memory=facts.memory)
    shown = tiers["clean"].shown
    if not shown.all():
        notes.append(f"{int((~shown).sum())} images show no face and were left out")
        data = [data[row] for row in np.flatnonzero(shown).tolist()]
        tiers = {tier: answers.of(shown) for tier, answers in tiers.items()}
    table = floors(tiers["clean"], config)
    faces = candidate.description.preprocessing.faces
    for tier, answers in tiers.items():
        table += promises(tier, answers.of(answers.shown), config.limits(tier, faces))
    if current is None:
        notes.append("there is no current model to compare with: only the floors were tested")
    else:
        rows, said = _compare(tiers, judge(current, data, cropper=cropper), data, config)
        table, notes = table + rows, notes + said
    rows, said = judge_answered(candidate, current, facts.corrected, config)
    table, notes = table + rows, notes + said
    reasons = [row.words() for row in table if not row.passed]
    if config.require_shortcut_audit and facts.shortcut_passed is not True:
        how = "did not pass" if facts.shortcut_passed is False else "did not go through"
        reasons.append(f"the training data {how} the shortcut audit")
    return GateResult(not reasons, tuple(reasons), tuple(table), tuple(notes))


def _compare(
    candidate: dict[str, Answers],
    current: dict[str, Answers],
    data: Sequence[Labelled],
    config: GateConfig,
) -> tuple[list[Row], list[str]]:
    """Every comparison with the current model, and notes."""
    pair = candidate["clean"], current["clean"]
    rows = compare_tiers(candidate, current, [image.group_id for image in data], config)
    families, few = compare_families(pair, data, config)
    people, too = compare_people(pair, data, config)
    return rows + families + people, [*_own_lines(*pair), *few, *too]


def _own_lines(candidate: Answers, current: Answers) -> list[str]:
    """A note where two models are not equally careful, which is not judged."""
    after, before = (
        float(answers.called_fake[answers.fake].mean()) for answers in (candidate, current)
    )
    if percent(after) == percent(before):
        return []
    return [
        f"by its own thresholds it labels {percent(after)} of the fakes fake, the current model "
        f"{percent(before)}; that says how careful each is, and is not judged"
    ]


def examine(
    candidate: Bundle,
    data: Sequence[Labelled],
    *,
    config: GateConfig,
    facts: Facts | None = None,
    registry: Path = DEFAULT_REGISTRY,
) -> GateResult:
    """Send a registered version through the gate, its engines too, and log the outcome.

    It is compared with the current version of its name, see `compare_models`; a version that passes
    can be promoted as long as that one is current.
    """
    current = find_current(candidate.description.name, registry)
    if current is not None and current.digest == candidate.digest:
        current = None
    result = compare_models(candidate, current, data, config=config, facts=facts)
    engines = check_engines(candidate, data[:ENGINE_IMAGES])
    reasons, notes = result.reasons, result.notes + note_few(data)
    if not engines.checked:
        notes += tuple(
            f"engines were not compared with Keras: {reason}" for reason in engines.reasons
        )
    elif not engines.passed:
        reasons += engines.reasons
    complete = replace(
        result, passed=not reasons, reasons=reasons, notes=notes, engines=engines.as_json()
    )
    record_gate(candidate, current, complete.as_json(), registry=registry)
    return complete


def examine_on(
    candidate: Bundle,
    folder: Path,
    *,
    config: GateConfig = GateConfig(),  # noqa: B008 - it is frozen
    registry: Path = DEFAULT_REGISTRY,
) -> GateResult:
    """Send a registered version through the gate on a labelled folder, which is audited first."""
    from deepfake_core.datasets.checks.inspection import inspect

    inspection = inspect(folder)
    if inspection.problems:
        raise SourceError("; ".join(inspection.problems))
    return examine(
        candidate,
        split_labelled(folder).report,
        config=config,
        facts=Facts(inspection.shortcut_passed),
        registry=registry,
    )


def note_few(data: Sequence[Labelled]) -> tuple[str, ...]:
    """A note where so few images were judged that the figures say little."""
    fakes = sum(image.fake for image in data)
    least = min(fakes, len(data) - fakes)
    if least >= FEW_OF_A_CLASS:
        return ()
    # The rule of three: what did not happen once in n images has a share of at most 3 / n.
    unseen = percent(3 / least)
    return (
        f"only {len(data) - fakes} real and {fakes} fake images decided this: a mistake that none "
        f"of them showed may still happen in {unseen} of others; at least {FEW_OF_A_CLASS} of "
        "each are needed before the figures can be relied on",
    )


def refuse_seen(bundle: Version, data: Sequence[Labelled]) -> list[str]:
    """Refuse images that a model has learnt from.

    Returns:
        A note where the bundle does not record its training images; else nothing.

    Raises:
        LeakedImages: some were, by their bytes or by their group.
    """
    training = read_training_list(bundle)
    if training is None:
        return [f"{bundle.model_id} does not record which images it was trained on"]
    seen = training.overlap(data)
    if seen:
        named = ", ".join(str(image.path) for image in seen[:NAMED])
        more = f" and {len(seen) - NAMED} more" if len(seen) > NAMED else ""
        raise LeakedImages(
            f"{bundle.model_id} was trained or tuned on {len(seen)} of the {len(data)} images it "
            f"should be tested on, or on others of their groups: {named}{more}; leave them out",
            tuple(image.path for image in seen),
        )
    return []
