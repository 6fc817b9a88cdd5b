"""Training: batches that repeat, a rate that falls, and a kill that loses nothing but time."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deepfake_core.architectures import Architecture, keras_weights
from deepfake_core.augment import augment
from deepfake_core.dataset import Labelled, read_labelled
from deepfake_core.errors import ModelError, SourceError, UsageError
from deepfake_core.recipe import TrainConfig
from deepfake_core.retrain import Recipe, read_recipe, retrain
from deepfake_core.stream import Stream, Teachers
from deepfake_core.train import fit, rate_at

SMALL = TrainConfig(
    architecture=Architecture(kind="plain_cnn", filters=4, dense=(8,), plain_filters=(4, 8)),
    size=32,
    crop=32,
    batch_size=8,
    steps=6,
    warmup=2,
    start_share=0.0,
    precision="float32",
)


def save_face(path: Path, *, fake: bool, seed: int) -> None:
    """Noise whose brightness tells the classes apart."""
    rng = np.random.default_rng(seed)
    pixels = np.clip(rng.normal(170 if fake else 80, 30, (48, 48, 3)), 0, 255).astype(np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=95)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(stream.getvalue())


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("labelled")
    for name, count in (("train", 12), ("valid", 40)):
        for seed in range(count):
            for kind in ("real", "fake"):
                face = root / name / kind / f"{seed}.jpg"
                save_face(face, fake=kind == "fake", seed=seed)
    return root


@pytest.fixture(scope="module")
def train(data: Path) -> list[Labelled]:
    return read_labelled(data, "train")


def test_a_batch_is_the_same_whenever_it_is_asked_for(train: list[Labelled]) -> None:
    one, two = (Stream(SMALL, train, [], Teachers([])) for _ in range(2))
    one.batch(1)
    for first, second in zip(one.batch(5), two.batch(5), strict=True):
        np.testing.assert_array_equal(first, second)
    assert not np.array_equal(one.batch(5)[0], one.batch(6)[0])


def test_batches_hold_as_many_fakes_as_reals(train: list[Labelled]) -> None:
    uneven = [image for image in train if image.fake][:3] + [i for i in train if not i.fake]
    plain = SMALL.model_copy(update={"mixed_share": 0.0})
    _, targets = Stream(plain, uneven, [], Teachers([])).batch(0)
    np.testing.assert_allclose(targets[:, :2].sum(axis=0), [4, 4])
    assert not targets[:, 2:].any()


def test_the_rate_rises_then_falls_to_zero() -> None:
    config = TrainConfig(steps=100, warmup=10, rate=1.0)
    rates = [rate_at(step, config) for step in range(100)]
    assert rates[9] == pytest.approx(1.0)
    assert rates[:10] == sorted(rates[:10])
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[-1] < 0.001


def test_augmented_pictures_keep_shape_and_type() -> None:
    picture = Image.fromarray(np.full((60, 50, 3), 120, np.uint8))
    for seed in range(60):
        pixels = augment(picture, size=32, rng=np.random.default_rng(seed))
        assert pixels.shape == (32, 32, 3)
        assert pixels.dtype == np.uint8


def test_a_stopped_training_goes_on_from_its_state(train: list[Labelled], tmp_path: Path) -> None:
    fit(SMALL, train, work=tmp_path)
    with np.load(tmp_path / "state.npz") as state:
        assert int(state["step"]) == SMALL.steps
    longer = SMALL.model_copy(update={"steps": 8})
    model = fit(longer, train, work=tmp_path)
    rows = (tmp_path / "log.csv").read_text().splitlines()
    assert [row.split(",")[0] for row in rows] == ["6", "8"]
    again = keras_weights(fit(longer, train, work=tmp_path))
    for name, array in keras_weights(model).items():
        np.testing.assert_array_equal(array, again[name])


def test_retrain_makes_a_version_that_is_measured(data: Path, tmp_path: Path) -> None:
    recipe = Recipe(training=SMALL.model_copy(update={"steps": 60}), trained_on="noise")
    registry = tmp_path / "models"
    bundle = retrain(recipe, data, work=tmp_path / "work", name="noise", registry=registry)
    assert bundle.model_id.startswith("noise@1+")
    assert bundle.description.figures["report"]["images"] > 0
    assert "noise" in (bundle.folder / "card.md").read_text()
    second = retrain(recipe, data, work=tmp_path / "work", name="noise", registry=registry)
    assert second.model_id.startswith("noise@2+")
    assert (registry / "noise" / "current.json").read_text() == '{"version": 1}\n'


def test_bad_input_is_named(data: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no weights file"):
        retrain(Recipe(), data, work=tmp_path, backbone=tmp_path / "none.h5")
    one_class = tmp_path / "one"
    save_face(one_class / "train" / "real" / "a.jpg", fake=False, seed=1)
    with pytest.raises(SourceError, match="missing: fake"):
        retrain(Recipe(), one_class, work=tmp_path)
    recipe = tmp_path / "recipe.json"
    recipe.write_text('{"training": {"steps": -1}}')
    with pytest.raises(UsageError, match="steps"):
        read_recipe(recipe)
