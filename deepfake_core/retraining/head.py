"""Fit a new head of a second look: labelled faces → features → head → gate → pair → promote."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from deepfake_core.datasets.checks.inspection import Inspection
from deepfake_core.datasets.labelled import Labelled
from deepfake_core.datasets.splits import Split, arrange, split_labelled, thin
from deepfake_core.engines.clip_engine import processor_flags, second_precisions
from deepfake_core.engines.clip_head import ClipHead
from deepfake_core.errors import CandidateRefused, ModelError, SourceError, UsageError
from deepfake_core.files import write_whole
from deepfake_core.images.face_tiers import FACE_TIERS
from deepfake_core.inference.cropping import Cropper, open_cropper
from deepfake_core.models.bundle import Bundle, Precision
from deepfake_core.models.canaries import read_canaries
from deepfake_core.models.registry import find_model, record_gate
from deepfake_core.models.registry_log import GateRecord, gate_record
from deepfake_core.models.second_look import (
    LOOK_FILE,
    SECOND,
    SecondBundle,
    find_second,
    read_second,
    write_pair,
)
from deepfake_core.records import Float32Array
from deepfake_core.release.canary_answers import record_second
from deepfake_core.release.head_fitting import HeadFaces, fit_head
from deepfake_core.release.head_gate import compare_heads, pair_reasons
from deepfake_core.release.head_release import FP32, HeadMaterial, complete_head
from deepfake_core.release.head_scoring import HeadLogits, score_heads
from deepfake_core.release.kept_features import KeptLook, KeptTower, head_of, open_kept_tower
from deepfake_core.release.pair_models import PAIR_TIERS, Making, pair_models
from deepfake_core.retraining.config import HeadConfig
from deepfake_core.retraining.head_views import read_faces
from deepfake_core.retraining.run import Run

# Names the second look that a run started from.
BEFORE_FILE = "before"
# More would take hours, and the products of all pairs of them much memory.
MOST_VIEWS = 4000
MOST_VALIDATION = 1500
# Of each class: fewer say nothing of a generator.
LEAST_TO_LEARN = 20
# Where the folder has no set ``valid``. More than for a network: what chooses, reports and pairs
# needs a hundred faces of each class, and a head learns from few.
VALID_PERCENT = 50


@dataclass(frozen=True, slots=True)
class Setting:
    """What a new head is made with.

    Attributes:
        run: the retraining.
        config: of the head.
        data: labelled folder with the sets ``train`` and ``valid``.
        before: the second look whose tower stays.
        first: the current first look, whose faces it judges.
        cropper: finds and aligns faces.
        towers: the fastest precision first, fp32 last, each with answers that are kept.
    """

    run: Run
    config: HeadConfig
    data: Path
    before: SecondBundle
    first: Bundle
    cropper: Cropper
    towers: tuple[KeptTower, ...]


def open_setting(run: Run, config: HeadConfig, inspection: Inspection) -> Setting:
    """Split the data by group, and find what else is needed.

    Raises:
        UsageError: the second look is not current, or the first look judges whole pictures.
        ModelError: one of them is missing or damaged.
    """
    before, first = _before(run, config), find_model(run.config.name, run.registry)
    if first.description.preprocessing.faces == "frame":
        raise UsageError(f"{first.model_id} judges whole pictures, a second look judges faces")
    data = arrange(
        run.data,
        inspection.images,
        run.work / "data",
        reading=run.config.reading,
        valid_percent=VALID_PERCENT,
    )
    home = Path(config.features) if config.features else run.work / "features"
    fastest = second_precisions(before, processor_flags())[0]
    names = tuple(dict.fromkeys((fastest, FP32)))
    return Setting(
        run=run,
        config=config,
        data=data,
        before=before,
        first=first,
        cropper=open_cropper(first.description.preprocessing, run.registry),
        towers=tuple(open_kept_tower(before, name, home) for name in names),
    )


def _before(run: Run, config: HeadConfig) -> SecondBundle:
    """The second look that the run started from, also where its own candidate is current by now."""
    kept = run.work / BEFORE_FILE
    before = find_second(kept.read_text() if kept.is_file() else config.look, run.registry)
    if before is None:
        raise ModelError(f"there is no second look {config.look} in {run.registry}")
    told, made = before.description, run.work / "candidate"
    current = SECOND.find_current(told.name, run.registry)
    own = read_second(made).digest if (made / LOOK_FILE).is_file() else None
    if current is not None and current.digest not in (before.digest, own):
        raise UsageError(
            f"{before.model_id} is not current, {current.model_id} is; a new head must better "
            "that one, so start from it"
        )
    write_whole(kept, f"{told.name}@{told.version}".encode())
    return before


def fit_near(setting: Setting) -> ClipHead:
    """Take the features of the training faces, and fit the head; nothing where it was made.

    Raises:
        SourceError: there are too few images of a class.
        CandidateRefused: no head near the old one predicts left-out groups better.
    """
    made = made_before(setting)
    if made is not None:
        return head_of(made)
    run, tower, images = setting.run, setting.towers[0], _learnt(setting)
    run.say(
        f"taking the features of {len(images):,} images and {setting.config.views} changed views "
        f"of each at {tower.precision}"
    )
    faces = read_faces(images, tower, setting.cropper, views=setting.config.views)
    _refuse_few_shown(faces)
    run.say(f"fitting a head to {len(faces.images):,} faces")
    fitted = fit_head(head_of(setting.before), faces)
    if fitted.strength is None:
        raise CandidateRefused(
            f"no head near that of {setting.before.model_id} predicts groups of faces that were "
            f"left out better than it does (its loss is {fitted.unchanged:.4f}); it is kept"
        )
    after = fitted.losses[fitted.strength]
    run.say(f"on groups left out the loss falls from {fitted.unchanged:.4f} to {after:.4f}")
    return fitted.head


def _refuse_few_shown(faces: HeadFaces) -> None:
    fakes, reals = (
        len({path for path, fake in zip(faces.images, faces.fake, strict=True) if fake == kind})
        for kind in (True, False)
    )
    if min(fakes, reals) < LEAST_TO_LEARN:
        raise SourceError(
            f"only {fakes} fakes and {reals} photographs show a face to learn from; at least "
            f"{LEAST_TO_LEARN} of each are needed"
        )


def _learnt(setting: Setting) -> list[Labelled]:
    """The images that the head is fitted to."""
    train = split_labelled(setting.data).train
    fakes = sum(image.fake for image in train)
    if min(fakes, len(train) - fakes) < LEAST_TO_LEARN:
        raise SourceError(
            f"{setting.run.data} leaves {fakes} fakes and {len(train) - fakes} photographs to "
            f"learn from; at least {LEAST_TO_LEARN} of each are needed"
        )
    return thin(train, MOST_VIEWS // (1 + setting.config.views))


def score_both(setting: Setting, head: ClipHead) -> tuple[HeadLogits, HeadLogits]:
    """What the old head and the new one say of the validation images."""
    images = _validation(split_labelled(setting.data))
    heads = head_of(setting.before), head
    logits: tuple[dict[Precision, dict[str, Float32Array]], ...] = ({}, {})
    for tower in setting.towers:
        names = PAIR_TIERS if tower is setting.towers[0] else ("clean",)
        setting.run.say(
            f"scoring {len(images):,} validation images in {len(names)} tiers at {tower.precision}"
        )
        tiers = {name: FACE_TIERS[name] for name in names}
        scored = score_heads(tower, heads, images, cropper=setting.cropper, tiers=tiers)
        for of_head, values in zip(logits, scored, strict=True):
            of_head[tower.precision] = values
    return HeadLogits(images, logits[0]), HeadLogits(images, logits[1])


def _validation(split: Split) -> list[Labelled]:
    """The set that chooses and reports, in the order of its paths."""
    images = sorted([*split.chosen, *split.report], key=lambda image: str(image.path))
    return thin(images, MOST_VALIDATION)


def made_before(setting: Setting) -> SecondBundle | None:
    """The finished candidate of a run that was stopped later; None if its version was taken."""
    folder = setting.run.work / "candidate"
    if not (folder / LOOK_FILE).is_file():
        return None
    made = read_second(folder)
    taken = setting.run.registry / made.description.name / str(made.description.version)
    free = not (taken / LOOK_FILE).exists() or read_second(taken).digest == made.digest
    return made if free else None


def complete(setting: Setting, head: ClipHead, both: tuple[HeadLogits, HeadLogits]) -> SecondBundle:
    """Make the complete second look in the run's own folder; its presence there means done."""
    made = made_before(setting)
    if made is not None:
        return made
    run, name = setting.run, setting.before.description.name
    beside, final = run.fresh("candidate.writing"), run.fresh("candidate")
    beside.mkdir(parents=True)
    recipe = run.config.recipe
    material = HeadMaterial(
        before=setting.before,
        head=head,
        old=both[0],
        new=both[1],
        learnt=_learnt(setting),
        trained_on=recipe.trained_on,
        limits=recipe.limits,
    )
    try:
        complete_head(beside, SECOND.known(run.registry)[name][-1] + 1, material)
    except ValueError as error:
        raise CandidateRefused(f"the new head cannot be calibrated: {error}") from error
    beside.rename(final)
    return read_second(final)


