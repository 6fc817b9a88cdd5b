"""Strangers: what a network sees of faces at several depths, and who is told from whom."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from deepfake_core.cli import main
from deepfake_core.evaluation.depths import (
    DEPTHS,
    Picture,
    open_depths,
    open_second_depths,
    read_depths,
)
from deepfake_core.evaluation.strangeness import familiarity, fit_known, together
from deepfake_core.inference.cropping import open_cropper, read_crops
from deepfake_core.models.registry import find_model
from deepfake_core.models.second_look import find_second
from deepfake_core.ranking import auc

SAMPLES = Path(__file__).resolve().parents[2] / "data" / "samples"
RENDERS = sorted(SAMPLES.glob("render-*.jpg"))
PORTRAITS = [SAMPLES / f"portrait-{name}.jpg" for name in ("astronaut", "officer")]


def drawn(rng: np.random.Generator, count: int, *, fake: bool, shift: float = 0.0) -> np.ndarray:
    """Values of 24 channels, of which a few vary most; the classes lie apart."""
    widths = np.geomspace(4, 0.2, 24)
    values = rng.normal(shift, 1, (count, 24)) * widths + (3 if fake else 0)
    return values.astype(np.float32)


@pytest.fixture
def both() -> tuple[np.ndarray, np.ndarray, np.random.Generator]:
    rng = np.random.default_rng(1)
    values = np.concatenate([drawn(rng, 300, fake=kind) for kind in (False, True)])
    return values, np.repeat([False, True], 300), rng


def test_a_share_of_familiar_faces_is_lost_and_strangers_are_told(both):
    values, fake, rng = both
    known = fit_known(values, fake)
    compared = known.distances(
        np.concatenate([drawn(rng, 400, fake=kind) for kind in (False, True)])
    )
    theirs = np.repeat([False, True], 400)
    asked = [known.distances(drawn(rng, 2000, fake=kind)) for kind in (False, True)]
    for distances in asked:
        assert (familiarity(distances, compared, theirs) <= 0.05).mean() < 0.08
    strange = familiarity(known.distances(drawn(rng, 500, fake=False, shift=2.5)), compared, theirs)
    familiar = familiarity(asked[0], compared, theirs)
    order = -np.concatenate([familiar, strange])
    assert auc(order, np.arange(len(order)) >= len(familiar)) > 0.95


def test_a_face_of_either_class_is_familiar(both):
    """The nearer class decides: what is far from one may be at the middle of the other."""
    values, fake, _ = both
    known = fit_known(values, fake)
    distances = known.distances(values)
    at_means = known.distances(known.means * known.spread)
    assert np.allclose(np.diag(at_means), 0, atol=1e-3)
    assert np.array_equal(familiarity(at_means, distances, fake), [1.0, 1.0])


def test_the_furthest_of_all_is_as_rare_as_the_faces_allow(both):
    values, fake, _ = both
    known = fit_known(values, fake)
    far = known.distances(np.full((1, 24), 1000, np.float32))
    assert familiarity(far, known.distances(values), fake) == pytest.approx([1 / 301])


def test_depths_are_put_together_by_how_rare_they_are():
    known = {"one": np.array([0.2, 0.5, 1.0]), "two": np.array([0.4, 0.5, 1.0])}
    asked = {"one": np.array([1.0, 0.01]), "two": np.array([1.0, 0.01])}
    assert together(asked, known).tolist() == [1.0, 0.25]


def test_what_is_seen_does_not_depend_on_the_neighbours():
    bundle = find_model("resnet50")
    look, cropper = open_depths(bundle), open_cropper(bundle.description.preprocessing)
    some = [Picture(path, lambda image: image) for path in [RENDERS[0], PORTRAITS[0]]]
    both = read_depths(look, cropper, some)
    alone = read_depths(look, cropper, some[1:])
    assert both.rows == [0, 1]
    assert {name: seen.shape for name, seen in both.values.items()} == dict(
        zip(DEPTHS, [(2, 64), (2, 256), (2, 512), (2, 1024)], strict=True)
    )
    for name, seen in both.values.items():
        assert np.allclose(seen[1], alone.values[name][0], atol=1e-3)
        assert np.isfinite(seen).all()


def test_a_blank_face_has_the_least_deviation():
    look = open_depths(find_model("resnet50"))
    seen = look(np.full((1, 128, 128, 3), 127, np.uint8))
    # Padding makes edges even on what is blank: no channel is without any deviation in the deep.
    assert seen["conv1"].min() == pytest.approx(np.log(0.01), abs=0.02)


def test_a_second_look_sees_at_three_depths():
    second = find_second()
    assert second is not None
    look = open_second_depths(second)
    bundle = find_model("resnet50")
    faces = read_crops(open_cropper(bundle.description.preprocessing), RENDERS[:2]).pixels
    seen = look(faces)
    assert {name: some.shape for name, some in seen.items()} == {
        "block4": (2, 768), "block8": (2, 768), "block12": (2, 768),
    }  # fmt: skip
    for name, some in look(faces[1:]).items():
        assert np.array_equal(some[0], seen[name][1])


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    data, strangers = tmp_path / "data", tmp_path / "strangers"
    for name in ("train", "valid"):
        for kind, paths in (("real", PORTRAITS), ("fake", RENDERS[:4])):
            (data / name / kind).mkdir(parents=True)
            for at in range(6):
                path = paths[at % len(paths)]
                shutil.copyfile(path, data / name / kind / f"{at}.jpg")
    for name in ("negatives", "things"):
        (strangers / name).mkdir(parents=True)
    for path in RENDERS[4:]:
        ImageOps.posterize(Image.open(path), 2).save(strangers / "negatives" / path.name)
    shutil.copyfile(SAMPLES / "no-face-rocket.jpg", strangers / "things" / "rocket.jpg")
    return data, strangers


def test_families_are_measured_and_those_without_a_face_are_counted(folders, capsys, monkeypatch):
    monkeypatch.setattr("deepfake_core.evaluation.strangers.LEAST_OF_CLASS", 1)
    data, strangers = folders
    words = ["strangers", "resnet50", "--data", str(data), "--strangers", str(strangers)]
    assert main([*words, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["learnt"] == 12
    assert found["compared"] + found["familiar"] == 12
    named = {family["name"]: family for family in found["families"]}
    assert (named["things"]["pictures"], named["things"]["faces"]) == (1, 0)
    assert named["things"]["depths"] == {}
    assert named["negatives"]["faces"] == 2
    assert set(named["negatives"]["depths"]) == {*DEPTHS, "together"}
    for told in named["negatives"]["depths"].values():
        low, high = told["auc_interval"]
        assert 0 <= low <= told["auc"] <= high <= 1


def test_too_few_faces_are_refused(folders, capsys):
    data, strangers = folders
    words = ["strangers", "resnet50", "--data", str(data), "--strangers", str(strangers)]
    assert main(words) == 2
    assert "at least 100 of each are needed" in capsys.readouterr().err


def test_a_model_of_whole_pictures_has_no_strangers(tiny_registry, folders, capsys):
    data, strangers = map(str, folders)
    words = ["strangers", "tiny", "--data", data, "--strangers", strangers]
    assert main([*words, "--registry", str(tiny_registry)]) == 2
    assert "judges whole pictures" in capsys.readouterr().err


def test_a_folder_without_families_is_named(folders, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    words = ["strangers", "resnet50", "--data", str(folders[0])]
    assert main([*words, "--strangers", str(tmp_path / "empty")]) == 2
    assert "make one for each family" in capsys.readouterr().err


def test_a_registry_without_a_second_look_is_named(tiny_registry, folders, capsys):
    data, strangers = map(str, folders)
    words = ["strangers", "tiny", "--data", data, "--strangers", strangers, "--second"]
    assert main([*words, "--registry", str(tiny_registry)]) == 2
    assert "there is no second look" in capsys.readouterr().err
