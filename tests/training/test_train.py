"""Training: weights that repeat, and a kill that loses nothing but time."""

import csv
import io
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from deepfake_core.bench.training import training_speed
from deepfake_core.commands.retrain_progress import RetrainProgress
from deepfake_core.datasets.labelled import Labelled
from deepfake_core.engines.keras_network import keras_weights
from deepfake_core.errors import (
    ModelError,
    OutputError,
    PlanMismatch,
    SourceError,
    TrainingError,
    UsageError,
)
from deepfake_core.retraining.config import read_recipe
from deepfake_core.training.checkpoint import load_state, save_state
from deepfake_core.training.data import TrainingData
from deepfake_core.training.fit import fit
from deepfake_core.training.history import COLUMNS
from tests.support.full_disk import files_up_to
from tests.support.training import SMALL, changed, same_weights

pytestmark = pytest.mark.slow

AVERAGED = changed(average_momentum=0.5)


@pytest.fixture(scope="module")
def straight(
    data: TrainingData, tmp_path_factory: pytest.TempPathFactory
) -> tuple[dict[str, np.ndarray], Path, list[tuple[str, dict]]]:
    """The weights, the folder and the events of a training that nothing disturbed."""
    work, events = tmp_path_factory.mktemp("straight"), []
    model = fit(AVERAGED, data, work=work, notify=lambda *event: events.append(event))
    return keras_weights(model), work, events


