"""Retrain: labelled folders → checks → split → fit → calibrate → evaluate → gate → promote."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from deepfake_core.datasets.checks.inspection import Inspection
from deepfake_core.datasets.class_folders import is_image
from deepfake_core.datasets.labelled import Labelled
from deepfake_core.datasets.splits import arrange, split_labelled
from deepfake_core.engines.keras_network import keras_weights
from deepfake_core.errors import CandidateRefused, LeakedImages, ModelError
from deepfake_core.evaluation.config import EvaluateConfig
from deepfake_core.evaluation.measurement import evaluate
from deepfake_core.evaluation.report import render as render_evaluation
from deepfake_core.events import Notify, silent
from deepfake_core.inference.opening import USUAL_FINDER, find_finder
from deepfake_core.models.architecture import Weights
from deepfake_core.models.bundle import DESCRIPTION_FILE, Bundle, Preprocessing, read_bundle
from deepfake_core.models.registry import (
    DEFAULT_REGISTRY,
    find_current,
    next_version,
    promote,
    register,
)
from deepfake_core.models.registry_log import GateRecord, gate_record
from deepfake_core.release.candidate import Material, make_candidate
from deepfake_core.release.gate import Facts, examine, refuse_seen
from deepfake_core.release.gate_feedback import gathered
from deepfake_core.retraining.config import Recipe, RetrainConfig, read_recipe
from deepfake_core.retraining.head_run import fit_head_of
from deepfake_core.retraining.run import RetrainResult, Run, begin
from deepfake_core.retraining.steps import Step, call_step, check_data
from deepfake_core.storage.listing import is_hidden
from deepfake_core.training.data import TrainingData
from deepfake_core.training.fit import fit

__all__ = ["Recipe", "RetrainConfig", "read_recipe", "retrain"]

T = TypeVar("T")
GATE_FILE = "gate.json"
LEAKED_FILE, LEAKED_SHOWN = "leaked.txt", 20
TRAINING_FILES = ("history.csv", "curves.png", "model.txt")


def retrain(
    config: RetrainConfig,
    *,
    registry: Path = DEFAULT_REGISTRY,
    notify: Notify = silent,
    step: Step = call_step,
) -> RetrainResult:
    """Train, calibrate, evaluate and register a new version; promote it if it passes the gate.

    Args:
        config: how.
        registry: where the version goes.
        notify: told of ``retraining``, ``step``, ``said`` and the events of `fit`.
        step: does each step, given its name and a function: as it is, or as a tracked task.

    Returns:
        ``run_id, model_id, passed, promoted, reasons, notes, figures, report, work, ...``; that
        of the first time where the run was finished before.

    Raises:
        DataRefused: the data checks found why nothing should be learnt from the data.
        PlanMismatch: the state is that of a run with other settings.
        DeepfakeError: as the steps raise it; the registry is as it was.
    """
    with begin(config, registry=registry, notify=notify) as run:
        if run.result is not None:
            return run.result

        def do(name: str, work: Callable[[], T]) -> T:
            notify("step", {"name": name})
            return step(name, work)

        if config.head is not None:
            return run.finish(fit_head_of(run, config.head, do))
        inspection = do("check the data", lambda: check_data(run))
        data = do("split by group", lambda: arrange_data(run, inspection))
        weights = do("fit", lambda: fit_network(run, data))
        made = do("calibrate and export", lambda: calibrate_candidate(run, data, weights))
        report = do("evaluate", lambda: evaluate_candidate(run, data, made))
        bundle = do("register", lambda: register(made, why=config.why, registry=registry))
        passed = inspection.shortcut_passed
        gate = do("gate", lambda: gate_candidate(run, data, bundle, shortcut_passed=passed))
        promoted = do("promote", lambda: promote_candidate(run, bundle, gate))
        return run.finish(
            {
                "model_id": bundle.model_id,
                "passed": gate["passed"],
                "promoted": promoted,
                "reasons": list(gate["reasons"]),
                "notes": list(gate["notes"]),
                "figures": bundle.description.figures,
                "report": str(report),
            }
        )


def arrange_data(run: Run, inspection: Inspection) -> Path:
    """The folder to train on; refused where the current model was trained on what is reported."""
    data = arrange(run.data, inspection.images, run.work / "data", reading=run.config.reading)
    current = find_current(run.config.name, run.registry)
    if current is not None:
        # Said before hours are spent; the gate asks again.
        try:
            refuse_seen(current, split_labelled(data).report)
        except LeakedImages as error:
            raise _with_list(run, error) from error
    return data


def _with_list(run: Run, error: LeakedImages) -> LeakedImages:
    """The same refusal, with a file of all images and their names on the terminal."""
    # In a view of the folder they are links to the images as they were given.
    names = [os.path.relpath(path.resolve(), run.data.resolve()) for path in error.images]
    listed = run.report / LEAKED_FILE
    listed.write_text("".join(f"{name}\n" for name in names), errors="surrogateescape")
    for name in names[:LEAKED_SHOWN]:
        run.say(f"leaked: {name}")
    if len(names) > LEAKED_SHOWN:
        run.say(f"leaked: and {len(names) - LEAKED_SHOWN} more")
    return LeakedImages(f"{error}; all are listed in {listed}", error.images)


def fit_network(run: Run, data: Path) -> Weights:
    """Train, or go on; nothing where the candidate is finished. Learning curves are copied."""
    if made_before(run) is not None:
        return {}
    split = split_labelled(data)
    material = TrainingData(
        labelled=tuple(split.train),
        validation=tuple(split.chosen),
        unlabelled=list_unlabelled(run.config.unlabelled),
        teachers=tuple(Path(teacher) for teacher in run.config.teachers),
    )
    place, training = run.work / "training", run.config.recipe.training
    model = fit(training, material, work=place, notify=run.notify, registry=run.registry)
    for name in TRAINING_FILES:
        run.keep(place / name)
    return keras_weights(model)


def list_unlabelled(folder: str | None) -> tuple[Labelled, ...]:
    """The images below a folder; their label says nothing."""
    if folder is None:
        return ()
    return tuple(
        Labelled(path, fake=False, group_id=str(path))
        for path in sorted(Path(folder).rglob("*"))
        if not is_hidden(path.relative_to(folder).as_posix()) and path.is_file() and is_image(path)
    )


def made_before(run: Run) -> Bundle | None:
    """The finished candidate of a run that was stopped later; None if its version was taken."""
    folder = run.work / "candidate"
    if not (folder / DESCRIPTION_FILE).is_file():
        return None
    made = read_bundle(folder)
    taken = run.registry / run.config.name / str(made.description.version) / DESCRIPTION_FILE
    free = not taken.exists() or read_bundle(taken.parent).digest == made.digest
    return made if free else None


def calibrate_candidate(run: Run, data: Path, weights: Weights) -> Bundle:
    """Make the complete bundle in the run's own folder; its presence there means done."""
    made = made_before(run)
    if made is not None:
        return made
    config, training = run.config, run.config.recipe.training
    sources = {image.source for image in split_labelled(data).train if image.fake and image.source}
    material = Material(
        weights=weights,
        architecture=training.architecture,
        preprocessing=_preprocessing(run),
        data=data,
        training={
            **training.model_dump(mode="json"),
            "teachers": [Path(teacher).name for teacher in config.teachers],
            **({"sources": sorted(sources)} if sources else {}),
        },
        trained_on=config.recipe.trained_on,
        limits=config.recipe.limits,
        one_class=config.recipe.one_class,
        int8=config.recipe.int8,
        seen=list_unlabelled(config.unlabelled),
        memory=run.memory,
    )
    beside, final = run.fresh("candidate.writing"), run.fresh("candidate")
    version = next_version(config.name, run.registry)
    try:
        make_candidate(material, beside, name=config.name, version=version, say=run.say)
    except ModelError as error:
        raise CandidateRefused(
            f"the training gave no usable model: {error}; train longer, on more images, or from "
            "a better start"
        ) from error
    beside.rename(final)
    return read_bundle(final)


