"""From labelled folders to a promoted version, or to a refusal that changes nothing."""

import contextlib
import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from deepfake_core.cli import main
from deepfake_core.datasets.checks.inspection import inspect
from deepfake_core.datasets.labelled import Labelled, list_labelled, read_labelled
from deepfake_core.datasets.splits import arrange, split_labelled
from deepfake_core.errors import (
    DataRefused,
    LeakedImages,
    ModelError,
    OutputError,
    PlanMismatch,
    RunTaken,
    SourceError,
    UsageError,
)
from deepfake_core.models.canaries import read_canaries
from deepfake_core.models.registry import current_version, find_model, list_models
from deepfake_core.models.registry_log import read_log
from deepfake_core.records import Label
from deepfake_core.results.feedback import Feedback
from deepfake_core.retraining.config import Recipe, RetrainConfig, read_recipe
from deepfake_core.retraining.occupancy import claimed
from deepfake_core.retraining.retrain import retrain
from deepfake_core.storage.opening import open_storage
from tests.support.full_disk import files_up_to
from tests.support.labelled import RECIPE, save_pictures

pytestmark = pytest.mark.slow

KILLED = """
import json, os, signal, sys
from pathlib import Path
from deepfake_core.retraining.retrain import retrain
from deepfake_core.retraining.config import RetrainConfig
def notify(event, facts):
    if event == "validated" and facts["step"] == 20:
        os.kill(os.getpid(), signal.SIGKILL)
retrain(RetrainConfig(**json.loads(sys.argv[1])), registry=Path(sys.argv[2]), notify=notify)
"""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_pictures(tmp_path_factory.mktemp("data"), {"train": 20, "valid": 30})


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Holds ``models`` and ``out`` of the first run, on which later ones build."""
    return tmp_path_factory.mktemp("retrain")


def config_of(folder: Path, place: Path, **changes: Any) -> RetrainConfig:
    settings = {"data": str(folder), "name": "tiny", "recipe": RECIPE, "output": str(place / "out")}
    return RetrainConfig(**{**settings, **changes})


@pytest.fixture(scope="module")
def first(data: Path, work: Path) -> dict:
    """A run that was killed in the middle of its training, and then continued."""
    config = config_of(data, work, run_id="first", work=str(work / "state"))
    words = [config.model_dump_json(), str(work / "models")]
    killed = subprocess.run([sys.executable, "-c", KILLED, *words], stderr=subprocess.DEVNULL)
    assert killed.returncode == -signal.SIGKILL
    assert not (work / "models").exists()
    steps: list[int] = []

    def notify(event: str, facts: dict) -> None:
        if event == "trained":
            steps.append(facts["step"])

    again = config.model_copy(update={"run_id": None, "why": "the first one"})
    result = retrain(again, registry=work / "models", notify=notify)
    assert steps == list(range(21, 41))
    return result


def test_a_killed_run_continues_and_is_promoted(first: dict, work: Path):
    assert first["run_id"] == "first"
    assert first["passed"]
    assert first["promoted"]
    bundle = find_model("tiny", work / "models")
    assert read_canaries(bundle.folder, bundle.digest) is not None
    assert first["model_id"] == bundle.model_id
    assert first["figures"]["report"]["auc"] > 0.95
    log = read_log(work / "models" / "tiny")
    assert [line["what"] for line in log] == ["register", "gate", "promote"]
    assert log[-1]["why"] == "the first one"
    engines = log[1]["engines"]
    assert engines["checked"]
    assert engines["differences"]["fp32"]["logit"] < 2e-3
    folder = work / "out" / "retrain" / "first"
    for name in ("history.csv", "curves.png", "model.txt", "gate.json", "data/dataset.html"):
        assert (folder / name).stat().st_size > 0, name
    assert "tiny@1" in Path(first["report"]).read_text()
    assert json.loads((folder / "gate.json").read_text())["passed"] is True


def test_a_finished_run_is_left_as_it_is(first: dict, data: Path, work: Path):
    before = read_log(work / "models" / "tiny")
    config = config_of(data, work, work=str(work / "state"))
    assert retrain(config, registry=work / "models") == first
    assert read_log(work / "models" / "tiny") == before
    longer = RECIPE.training.model_copy(update={"steps": 41})
    other = config.model_copy(update={"recipe": RECIPE.model_copy(update={"training": longer})})
    with pytest.raises(PlanMismatch, match="steps was 40, is 41"):
        retrain(other, registry=work / "models")


def test_a_run_belongs_to_one_process(first: dict, data: Path, work: Path):
    config = config_of(data, work, work=str(work / "state"))
    with claimed(work / "state"):
        told = rf"in use by process {os.getpid()} of .*@{socket.gethostname()} since 20"
        with pytest.raises(RunTaken, match=told):
            retrain(config, registry=work / "models")
    assert retrain(config, registry=work / "models") == first
    assert not list(Path(first["folder"]).rglob(".*"))


def answer(path: Path, output: Path) -> None:
    """Say below an output that a picture is fake, and give it."""
    image = path.read_bytes()
    verdict = {"image": path.name, "sha256": hashlib.sha256(image).hexdigest(), "label": "real"}
    feedback = Feedback(open_storage(str(output)))
    feedback.store(verdict, correct=Label.FAKE, image=image, consent=True)


def test_a_worse_candidate_is_refused_and_a_full_disk_changes_nothing(
    first: dict,
    data: Path,
    work: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    registry = work / "models"
    hasty = {"steps": 6, "rate": 0.001, "warmup": 0, "seed": 3}
    untrained = RECIPE.training.model_copy(update=hasty)
    recipe = work / "untrained.json"
    recipe.write_text(RECIPE.model_copy(update={"training": untrained}).model_dump_json())
    words = ["--data", str(data), "--config", str(recipe), "--name", "tiny"]
    words += ["--output", str(work / "out"), "--work", str(work / "worse"), "--json"]
    answer(data / "valid" / "real" / "001.jpg", work / "scans")
    words += ["--feedback", str(work / "scans")]

    def fill(event: str, facts: dict) -> None:
        if event == "step" and facts["name"] == "register":
            full.enter_context(files_up_to(2000))

    before = {path: path.read_bytes() for path in registry.rglob("*") if path.is_file()}
    settings = {"recipe": read_recipe(recipe), "feedback": str(work / "scans")}
    config = config_of(data, work, **settings, work=str(work / "worse"))
    refused = pytest.raises(OutputError, match="what is current did not change")
    with refused, contextlib.ExitStack() as full:
        retrain(config, registry=registry, notify=fill)
    assert {path: path.read_bytes() for path in registry.rglob("*") if path.is_file()} == before

    monkeypatch.setattr("deepfake_core.models.registry.DEFAULT_REGISTRY", registry)
    assert main(["retrain", *words]) == 1
    told = capsys.readouterr()
    result = json.loads(told.out)
    assert (result["passed"], result["promoted"]) == (False, False)
    assert any(reason.startswith("AUC on clean") for reason in result["reasons"])
    assert any("current 1.0000: worse" in reason for reason in result["reasons"])
    assert "did not pass the gate" in told.err
    assert all(f"refused: {reason}" in told.err for reason in result["reasons"])
    assert any("1 images have an answer of people" in note for note in result["notes"])
    assert list_models(registry) == {"tiny": [1, 2]}
    assert current_version("tiny", registry) == 1
    assert main(["models", "promote", "tiny@2"]) == 1
    assert "it failed the gate" in capsys.readouterr().err
    assert current_version("tiny", registry) == 1


def test_data_that_gives_the_label_away_stops_before_training(tmp_path: Path):
    data = save_pictures(tmp_path / "data", {"train": 30, "valid": 30}, suffix="png")
    with pytest.raises(DataRefused, match=r"dataset\.html; --allow-shortcuts"):
        retrain(config_of(data, tmp_path), registry=tmp_path / "models")
    assert not (tmp_path / "models").exists()
    assert list(tmp_path.glob("out/retrain/*/data/dataset.html"))


def test_labels_that_contradict_stop_before_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    data = save_pictures(tmp_path / "data", {"train": 8, "valid": 8})
    same = (data / "train" / "real" / "000.jpg").read_bytes()
    (data / "train" / "fake" / "000.jpg").write_bytes(same)
    monkeypatch.setattr("deepfake_core.models.registry.DEFAULT_REGISTRY", tmp_path / "models")
    assert main(["retrain", "--data", str(data), "--output", str(tmp_path / "out")]) == 1
    assert "000.jpg" in capsys.readouterr().err
    assert not (tmp_path / "models").exists()


def test_paths_that_are_missing_are_named_at_once(data: Path, tmp_path: Path):
    starts = [
        Recipe(training=RECIPE.training.model_copy(update={"start": start}))
        for start in ("none.weights.h5", "nobody@3", "imagenet")
    ]
    wrong: list[tuple[dict, type[Exception], str]] = [
        ({"data": str(tmp_path / "none")}, SourceError, "no folder"),
        ({"teachers": ("none.onnx",)}, ModelError, "no weights file none.onnx"),
        ({"recipe": starts[0]}, ModelError, r"no weights file none\.weights"),
        ({"recipe": starts[1]}, ModelError, "nobody"),
        ({"recipe": starts[2]}, ModelError, "for resnet50 only"),
        ({"unlabelled": str(tmp_path / "none")}, SourceError, "unlabelled"),
        ({"output": "s3://bucket/out"}, UsageError, "local folder"),
        ({"feedback": str(tmp_path / "none")}, SourceError, "with feedback"),
    ]
    for changes, error, words in wrong:
        with pytest.raises(error, match=words):
            retrain(config_of(data, tmp_path, **changes), registry=tmp_path / "models")
    assert not os.listdir(tmp_path)


def test_a_recipe_that_is_none_is_named(tmp_path: Path):
    recipe = tmp_path / "recipe.json"
    recipe.write_text('{"training": {"steps": -1}}')
    with pytest.raises(UsageError, match=r"training\.steps"):
        read_recipe(recipe)
    recipe.write_text('{"training": ')
    with pytest.raises(UsageError, match=r"recipe\.json is not a recipe: Invalid JSON: .* line 1"):
        read_recipe(recipe)
    with pytest.raises(UsageError, match="cannot read"):
        read_recipe(tmp_path / "none.json")
    assert read_recipe(None) == Recipe()


def sides(images: list[Labelled]) -> dict[str, str]:
    return {image.path.resolve().name + str(image.fake): image.set_name for image in images}


def test_a_folder_without_sets_is_split_by_group(tmp_path: Path):
    data = save_pictures(tmp_path / "data", {"": 60})
    folder = arrange(data, list_labelled(data).images, tmp_path / "view")
    split = split_labelled(folder)
    assert len(split.train) + len(split.chosen) + len(split.report) == 120
    assert 0.7 < len(split.train) / 120 < 0.9
    before = sides(read_labelled(folder))
    (data / "real" / "007.jpg").unlink()
    again = arrange(data, list_labelled(data).images, tmp_path / "view")
    after = sides(read_labelled(again))
    assert after == {name: side for name, side in before.items() if name != "007.jpgFalse"}


def test_duplicates_across_sets_are_learnt_from_and_not_reported(data: Path, tmp_path: Path):
    assert arrange(data, inspect(data).images, tmp_path / "view") == data
    copied = save_pictures(tmp_path / "data", {"train": 20, "valid": 20})
    same = (copied / "train" / "real" / "000.jpg").read_bytes()
    (copied / "valid" / "real" / "000.jpg").write_bytes(same)
    folder = arrange(copied, inspect(copied).images, tmp_path / "view")
    assert folder == tmp_path / "view"
    train = [image for image in read_labelled(folder) if image.set_name == "train"]
    twice = [image for image in train if image.path.read_bytes() == same]
    assert len(train) == 41
    assert len({image.group_id for image in twice}) == 1


def test_too_few_images_are_refused(tmp_path: Path):
    data = save_pictures(tmp_path / "data", {"train": 5, "valid": 1})
    with pytest.raises(SourceError, match="at least 2 of each are needed"):
        arrange(data, list_labelled(data).images, tmp_path / "view")


def test_all_images_that_leaked_are_listed(
    first: dict, data: Path, work: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def refuse(bundle: object, images: list[Labelled]) -> list[str]:
        raise LeakedImages("2 leaked", tuple(image.path for image in images))

    monkeypatch.setattr("deepfake_core.retraining.retrain.refuse_seen", refuse)
    said: list[str] = []

    def notify(event: str, facts: dict) -> None:
        if event == "said":
            said.append(facts["line"])

    with pytest.raises(LeakedImages, match=r"2 leaked; all are listed in .*leaked\.txt"):
        retrain(config_of(data, tmp_path), registry=work / "models", notify=notify)
    (listed,) = tmp_path.glob("out/retrain/*/leaked.txt")
    names = listed.read_text().splitlines()
    assert len(names) > 20
    assert all((data / name).is_file() for name in names)
    assert f"leaked: {names[0]}" in said
    assert said[-1] == f"leaked: and {len(names) - 20} more"
