"""A new head of a second look, from labelled faces to a promoted version, or to a refusal."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deepfake_core.cli import main
from deepfake_core.errors import CandidateRefused
from deepfake_core.inference.cropping import WholePictures
from deepfake_core.models.registry import find_model
from deepfake_core.models.registry_log import read_log
from deepfake_core.models.second_look import SECOND, SecondBundle, find_second
from tests.support.second_look import two_looks

pytestmark = pytest.mark.slow

RECIPE = {
    "gate": {"min_auc": 0.6, "min_tpr_at_1_percent_fpr": 0, "resamples": 200},
    "trained_on": "pictures of these tests",
    "limits": ["Only for tests."],
}


def save_tinted(path: Path, *, red: bool, seed: int) -> None:
    """Noise of any brightness; the colour tells the classes apart, and nothing else does."""
    rng = np.random.default_rng(seed)
    pixels = rng.normal(rng.uniform(90, 160), 30, (48, 48, 3))
    pixels[..., 0 if red else 2] += 45
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(path, "JPEG", quality=92)


@pytest.fixture(scope="module")
def tinted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A hundred and sixty pictures of each class."""
    folder = tmp_path_factory.mktemp("tinted")
    for at in range(320):
        fake = at % 2 == 0
        save_tinted(folder / ("fake" if fake else "real") / f"{at}.jpg", red=fake, seed=at)
    return folder


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("kept")


@pytest.fixture
def models(tmp_path: Path, tiny_registry: Path) -> Path:
    return two_looks(tmp_path / "models", tiny_registry)


@pytest.fixture(autouse=True)
def whole_pictures_are_faces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Noise shows no face that a finder would find."""
    for module in ("retraining.head", "release.pair_models"):
        monkeypatch.setattr(
            f"deepfake_core.{module}.open_cropper",
            lambda preprocessing, registry: WholePictures(preprocessing),
        )
    monkeypatch.setattr("deepfake_core.release.pair_models.LEAST_FAKES", 20)
    monkeypatch.setattr("deepfake_core.release.pair_models.LEAST_REALS", 20)


def fitted(models: Path, data: Path, *more: str) -> int:
    recipe = models.parent / "recipe.json"
    recipe.write_text(json.dumps(RECIPE))
    return main(
        [
            "retrain", "--head", "clip@1", "--name", "tiny", "--data", str(data),
            "--registry", str(models), "--output", str(models.parent / "reports"),
            "--config", str(recipe), "--views", "1", *more,
        ]
    )  # fmt: skip


def current(models: Path) -> SecondBundle:
    look = find_second(None, models)
    assert look is not None
    return look


def test_a_head_learns_a_new_kind_and_is_paired_and_promoted(
    models: Path, tinted: Path, kept: Path, capsys: pytest.CaptureFixture[str]
):
    before = current(models)
    assert fitted(models, tinted, "--features", str(kept), "--json") == 0
    told = json.loads(capsys.readouterr().out)
    look = current(models)
    assert (told["model_id"], told["promoted"]) == (look.model_id, True)
    assert look.description.version == 2
    assert look.description.files["tower.npz"] == before.description.files["tower.npz"]
    assert look.description.files["head.npz"] != before.description.files["head.npz"]
    assert told["figures"]["report"]["auc"] > 0.9
    assert look.pair_with(find_model("tiny", models).digest) is not None
    assert "pictures of these tests" in look.description.trained_on
    assert "Only for tests." in look.description.limits
    card = (look.folder / "card.md").read_text()
    assert f"Its tower is that of {before.model_id}" in card
    assert "| family | before | now | of |" in Path(told["report"]).read_text()
    assert [line["what"] for line in read_log(models / "clip")] == ["register", "gate", "promote"]

    assert main(["models", "rollback", "clip", "--registry", str(models)]) == 0
    assert current(models).description.version == 1
    assert main(["models", "promote", "clip@2", "--registry", str(models)]) == 0
    assert current(models).description.version == 2


def test_a_finished_run_is_not_done_again_and_features_are_kept(
    models: Path, tinted: Path, kept: Path, capsys: pytest.CaptureFixture[str]
):
    assert fitted(models, tinted, "--features", str(kept), "--work", str(models.parent / "w")) == 0
    faces = sorted(path.name for path in kept.glob("*/*.npy"))
    capsys.readouterr()
    again = ("--features", str(kept), "--work", str(models.parent / "w"), "--json")
    assert fitted(models, tinted, *again) == 0
    assert json.loads(capsys.readouterr().out)["model_id"] == current(models).model_id
    assert sorted(path.name for path in kept.glob("*/*.npy")) == faces


def test_a_run_that_was_stopped_after_its_promotion_goes_on(
    models: Path, tinted: Path, kept: Path, monkeypatch: pytest.MonkeyPatch, capsys
):
    options = ("--features", str(kept), "--work", str(models.parent / "w"))

    def stop(*_: object) -> str:
        raise KeyboardInterrupt

    with monkeypatch.context() as stopped:
        stopped.setattr("deepfake_core.retraining.head_run._report", stop)
        fitted(models, tinted, *options)
    assert current(models).description.version == 2
    capsys.readouterr()
    assert fitted(models, tinted, *options, "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["model_id"], told["promoted"]) == (current(models).model_id, True)
    assert "fitted from clip@1" in Path(told["report"]).read_text()


def test_a_head_that_is_not_better_is_not_promoted(
    models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    """Labels that nothing tells: either no head is fitted, or the gate refuses it."""
    for at in range(160):
        kind = "fake" if at % 2 else "real"
        save_tinted(tmp_path / "data" / kind / f"{at}.jpg", red=at % 4 < 2, seed=at)
    assert fitted(models, tmp_path / "data") == 1
    assert current(models).description.version == 1


def test_a_second_look_that_is_not_current_is_no_start(
    models: Path, tinted: Path, capsys: pytest.CaptureFixture[str]
):
    look = current(models)
    (models / "clip" / "2").mkdir()
    for name in ("tower.npz", "head.npz"):
        (models / "clip" / "2" / name).write_bytes((look.folder / name).read_bytes())
    told = look.description.model_dump_json().replace('"version":1', '"version":2')
    (models / "clip" / "2" / "second_look.json").write_text(told)
    (models / "clip" / "current.json").write_text('{"version": 2}')
    assert fitted(models, tinted) == 2
    assert "clip@1" in (said := capsys.readouterr().err)
    assert "is not current" in said
    with pytest.raises(CandidateRefused, match="no gate record"):
        SECOND.promote(look, registry=models)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--head", "clip@1", "--start", "none"], "--start: not with --head"),
        (["--views", "3"], "are for a new head"),
    ],
)
def test_options_that_mean_nothing_are_refused(
    tinted: Path, options: list[str], words: str, capsys: pytest.CaptureFixture[str]
):
    assert main(["retrain", "--data", str(tinted), *options]) == 2
    assert words in capsys.readouterr().err
