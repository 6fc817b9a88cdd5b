"""Where training starts: files, models, ImageNet, and what does not fit."""

from pathlib import Path

import numpy as np
import pytest

from deepfake_core.datasets.labelled import Labelled
from deepfake_core.engines.keras_network import build_keras, keras_weights
from deepfake_core.errors import ModelError
from deepfake_core.models.architecture import Architecture
from deepfake_core.training.data import TrainingData
from deepfake_core.training.fit import fit
from deepfake_core.training.initial_weights import (
    IMAGENET_MEANS,
    for_own_inputs,
    read_initial_weights,
)
from deepfake_core.training.recipe import TrainConfig
from tests.support.training import TINY, changed, same_weights

pytestmark = pytest.mark.slow


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # Keras' own
def test_training_starts_from_files_and_from_the_registry(
    tiny_registry: Path, data: TrainingData, tmp_path: Path
) -> None:
    model = build_keras(TINY, size=32, mean=127.5, scale=64.0)
    model.save_weights(tmp_path / "w.weights.h5")
    model.save(tmp_path / "w.keras")
    np.savez(tmp_path / "w.npz", **keras_weights(model))
    for name in ("w.weights.h5", "w.keras", "w.npz"):
        start = read_initial_weights(changed(start=str(tmp_path / name)))
        assert start.has_head
        assert same_weights(dict(start.weights), keras_weights(model))

    warm = changed(start="tiny@1", start_share=1.0, steps=2)
    found = read_initial_weights(warm, tiny_registry)
    assert found.has_head
    # All of the average is the start, so training changes nothing but what the start lacks.
    trained = fit(warm, data, work=tmp_path / "work", registry=tiny_registry)
    assert same_weights(keras_weights(trained), dict(found.weights))


def test_a_start_that_does_not_fit_is_named(tiny_registry: Path, tmp_path: Path) -> None:
    wider = changed(architecture={**TINY.model_dump(), "filters": 6}, start="tiny@1")
    with pytest.raises(ModelError, match="another architecture"):
        read_initial_weights(wider, tiny_registry)
    with pytest.raises(ModelError, match="no model named 'nobody'"):
        read_initial_weights(changed(start="nobody"), tiny_registry)
    with pytest.raises(ModelError, match=r"no weights file .*none\.npz"):
        read_initial_weights(changed(start=str(tmp_path / "none.npz")))
    np.savez(tmp_path / "other.npz", other=np.ones(3))
    with pytest.raises(ModelError, match="plain0_conv/kernel should have the shape"):
        read_initial_weights(changed(start=str(tmp_path / "other.npz")))
    (tmp_path / "cut.npz").write_bytes((tmp_path / "other.npz").read_bytes()[:100])
    with pytest.raises(ModelError, match="cannot be read as weights"):
        read_initial_weights(changed(start=str(tmp_path / "cut.npz")))
    (tmp_path / "text.weights.h5").write_text("no weights")
    with pytest.raises(ModelError, match="holds neither"):
        read_initial_weights(changed(start=str(tmp_path / "text.weights.h5")))


def test_imagenet_without_a_network_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    import keras

    def offline(**options: object) -> object:
        raise Exception("URL fetch failure on https://storage")

    monkeypatch.setattr(keras.applications, "ResNet50", offline)
    with pytest.raises(ModelError, match=r"URL fetch failure.*give its path as start"):
        read_initial_weights(TrainConfig(start="imagenet"))


def test_imagenet_weights_see_the_same_in_pixels_scaled_here() -> None:
    rng = np.random.default_rng(0)
    kernel, bias = rng.normal(size=(1, 1, 3, 5)), rng.normal(size=5)
    pixels = rng.uniform(0, 255, (7, 3))
    config = TrainConfig()
    own = for_own_inputs({"conv1_conv/kernel": kernel, "conv1_conv/bias": bias}, config)
    expected = (pixels[:, ::-1] - IMAGENET_MEANS) @ kernel[0, 0] + bias
    scaled = (pixels - config.mean) / config.scale
    found = scaled @ own["conv1_conv/kernel"][0, 0] + own["conv1_conv/bias"]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-3)


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # Keras' own
def test_a_frozen_backbone_keeps_its_weights_while_a_new_head_learns(
    train: tuple[Labelled, ...], tmp_path: Path
) -> None:
    import keras

    backbone = keras.applications.ResNet50(include_top=False, weights=None, input_shape=(32, 32, 3))
    path = tmp_path / "backbone.weights.h5"
    backbone.save_weights(path)
    shape = Architecture(filters=2, dense=(4,))
    config = changed(
        architecture=shape.model_dump(), start=str(path), steps=1, head_epochs=1, frozen=("conv",)
    )
    model = fit(config, TrainingData(train), work=tmp_path / "work")
    trained, before = keras_weights(model), keras_weights(backbone)
    kernels = [name for name in before if name.endswith("kernel")]
    assert len(kernels) == 53
    assert all(np.array_equal(trained[name], before[name]) for name in kernels)
    assert np.abs(trained["head_conv/kernel"]).max() > 0
