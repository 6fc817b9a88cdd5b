"""The state of a training on disk: whole or not there, and never another training's."""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

import numpy as np

from deepfake_core.datasets.labelled import Labelled
from deepfake_core.errors import ModelError, PlanMismatch
from deepfake_core.events import TrainingRow
from deepfake_core.files import written_beside
from deepfake_core.models.hashed_folder import file_digest

if TYPE_CHECKING:
    from deepfake_core.training.data import TrainingData
    from deepfake_core.training.initial_weights import InitialWeights
    from deepfake_core.training.recipe import TrainConfig

FACTS = "facts"


class TrainingState(TypedDict):
    """What is known of a training besides its arrays.

    Attributes:
        plan: what it is made from.
        step: steps done.
        seconds: spent on them.
        since_best: validations since the best one.
        ended: whether it ended before its last step.
        history: a row for each validation.
        best_auc: of the best one.
    """

    plan: dict[str, str]
    step: int
    seconds: float
    since_best: int
    ended: bool
    history: list[TrainingRow]
    best_auc: float


def save_state(path: Path, facts: TrainingState, arrays: Mapping[str, np.ndarray]) -> None:
    """Write a state beside its place, then put it there at once.

    Args:
        path: where it goes.
        facts: what is known of the training, as JSON.
        arrays: weights and moments by name.

    Raises:
        OutputError: it cannot be written; the state before is left as it was.
    """
    told = np.frombuffer(json.dumps(facts).encode(), np.uint8)
    size = sum(array.nbytes for array in arrays.values()) / 1e6
    advice = f"make room for {2 * size:,.0f} MB and start again, it goes on from the state before"
    with written_beside(path, advice) as stream:
        np.savez(stream, allow_pickle=False, **{FACTS: told}, **arrays)


def load_state(path: Path) -> tuple[TrainingState, dict[str, np.ndarray]] | None:
    """Read a state; None where there is none.

    Raises:
        ModelError: the file is not a state.
    """
    if not path.exists():
        return None
    try:
        # A stream of our own: NumPy leaves a damaged file open.
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as stored:
            arrays = dict(stored)
        return json.loads(arrays.pop(FACTS).tobytes()), arrays
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise ModelError(
            f"{path} is not the state of a training ({error}); delete it to start again"
        ) from error


def plan_of(config: TrainConfig, data: TrainingData, start: InitialWeights) -> dict[str, str]:
    """What a training is made from; a state goes on only with the same."""
    import keras

    recipe = config.model_dump(mode="json")
    plan = {f"recipe.{name}": str(value) for name, value in recipe.items()}
    plan["keras"] = f"{keras.__version__} on {keras.backend.backend()}"
    plan["start"] = _arrays_digest(start.weights) if start.weights else "none"
    for name in ("labelled", "validation", "unlabelled"):
        images = getattr(data, name)
        plan[name] = f"{len(images)} images ({_images_digest(images)})"
    plan["teachers"] = ", ".join(file_digest(path)[:16] for path in data.teachers) or "none"
    return plan


def check_plan(path: Path, saved: Mapping[str, object], wanted: Mapping[str, object]) -> None:
    """Compare what a state was made from with what is asked for now.

    Raises:
        PlanMismatch: something differs; the message names it.
    """
    differing = [
        f"{name} was {saved.get(name)}, now {wanted.get(name)}"
        for name in sorted({*saved, *wanted})
        if saved.get(name) != wanted.get(name)
    ]
    if differing:
        raise PlanMismatch(
            f"{path} is the state of another training: {'; '.join(differing)}. Ask for the same "
            "again to go on, or choose another work folder"
        )


def _images_digest(images: Iterable[Labelled]) -> str:
    """A hash of which images these are, wherever their folder lies."""
    digest = hashlib.sha256()
    for image in images:
        digest.update(f"{image.path.name}\t{image.group_id}\t{image.fake}\n".encode())
    return digest.hexdigest()[:16]


def _arrays_digest(arrays: Mapping[str, np.ndarray]) -> str:
    """A hash of names and contents."""
    digest = hashlib.sha256()
    for name in sorted(arrays):
        digest.update(name.encode())
        digest.update(np.ascontiguousarray(arrays[name]).tobytes())
    return digest.hexdigest()[:16]
