"""What happens to portraits on their way: fixed tiers for models that judge faces.

A portrait is a picture that one face fills. Scenes are made by putting it, smaller, on a
background that shows nothing; the other tiers turn, cut, shrink, enlarge and edit it.
"""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageEnhance, ImageFilter, ImageOps

from deepfake_core.images.degradations import TIERS, Degradation, saved


def _scene(share: float) -> Degradation:
    """On so large a part of a scene's side."""

    def change(image: Image.Image) -> Image.Image:
        side = max(image.size)
        wide = round(side / share)
        scene = _background(wide)
        scene.paste(image, ((wide - image.width) // 2, (wide - image.height) // 2))
        return scene

    return change


def _background(side: int) -> Image.Image:
    """A smooth scene with some grain, the same for a size."""
    rng = np.random.default_rng(side)
    coarse = rng.integers(40, 216, (6, 6, 3)).astype(np.uint8)
    smooth = Image.fromarray(coarse).resize((side, side), Image.Resampling.BICUBIC)
    grain = rng.normal(0, 4, (side, side, 1))
    return Image.fromarray(np.clip(np.asarray(smooth) + grain, 0, 255).astype(np.uint8))


def _turned(degrees: float) -> Degradation:
    def change(image: Image.Image) -> Image.Image:
        return image.rotate(degrees, Image.Resampling.BICUBIC, expand=True)

    return change


def cut_middle(share: float) -> Degradation:
    """The middle, of so large a part of each side."""

    def change(image: Image.Image) -> Image.Image:
        across, down = (round(side * (1 - share) / 2) for side in image.size)
        return image.crop((across, down, image.width - across, image.height - down))

    return change


def _loose(image: Image.Image) -> Image.Image:
    """With a mirrored border, as in a wider crop."""
    border = min(image.size) // 4
    pixels = np.pad(np.asarray(image), ((border, border), (border, border), (0, 0)), "symmetric")
    return Image.fromarray(pixels)


def _grey(image: Image.Image) -> Image.Image:
    return image.convert("L").convert("RGB")


def _sized(size: int, quality: int | None = None) -> Degradation:
    """A picture of so many pixels, perhaps compressed."""

    def change(image: Image.Image) -> Image.Image:
        scale = size / max(image.size)
        sides = tuple(max(1, round(side * scale)) for side in image.size)
        small = image.resize((sides[0], sides[1]), Image.Resampling.LANCZOS)
        return saved("JPEG", quality)(small) if quality else small

    return change


def _enlarged(size: int, factor: int) -> Degradation:
    """A thumbnail made large again."""

    def change(image: Image.Image) -> Image.Image:
        small = _sized(size)(image)
        return small.resize((small.width * factor, small.height * factor), Image.Resampling.BICUBIC)

    return change


def _smoothed(image: Image.Image) -> Image.Image:
    """Skin smoothed: a blurred copy laid over it where little changes."""
    soft = image.filter(ImageFilter.GaussianBlur(2))
    edges = image.convert("L").filter(ImageFilter.FIND_EDGES).filter(ImageFilter.GaussianBlur(1))
    return Image.composite(image, soft, edges.point(lambda value: min(255, 4 * value)))


def _graded(image: Image.Image) -> Image.Image:
    """Warmer, more contrast, more colour."""
    red, green, blue = image.split()
    warm = Image.merge(
        "RGB", (red.point(lambda v: min(255, v * 1.08)), green, blue.point(lambda v: v * 0.92))
    )
    return ImageEnhance.Color(ImageEnhance.Contrast(warm).enhance(1.15)).enhance(1.2)


EDITED: dict[str, Degradation] = {
    "denoised": lambda image: image.filter(ImageFilter.MedianFilter(3)),
    "sharpened": lambda image: image.filter(ImageFilter.UnsharpMask(2, 120, 2)),
    "smoothed": _smoothed,
    "graded": _graded,
    "autocontrast": lambda image: ImageOps.autocontrast(image, cutoff=1),
    "enlarged": lambda image: image.resize(
        (2 * image.width, 2 * image.height), Image.Resampling.LANCZOS
    ),
}
# Faces of known sizes, from what is found at all to what the network was trained on.
SIZED: dict[str, Degradation] = {
    **{f"size{size}": _sized(size) for size in (32, 48, 64, 80, 96, 128, 192)},
    **{f"size{size}_jpeg50": _sized(size, 50) for size in (64, 96, 128)},
    "avatar": _sized(96, 40),
}
FACE_TIERS: dict[str, Degradation] = {
    **TIERS,
    "scene_half": _scene(0.7),
    "scene_quarter": _scene(0.5),
    "scene_sixteenth": _scene(0.25),
    "turned10": _turned(10),
    "turned20": _turned(20),
    "turned45": _turned(45),
    "tight": cut_middle(0.7),
    "loose": _loose,
    "grey": _grey,
    **SIZED,
    "thumbnail64": _enlarged(64, 4),
    "thumbnail96": _enlarged(96, 3),
    **EDITED,
}


def tiers_for(faces: str) -> dict[str, Degradation]:
    """The tiers for models that judge faces (``find``) or whole pictures (``frame``)."""
    return FACE_TIERS if faces == "find" else TIERS
