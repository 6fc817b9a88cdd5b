"""Fit the network: first a new head on a frozen backbone, then all of it, and keep the best.

The loss is categorical cross-entropy with the labels and, where teachers are given, with their
mean opinion at a temperature (Hinton et al. 2015) on the same augmented, and at times mixed
(Zhang et al. 2018), pixels: a consistent teacher (Beyer et al. 2022). Unlabelled images can
take part through the teachers alone.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from deepfake_core.datasets.labelled import is_fake, read_pixels
from deepfake_core.engines.keras_network import keras_weights, set_keras_weights, split_outputs
from deepfake_core.errors import SourceError, TrainingError, UsageError
from deepfake_core.events import Facts, Notify, TrainingRow, silent
from deepfake_core.files import make_folder
from deepfake_core.models.registry import DEFAULT_REGISTRY
from deepfake_core.training.batches import Batch, Batches
from deepfake_core.training.checkpoint import (
    TrainingState,
    check_plan,
    load_state,
    plan_of,
    save_state,
)
from deepfake_core.training.data import TrainingData
from deepfake_core.training.distillation import Teachers
from deepfake_core.training.head import fit_head
from deepfake_core.training.history import validation_figures, write_history, write_summary
from deepfake_core.training.initial_weights import InitialWeights, read_initial_weights
from deepfake_core.training.objective import (
    build,
    dtype_policy,
    freeze,
    loss_of,
    optimizer_of,
    predict,
    spread,
)
from deepfake_core.training.recipe import TrainConfig, rate_at, warmup_line

if TYPE_CHECKING:
    import keras

STATE_FILE = "state.npz"


def fit(
    config: TrainConfig,
    data: TrainingData,
    *,
    work: Path,
    notify: Notify = silent,
    registry: Path = DEFAULT_REGISTRY,
) -> keras.Model:
    """Train a network; a killed training goes on from its last state as if nothing had been.

    Args:
        config: the recipe.
        data: the images, and the teachers.
        work: folder of the state, ``history.csv``, ``curves.png`` and ``model.txt``.
        notify: told of ``started``, ``trained`` (each step), ``validated`` and ``ended``.
        registry: where a start by name is looked up.

    Returns:
        The model with the weights that were best on the validation images, in float32.

    Raises:
        UsageError: the recipe cannot be followed, or the folder holds another training.
        SourceError: the images cannot be used.
        ModelError: the start or a teacher is missing or does not fit.
        TrainingError: the loss is not a number any more.
    """
    import keras

    _check(config, data)
    start = read_initial_weights(config, registry)
    teachers = Teachers(data.teachers, config.teacher_format, size=config.size)
    make_folder(work)
    keras.utils.set_random_seed(config.seed)
    whole = build(config, config.size)
    set_keras_weights(whole, {**keras_weights(whole), **start.weights})
    write_summary(work, whole)
    with dtype_policy(config.precision):
        training = _Training(config, data, start, work=work, notify=notify)
        if not training.resume():
            if not start.has_head:
                fit_head(whole, config, data.labelled, teachers)
            training.begin(whole)
        stream = Batches(config, data.labelled, unlabelled=data.unlabelled, teachers=teachers)
        training.run(stream, whole)
    set_keras_weights(whole, training.best)
    return whole


class _Training:
    """The network as it is trained, with all that its state on disk holds."""

    def __init__(
        self,
        config: TrainConfig,
        data: TrainingData,
        start: InitialWeights,
        *,
        work: Path,
        notify: Notify,
    ) -> None:
        self.config, self.start, self.work = config, start.weights, work
        self.steps = config.steps_for(len(data.labelled))
        self.plan = plan_of(config, data, start)
        self.notify = notify
        validation = spread(data.validation, config.validation_images)
        self.fake = is_fake(validation)
        self.pixels = read_pixels(validation, size=config.size)
        self.step, self.seconds, self.since_best, self.ended = 0, 0.0, 0, False
        self.history: list[TrainingRow] = []
        self.best: dict[str, np.ndarray] = {}
        self.best_auc: float = -1.0
        self.model = build(config, config.crop)
        freeze(self.model, config)
        self.optimizer = optimizer_of(config)
        self.model.compile(self.optimizer, loss=loss_of(config), jit_compile=False)
        self.optimizer.build(self.model.trainable_variables)

    def begin(self, whole: keras.Model) -> None:
        """Take the weights to begin with, and save them as step 0."""
        set_keras_weights(self.model, keras_weights(whole))
        row: Facts = {"step": 0, "seconds": 0.0}
        self._judge(row, whole)
        self.history = [row]
        self.save()

    def resume(self) -> bool:
        """Go on from the saved state; False where there is none."""
        path = self.work / STATE_FILE
        loaded = load_state(path)
        if loaded is None:
            return False
        facts, arrays = loaded
        check_plan(path, facts["plan"], self.plan)
        for name, variable in self._variables():
            variable.assign(arrays[name])
        self.best = {
            name.removeprefix("best/"): array
            for name, array in arrays.items()
            if name.startswith("best/")
        }
        self.step, self.seconds, self.history = facts["step"], facts["seconds"], facts["history"]
        self.since_best, self.best_auc = facts["since_best"], facts["best_auc"]
        self.ended = facts["ended"]
        # Whoever was killed had no time for it.
        write_history(self.work, self.history)
        return True

    def save(self) -> None:
        """Put the state on disk, and the history as people read it."""
        arrays = {name: np.array(values.numpy()) for name, values in self._variables()}
        arrays |= {f"best/{name}": values for name, values in self.best.items()}
        facts: TrainingState = {
            "plan": self.plan,
            "step": self.step,
            "seconds": self.seconds,
            "since_best": self.since_best,
            "ended": self.ended,
            "history": self.history,
            "best_auc": self.best_auc,
        }
        save_state(self.work / STATE_FILE, facts, arrays)
        write_history(self.work, self.history)

    def run(self, stream: Batches, whole: keras.Model) -> None:
        """Train until the steps are done or the validation gets no better."""
        self.notify("started", {"step": self.step, "steps": self.steps})
        if 0 < self.steps <= self.config.warmup:
            self.notify("said", {"line": warmup_line(self.config, self.steps)})
        with closing(stream.batches(self.step, self.steps)) as batches:
            while self.step < self.steps and not self.ended:
                self._stretch(batches, whole)
        facts: Facts = {"step": self.step, "steps": self.steps, "stopped_early": self.ended}
        if len(self.fake):
            facts["best_auc"] = self.best_auc
        self.notify("ended", facts)

    def _stretch(self, batches: Iterator[Batch], whole: keras.Model) -> None:
        """Train until the next validation, validate, save."""
        began, waited, losses, rate = time.monotonic(), 0.0, list[float](), 0.0
        every = self.config.validate_every
        for step in range(self.step, min(self.steps, (self.step // every + 1) * every)):
            asked = time.monotonic()
            pixels, targets = next(batches)
            waited += time.monotonic() - asked
            rate = rate_at(step, self.config, self.steps)
            self.optimizer.learning_rate.assign(rate)
            losses.append(float(self.model.train_on_batch(pixels, targets)))
            if not math.isfinite(losses[-1]):
                raise TrainingError(
                    f"the loss is {losses[-1]} at step {step + 1}: lower the rate, now {rate:.2g}, "
                    f"or lengthen the warm-up; {self.work} keeps the state of step {self.step}"
                )
            self.notify("trained", {"step": step + 1, "steps": self.steps, "loss": losses[-1]})
        self.step += len(losses)
        spent = time.monotonic() - began
        self.seconds += spent
        row: Facts = {
            "step": self.step,
            "seconds": self.seconds,
            "loss": float(np.mean(losses)),
            "learning_rate": rate,
            "wait_share": waited / spent,
        }
        self._judge(row, whole)
        self.history.append(row)
        self.save()
        self.notify("validated", row.copy())

    def _judge(self, row: TrainingRow, whole: keras.Model) -> None:
        """Compare the result so far with the best; add what validation says to the row."""
        result = self._result()
        if not len(self.fake):
            self.best = result
            return
        set_keras_weights(whole, result)
        logits = split_outputs(predict(whole, self.pixels))
        if not np.isfinite(logits).all():
            raise TrainingError(
                f"the outputs are not numbers at step {self.step}: lower the rate, now "
                f"{self.config.rate:.2g}; {self.work} keeps the state before"
            )
        row |= validation_figures(logits, self.fake)
        self.since_best += 1
        if row["auc"] > self.best_auc:
            self.since_best = 0
        # Of two that rank alike, the one that was trained longer is surer of it.
        if row["auc"] >= self.best_auc:
            self.best, self.best_auc = result, row["auc"]
        self.ended = 0 < self.config.patience <= self.since_best

    def _result(self) -> dict[str, np.ndarray]:
        """The weights that training gives now: averaged over steps, then with the start."""
        averaged = self.config.average_momentum > 0 and self.step > 0
        variables = self.model.trainable_variables
        kept = [np.array(values.numpy()) for values in variables] if averaged else []
        if averaged:
            self.optimizer.finalize_variable_values(variables)
        weights = keras_weights(self.model)
        for variable, values in zip(variables if averaged else [], kept, strict=True):
            variable.assign(values)
        share = np.float32(self.config.start_share)
        for name, values in self.start.items() if share else ():
            weights[name] = share * values + (1 - share) * weights[name]
        return weights

    def _variables(self) -> Iterator[tuple[str, keras.Variable]]:
        """All that a step changes: weights, statistics, seeds, moments, by a name of their own."""
        for kind, owner in (("model", self.model), ("optimizer", self.optimizer)):
            for index, variable in enumerate(owner.variables):
                yield f"{kind}/{index:04d}", variable


def _check(config: TrainConfig, data: TrainingData) -> None:
    if config.crop > config.size:
        raise UsageError(
            f"crop is {config.crop}, but size only {config.size}; choose a smaller one"
        )
    if config.start == "none" and (config.frozen or config.frozen_norms):
        raise UsageError("frozen layers would keep random weights: give a start, or freeze none")
    if data.unlabelled and not data.teachers:
        raise UsageError("unlabelled images are of use with a teacher only; name one")
    for what, images in (("training", data.labelled), ("validation", data.validation)):
        fakes = sum(image.fake for image in images)
        if min(fakes, len(images) - fakes) < 2 and (images or what == "training"):
            raise SourceError(
                f"{what} needs at least two images of each class; there are "
                f"{len(images) - fakes} real and {fakes} fake"
            )
