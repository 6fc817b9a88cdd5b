"""What happens to pictures on their way: fixed tiers that a model is evaluated on."""

from __future__ import annotations

import io
from collections.abc import Callable

from PIL import Image, ImageFilter

Degradation = Callable[[Image.Image], Image.Image]


def saved(name: str, quality: int) -> Degradation:
    """Saved in a lossy format and opened again."""

    def change(image: Image.Image) -> Image.Image:
        buffer = io.BytesIO()
        image.save(buffer, name, quality=quality)
        return Image.open(buffer).convert("RGB")

    return change


def _smaller(factor: float) -> Degradation:
    def change(image: Image.Image) -> Image.Image:
        width, height = (max(1, round(side * factor)) for side in image.size)
        return image.resize((width, height), Image.Resampling.BICUBIC)

    return change


def _screenshot(image: Image.Image) -> Image.Image:
    """Shown at another size on a screen, and photographed there by the system."""
    width, height = (max(1, round(side * 0.8)) for side in image.size)
    return saved("JPEG", 85)(image.resize((width, height), Image.Resampling.LANCZOS))


TIERS: dict[str, Degradation] = {
    "clean": lambda image: image,
    "jpeg90": saved("JPEG", 90),
    "jpeg75": saved("JPEG", 75),
    "jpeg50": saved("JPEG", 50),
    "jpeg30": saved("JPEG", 30),
    "webp80": saved("WEBP", 80),
    "half": _smaller(0.5),
    "quarter": _smaller(0.25),
    "blur": lambda image: image.filter(ImageFilter.GaussianBlur(1.5)),
    "screenshot": _screenshot,
}
