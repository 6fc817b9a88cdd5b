"""Pictures to measure with: made from a seed, as rough as photographs, with faces in them."""

from __future__ import annotations

import io
import os
import shutil
from pathlib import Path

import numpy as np
from PIL import Image, ImageEnhance, ImageOps

QUALITY = 95
# Side of the random grid, and how far its values spread: from broad areas to fine grain.
LAYERS = ((4, 60.0), (16, 25.0), (64, 9.0))
GRAIN = 2.5
FILES_PER_FOLDER = 1_000
# Renders of people who do not exist, as they lie beside the source; without them no picture
# shows a face.
RENDERS = Path(__file__).resolve().parents[2] / "data" / "samples"
# The face's share of the side of a large picture.
LARGE_FACE = 0.3


def photograph(seed: int, width: int, height: int) -> bytes:
    """A JPEG of quality 95 that resembles a photograph in its spectrum.

    Args:
        seed: the same seed gives the same bytes.
        width: in pixels.
        height: in pixels.
    """
    random = np.random.default_rng(seed)
    pixels = np.full((height, width, 3), 128, np.float32)
    for side, spread in LAYERS:
        pixels += _layer(random, side, spread, (width, height))
    grain = random.standard_normal((height, width, 1), dtype=np.float32)
    image = Image.fromarray(np.clip(pixels + GRAIN * grain, 0, 255).astype(np.uint8))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=QUALITY)
    return buffer.getvalue()


def portrait(seed: int, width: int, height: int) -> bytes:
    """A JPEG of quality 95 of a render's face: alone in a small picture, in a scene in a large one.

    Without renders it is a `photograph`.
    """
    renders = sorted(RENDERS.glob("render-*.jpg"))
    if not renders:
        return photograph(seed, width, height)
    random = np.random.default_rng(seed)
    with Image.open(renders[seed % len(renders)]) as file:
        face = file.convert("RGB").rotate(float(random.uniform(-5, 5)), Image.Resampling.BICUBIC)
    if seed % 2:
        face = ImageOps.mirror(face)
    face = ImageEnhance.Brightness(face).enhance(float(random.uniform(0.85, 1.15)))
    if max(width, height) <= 2 * face.width:
        image = face.resize((width, height), Image.Resampling.BICUBIC)
    else:
        side = round(LARGE_FACE * height)
        image = Image.open(io.BytesIO(photograph(seed, width, height)))
        place = (width - side) // 2, (height - side) // 2
        image.paste(face.resize((side, side), Image.Resampling.BICUBIC), place)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=QUALITY)
    return buffer.getvalue()


def _layer(
    random: np.random.Generator, side: int, spread: float, size: tuple[int, int]
) -> np.ndarray:
    """float32[height, width, 3]: a random grid, enlarged smoothly."""
    grid = random.normal(128, spread, (side, side, 3)).clip(0, 255).astype(np.uint8)
    large = Image.fromarray(grid).resize(size, Image.Resampling.BICUBIC)
    return np.asarray(large, np.float32) - 128


def write_pictures(folder: Path, count: int, *, distinct: int) -> list[Path]:
    """Write JPEGs of 256 pixels, of which many are links to the same few.

    Args:
        folder: made if it is missing.
        count: files.
        distinct: different pictures among them.

    Returns:
        Their paths, in order.
    """
    paths = [
        folder / f"{index // FILES_PER_FOLDER:03d}" / f"{index:06d}.jpg" for index in range(count)
    ]
    for index, path in enumerate(paths):
        path.parent.mkdir(parents=True, exist_ok=True)
        if index < distinct:
            path.write_bytes(portrait(index, 256, 256))
        else:
            _link(paths[index % distinct], path)
    return paths


def _link(existing: Path, path: Path) -> None:
    try:
        os.link(existing, path)
    except OSError:
        # Some file systems have no links, or not that many to one file.
        shutil.copyfile(existing, path)