def test_the_same_seed_gives_the_same_weights_and_the_record_is_kept(
    straight, data: TrainingData, tmp_path: Path
) -> None:
    weights, work, first = straight
    assert same_weights(weights, keras_weights(fit(AVERAGED, data, work=tmp_path)))
    with (work / "history.csv").open() as lines:
        rows = list(csv.DictReader(lines))
    assert tuple(rows[0]) == COLUMNS
    assert [row["step"] for row in rows] == ["0", "4", "8", "12"]
    assert all(float(row["auc"]) > 0 for row in rows)
    assert (work / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert "plain0_conv" in (work / "model.txt").read_text()
    assert [facts["step"] for event, facts in first if event == "trained"] == [*range(1, 13)]
    assert [event for event, _ in first if event != "trained"] == [
        "started",
        *["validated"] * 3,
        "ended",
    ]
    # It is done: started again it gives the same without a step.
    again: list[str] = []
    model = fit(AVERAGED, data, work=work, notify=lambda event, facts: again.append(event))
    assert again == ["started", "ended"]
    assert same_weights(keras_weights(model), weights)


KILLED = """
import sys
from pathlib import Path
from deepfake_core.datasets.labelled import read_labelled
from deepfake_core.training.recipe import TrainConfig
from deepfake_core.training.fit import TrainingData, fit
from deepfake_core.commands.retrain_progress import RetrainProgress

images = tuple(read_labelled(Path(sys.argv[1])))
fit(
    TrainConfig.model_validate_json(sys.argv[2]),
    TrainingData(images, images),
    work=Path(sys.argv[3]),
    notify=lambda event, facts: print(facts["step"], flush=True),
)
"""


def test_a_killed_training_goes_on_as_if_nothing_had_been(
    straight, data: TrainingData, tmp_path: Path
) -> None:
    work, root = tmp_path / "killed", data.labelled[0].path.parent.parent
    command = [sys.executable, "-c", KILLED, str(root), AVERAGED.model_dump_json(), str(work)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if int(line) == 7:
                process.kill()
    assert process.returncode == -signal.SIGKILL
    loaded = load_state(work / "state.npz")
    assert loaded is not None
    assert loaded[0]["step"] == 4

    steps: list[int] = []
    resumed = fit(AVERAGED, data, work=work, notify=lambda _, facts: steps.append(facts["step"]))
    assert steps[:2] == [4, 5]
    assert same_weights(straight[0], keras_weights(resumed))
    with (work / "history.csv").open() as lines:
        assert [row["step"] for row in csv.DictReader(lines)] == ["0", "4", "8", "12"]


def test_training_ends_early_and_the_best_is_kept(data: TrainingData, tmp_path: Path) -> None:
    config = changed(rate=1e-12, patience=2, steps=400)
    ended: list[dict] = []
    fit(config, data, work=tmp_path, notify=lambda event, facts: ended.append(facts))
    assert ended[-1]["stopped_early"]
    assert ended[-1]["step"] == 8
    loaded = load_state(tmp_path / "state.npz")
    assert loaded is not None
    assert ended[-1]["best_auc"] == max(row["auc"] for row in loaded[0]["history"])


def test_a_loss_that_is_no_number_ends_it(data: TrainingData, tmp_path: Path) -> None:
    config = changed(rate=1e30, optimiser="adam", warmup=0, schedule="constant")
    with pytest.raises(TrainingError, match=r"loss is .* at step \d+: lower the rate"):
        fit(config, data, work=tmp_path)
    loaded = load_state(tmp_path / "state.npz")
    assert loaded is not None
    assert all(np.isfinite(one).all() for one in loaded[1].values())


def test_the_state_of_another_training_is_left_alone(data: TrainingData, tmp_path: Path) -> None:
    fit(changed(steps=1), data, work=tmp_path)
    with pytest.raises(PlanMismatch, match=r"recipe\.rate was 0\.001, now 0\.01"):
        fit(changed(steps=1, rate=0.01), data, work=tmp_path)
    with pytest.raises(PlanMismatch, match="labelled was 24 images"):
        fit(changed(steps=1), TrainingData(data.labelled[1:], data.validation), work=tmp_path)


def test_a_state_is_whole_or_the_one_before(tmp_path: Path) -> None:
    path = tmp_path / "state.npz"
    save_state(path, {"step": 1}, {"a": np.ones(10)})
    refused = pytest.raises(OutputError, match="File too large; make room for 16 MB")
    with refused, files_up_to(20_000):
        save_state(path, {"step": 2}, {"a": np.ones(1_000_000)})
    assert os.listdir(tmp_path) == ["state.npz"]
    loaded = load_state(path)
    assert loaded is not None
    assert loaded[0] == {"step": 1}
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(ModelError, match="not the state of a training"):
        load_state(path)


def test_what_cannot_be_trained_is_said(data: TrainingData, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="crop is 40"):
        fit(changed(crop=40), data, work=tmp_path)
    with pytest.raises(UsageError, match="random weights"):
        fit(changed(frozen=("plain0",)), data, work=tmp_path)
    fakes = TrainingData(tuple(image for image in data.labelled if image.fake))
    with pytest.raises(SourceError, match="0 real and 12 fake"):
        fit(SMALL, fakes, work=tmp_path)
    recipe = tmp_path / "recipe.json"
    recipe.write_text('{"training": {"steps": -1}}')
    with pytest.raises(UsageError, match="steps"):
        read_recipe(recipe)


def test_the_recipe_of_the_shipped_model_can_be_read() -> None:
    recipe = read_recipe(Path(__file__).parents[2] / "models" / "recipe.json").training
    assert recipe.architecture.kind == "resnet50"
    assert recipe.optimiser == "adamw"


def test_the_benchmark_measures_the_wait(train: tuple[Labelled, ...]) -> None:
    figures = training_speed(SMALL, train, steps=4)
    assert set(figures) == {
        "train_input_per_s",
        "train_step_per_s",
        "train_per_s",
        "train_wait_share",
    }
    assert all(value > 0 for value in figures.values())
    assert figures["train_wait_share"] < 1


def test_progress_is_told_in_lines() -> None:
    stream = io.StringIO()
    progress = RetrainProgress(stream)
    progress("started", {"step": 4, "steps": 12})
    progress("trained", {"step": 5, "steps": 12, "loss": 0.5})
    progress("validated", {"step": 8, "loss": 0.25, "accuracy": 0.75, "auc": 0.875})
    progress("ended", {"step": 8, "steps": 12, "stopped_early": True})
    assert stream.getvalue().splitlines() == [
        "training for 12 steps, going on from step 4",
        "step 8: loss 0.2500, accuracy 0.7500, auc 0.8750",
        "training ended at step 8 of 12, early: it got no better",
    ]
