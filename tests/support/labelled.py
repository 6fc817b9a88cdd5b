"""Labelled pictures whose classes a tiny network learns in seconds."""

from pathlib import Path

import numpy as np
from PIL import Image

from deepfake_core.models.architecture import Architecture
from deepfake_core.retraining.config import Recipe
from deepfake_core.training.recipe import TrainConfig

TINY = Architecture(kind="plain_cnn", filters=4, dense=(8,), plain_filters=(4, 8))
RECIPE = Recipe(
    training=TrainConfig(
        architecture=TINY,
        size=32,
        crop=32,
        batch_size=16,
        steps=40,
        warmup=5,
        validate_every=20,
        rate=0.01,
    )
)


def save_pictures(root: Path, counts: dict[str, int], *, suffix: str = "jpg") -> Path:
    """Write `counts` pictures of each class into each set; fakes are brighter.

    Args:
        root: the labelled folder.
        counts: pictures per class by set; the set "" has none of its own folder.
        suffix: of the fakes; ``png`` gives the label away.
    """
    rng = np.random.default_rng(len(counts))
    for set_name, count in counts.items():
        for kind in ("real", "fake"):
            folder = root / set_name / kind
            folder.mkdir(parents=True, exist_ok=True)
            for index in range(count):
                colours = rng.normal(165 if kind == "fake" else 90, 30, (6, 6, 3))
                small = Image.fromarray(np.clip(colours, 0, 255).astype(np.uint8))
                pixels = np.asarray(small.resize((48, 48), Image.Resampling.BICUBIC), float)
                noisy = np.clip(pixels + rng.normal(0, 8, pixels.shape), 0, 255).astype(np.uint8)
                ending = suffix if kind == "fake" else "jpg"
                Image.fromarray(noisy).save(folder / f"{index:03d}.{ending}", quality=95)
    return root