def _preprocessing(run: Run) -> Preprocessing:
    """How images become the candidate's input."""
    training = run.config.recipe.training
    shown = Preprocessing(
        size=training.size,
        mean=training.mean,
        scale=training.scale,
        colour="srgb",
        faces=training.faces,
    )
    if training.faces == "frame":
        return shown
    finder = find_finder(USUAL_FINDER, run.registry)
    return shown.model_copy(update={"finder": finder.model_id, "alignment": "ffhq"})


def evaluate_candidate(run: Run, data: Path, made: Bundle) -> Path:
    """Measure the candidate and write the evaluation report."""
    recipe = run.config.recipe
    chosen = EvaluateConfig(one_class=recipe.one_class, tiers=recipe.tiers)
    evaluation = evaluate(made, data, config=chosen, say=run.say, memory=run.memory)
    return render_evaluation(evaluation, made, run.report / "evaluation")["report"]


def gate_candidate(run: Run, data: Path, bundle: Bundle, *, shortcut_passed: bool) -> GateRecord:
    """Compare the candidate with the current version on the reported half, and log it."""
    current = find_current(run.config.name, run.registry)
    known = gate_record(bundle.folder.parent, bundle.digest)
    if known is None or current is None or current.digest != bundle.digest:
        with gathered(run.config.feedback) as corrected:
            known = examine(
                bundle,
                split_labelled(data).report,
                config=run.config.recipe.gate,
                facts=Facts(shortcut_passed, corrected, run.memory),
                registry=run.registry,
            ).as_json()
    run.write(GATE_FILE, known)
    return known


def promote_candidate(run: Run, bundle: Bundle, gate: GateRecord) -> bool:
    """Make the version current if it passed and this is wanted; whether it was done."""
    if not (gate["passed"] and run.config.promote):
        return False
    why = run.config.why or f"retraining {run.run_id} passed the gate"
    name, version = bundle.description.name, bundle.description.version
    promote(name, version, why=why, registry=run.registry)
    return True
