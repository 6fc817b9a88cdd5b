"""`deepfake pair`: from a labelled folder to a pair that a scan finds."""

import json
import shutil
from pathlib import Path

import pytest

from deepfake_core.cli import main
from deepfake_core.datasets.labelled import read_labelled
from deepfake_core.inference.cropping import WholePictures
from deepfake_core.models.bundle import read_bundle
from deepfake_core.models.registry import find_model
from deepfake_core.models.second_look import find_second, write_second
from deepfake_core.release.clip_import import store_arrays
from tests.support.second_look import two_looks
from tests.support.training import save_face


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for at in range(60):
        kind = "fake" if at % 2 else "real"
        save_face(tmp_path / "data" / kind / f"{at}.jpg", fake=bool(at % 2), seed=at)
    return tmp_path / "data"


@pytest.fixture
def models(tmp_path: Path, tiny_registry: Path) -> Path:
    return two_looks(tmp_path / "own", tiny_registry)


@pytest.fixture(autouse=True)
def whole_pictures_are_faces(monkeypatch):
    """Noise shows no face that a finder would find."""
    monkeypatch.setattr(
        "deepfake_core.release.pair_models.open_cropper",
        lambda preprocessing, registry: WholePictures(preprocessing),
    )
    monkeypatch.setattr("deepfake_core.release.pair_models.LEAST_FAKES", 20)
    monkeypatch.setattr("deepfake_core.release.pair_models.LEAST_REALS", 20)


def paired(models: Path, folder: Path, *more: str) -> int:
    return main(["pair", "tiny", "--data", str(folder), "--registry", str(models), *more])


def test_a_pair_is_made_stored_and_told(models, folder, capsys):
    assert paired(models, folder, "--precision", "fp32", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    first, look = find_model("tiny", models), find_second(None, models)
    pair = look.pair_with(first.digest)
    assert told["pair"] == pair.digest
    assert told["line"] == pair.line
    assert list(pair.curves) == ["fp32"]
    found = pair.figures["fp32"]
    reported = [image for image in read_labelled(folder) if image.reported]
    assert told["figures"]["fp32"] == found.model_dump()
    report = found.all["report"]
    assert report["images"] == 4 * len(reported), "four tiers of each face that chose nothing"
    assert report["auc"] > 0.95
    tiers = {f"report_{tier}" for tier in ("jpeg75", "size64", "size96_jpeg50")}
    assert set(found.auto) == {"report", "fake", "real", *tiers}


def test_a_set_that_is_no_task_is_reported_on_alone(models, folder, tmp_path, capsys):
    for kind in ("fake", "real"):
        (tmp_path / "data" / "valid").mkdir(exist_ok=True)
        (tmp_path / "data" / kind).rename(tmp_path / "data" / "valid" / kind)
    for at in range(3):
        save_face(folder / "swaps" / "fake" / f"{at}.jpg", fake=False, seed=500 + at)
    assert paired(models, folder, "--precision", "fp32", "--aside", "swaps", "--json") == 0
    found = json.loads(capsys.readouterr().out)["figures"]["fp32"]
    reported = [
        image for image in read_labelled(folder) if image.reported and image.set_name == "valid"
    ]
    assert found["auto"]["report"]["images"] == 4 * len(reported)
    assert found["auto"]["swaps"]["images"] == 4 * 3
    assert "swaps" not in found["sent_on"]


def test_it_is_told_in_words(models, folder, capsys):
    assert paired(models, folder) == 0
    words = capsys.readouterr().out
    assert "sends faces that score" in words
    assert "of the fakes do not" in words


def test_a_model_of_whole_pictures_cannot_be_paired(models, folder, tiny_registry, capsys):
    first = find_model("tiny", models)
    shutil.copyfile(
        find_model("tiny", tiny_registry).folder / "bundle.json", first.folder / "bundle.json"
    )
    assert read_bundle(first.folder).description.preprocessing.faces == "frame"
    assert paired(models, folder) == 2
    assert "judges whole pictures" in capsys.readouterr().err


def test_too_few_faces_cannot_make_a_pair(models, folder, capsys):
    for path in sorted((folder / "fake").iterdir())[:-5]:
        path.unlink()
    assert paired(models, folder) == 2
    assert "5 generated and 30 photographed faces" in capsys.readouterr().err


def test_without_a_second_look_there_is_nothing_to_pair(tiny_registry, folder, capsys):
    assert paired(tiny_registry, folder) == 2
    assert "no second look" in capsys.readouterr().err


def test_a_second_look_that_is_wrong_is_refused(models, folder, capsys):
    look = find_second(None, models)
    arrays = look.weights()
    for name in ("head/linear/kernel", "head/out/kernel"):
        arrays[name] = -arrays[name]
    store_arrays(look.folder, arrays)
    write_second(look.folder, look.description)
    assert paired(models, folder, "--precision", "fp32") == 1
    assert "of no use on these faces" in capsys.readouterr().err
    assert not list(models.rglob("pairs/*.json"))
