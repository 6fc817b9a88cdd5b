"""A tiny real model and small pictures, made from seeds."""

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deepfake_core.datasets.labelled import Labelled
from deepfake_core.models.architecture import Architecture
from deepfake_core.models.bundle import Description, Preprocessing, store_weights, write_description
from deepfake_core.models.decision import Calibration, Thresholds
from deepfake_core.models.versions import CURRENT_FILE
from deepfake_core.training.data import TrainingData
from tests.support.training import labelled_faces

TINY = Architecture(kind="plain_cnn", filters=4, dense=(8,), plain_filters=(4, 8))
# With these weights and this curve the scores of `make_picture` spread over all three labels.
SEED = 2
TINY_CALIBRATION = Calibration(temperature=0.5, offset=0.0)


def tiny_weights(*, seed: int) -> dict[str, np.ndarray]:
    """Random weights of `TINY` by ``layer/variable``."""
    rng = np.random.default_rng(seed)
    weights: dict[str, np.ndarray] = {}

    def layer(name: str, *shape: int) -> None:
        spread = np.sqrt(2 / np.prod(shape[:-1]))
        weights[f"{name}/kernel"] = rng.normal(0, spread, shape)
        weights[f"{name}/bias"] = rng.normal(0, 0.1, shape[-1])

    def norm(name: str, units: int) -> None:
        weights[f"{name}/gamma"] = rng.uniform(0.8, 1.2, units)
        weights[f"{name}/beta"] = rng.normal(0, 0.1, units)
        weights[f"{name}/moving_mean"] = rng.normal(0, 0.1, units)
        weights[f"{name}/moving_variance"] = rng.uniform(0.8, 1.2, units)

    channels = 3
    for index, filters in enumerate(TINY.plain_filters):
        layer(f"plain{index}_conv", 3, 3, channels, filters)
        norm(f"plain{index}_bn", filters)
        channels = filters
    layer("head_conv", 3, 3, channels, TINY.filters)
    units = TINY.filters
    for index, dense in enumerate(TINY.dense):
        layer(f"head_dense{index}", units, dense)
        norm(f"head_bn{index}", dense)
        units = dense
    layer("head_out", units, 2)
    return weights


def make_bundle(registry: Path, *, version: int, seed: int) -> None:
    """Write a version of the bundle ``tiny`` and mark it as current."""
    folder = registry / "tiny" / str(version)
    folder.mkdir(parents=True)
    store_weights(folder, tiny_weights(seed=seed))
    description = Description(
        name="tiny",
        version=version,
        architecture=TINY,
        preprocessing=Preprocessing(size=32),
        calibration=TINY_CALIBRATION,
        thresholds=Thresholds(real_below=0.4, fake_from=0.6),
        trained_on="nothing: its weights are random",
        files={},
    )
    write_description(folder, description)
    (registry / "tiny" / CURRENT_FILE).write_text(f'{{"version": {version}}}\n')


def make_picture(seed: int, *, kind: str = "JPEG") -> bytes:
    """A small picture of a gradient with noise, always the same for a seed."""
    rng = np.random.default_rng(seed)
    width, height = rng.integers(40, 100, 2)
    start, end = rng.uniform(0, 255, (2, 3))
    slope = np.linspace(0, 1, width)[None, :, None] * np.ones((height, 1, 1))
    pixels = start + (end - start) * slope + rng.normal(0, rng.uniform(0, 60), slope.shape)
    image = Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
    stream = io.BytesIO()
    image.save(stream, kind)
    return stream.getvalue()


def broken_files() -> dict[str, bytes]:
    """Files that are not images, or only half of one, by name."""
    return {
        "broken-cut.jpg": make_picture(1)[:-300],
        "broken-text.jpg": b"this is text\n",
        "broken-empty.png": b"",
    }


@pytest.fixture(scope="session")
def tiny_registry(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A registry with the small real bundle ``tiny@1``, which is current."""
    registry = tmp_path_factory.mktemp("registry")
    make_bundle(registry, version=1, seed=SEED)
    return registry


@pytest.fixture
def two_models(tmp_path: Path) -> Path:
    """A registry with ``tiny@1``, as in `tiny_registry`, and ``tiny@2``, which is current."""
    for version in (1, 2):
        make_bundle(tmp_path / "two_models", version=version, seed=SEED + version - 1)
    return tmp_path / "two_models"


@pytest.fixture(scope="session")
def image_folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Makes a folder of `count` pictures, a third of them PNG, some in a folder below it.

    With `broken`, the three files of `broken_files` come on top; each gets a failed verdict.
    """

    def make(
        count: int, *, broken: bool = False, seed: int = 0, folder: Path | None = None
    ) -> Path:
        folder = folder or tmp_path_factory.mktemp("images")
        (folder / "below").mkdir(parents=True, exist_ok=True)
        for index in range(count):
            place = folder / "below" if index % 5 == 4 else folder
            kind = "PNG" if index % 3 == 2 else "JPEG"
            name = f"{index:04d}.{'png' if kind == 'PNG' else 'jpg'}"
            (place / name).write_bytes(make_picture(1000 * seed + index, kind=kind))
        for name, content in broken_files().items() if broken else ():
            (folder / name).write_bytes(content)
        return folder

    return make


@pytest.fixture(scope="session")
def picture() -> Callable[..., bytes]:
    """Makes the bytes of a picture from a seed, see `make_picture`."""
    return make_picture


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of larger test data beside the checkout; tests that need it skip without it."""
    folder = Path(__file__).resolve().parent.parent.parent / "shared"
    if not folder.is_dir():
        pytest.skip(f"there is no folder {folder.name} beside the checkout")
    return folder


@pytest.fixture(scope="module")
def train(tmp_path_factory: pytest.TempPathFactory) -> tuple[Labelled, ...]:
    """Twelve faces of each class that a tiny network learns to tell apart."""
    return labelled_faces(tmp_path_factory.mktemp("labelled"))


@pytest.fixture(scope="module")
def data(train: tuple[Labelled, ...]) -> TrainingData:
    """The faces of `train`, which also decide when a training ends."""
    return TrainingData(labelled=train, validation=train)