def gate_head(
    setting: Setting,
    look: SecondBundle,
    both: tuple[HeadLogits, HeadLogits],
    *,
    shortcut_passed: bool,
) -> GateRecord:
    """Compare the new head with the old one on the reported half, pair it, and log the outcome."""
    run, before = setting.run, setting.before
    known = gate_record(look.folder.parent, look.digest)
    if known is None:
        config = run.config.recipe.gate
        result = compare_heads(both, before, config=config, shortcut_passed=shortcut_passed)
        if result.passed:
            result = result.refused(pair_new(setting, look))
        current = SECOND.find_current(before.description.name, run.registry)
        known = result.as_json()
        record_gate(look, current, known, registry=run.registry)
    run.write("gate.json", known)
    return known


def pair_new(setting: Setting, look: SecondBundle) -> list[str]:
    """Pair the new second look with the current first one; the reasons why that cannot be."""
    run, tower = setting.run, setting.towers[0]
    kept = KeptLook(tower, head_of(look))
    try:
        pair = pair_models(
            setting.first,
            look,
            setting.data,
            Making(run.registry, precisions=(tower.precision,), open_look=lambda _, __: kept),
            say=run.say,
        )
    except (CandidateRefused, SourceError) as error:
        return [f"it could not be paired with {setting.first.model_id}: {error}"]
    reasons = pair_reasons(pair, run.config.recipe.gate)
    if not reasons:
        write_pair(look, pair)
        if read_canaries(look.folder, look.digest) is None:
            record_second(look, setting.first)
    return reasons
