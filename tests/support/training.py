"""What the tests of training share: a tiny recipe, and faces told apart by brightness."""

import io
from pathlib import Path

import numpy as np
from PIL import Image

from deepfake_core.datasets.labelled import Labelled, read_labelled
from deepfake_core.models.architecture import Architecture
from deepfake_core.training.recipe import TrainConfig

TINY = Architecture(kind="plain_cnn", filters=4, dense=(8,), plain_filters=(4, 8))
SMALL = TrainConfig(
    architecture=TINY,
    size=32,
    crop=32,
    batch_size=8,
    steps=12,
    warmup=2,
    validate_every=4,
    optimiser="adamw",
    dropout=0.2,
    mixed_share=0.4,
)


def changed(config: TrainConfig = SMALL, **fields: object) -> TrainConfig:
    return TrainConfig.model_validate(config.model_dump() | fields)


def save_face(path: Path, *, fake: bool, seed: int) -> None:
    """Noise whose brightness tells the classes apart."""
    rng = np.random.default_rng(seed)
    pixels = np.clip(rng.normal(170 if fake else 80, 30, (48, 48, 3)), 0, 255).astype(np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=95)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(stream.getvalue())


def labelled_faces(root: Path) -> tuple[Labelled, ...]:
    """Twelve faces of each class."""
    for seed in range(12):
        for kind in ("real", "fake"):
            save_face(root / kind / f"{seed}.jpg", fake=kind == "fake", seed=seed)
    return tuple(read_labelled(root))


def same_weights(one: dict[str, np.ndarray], two: dict[str, np.ndarray]) -> bool:
    return one.keys() == two.keys() and all(np.array_equal(one[key], two[key]) for key in one)
