"""Random changes that pictures go through on their way to a bucket, for both classes alike."""

import io

import numpy as np
from PIL import Image, ImageEnhance, ImageFilter

from deepfake_core.images.decoding import resize
from deepfake_core.records import UInt8Array


def augment(image: Image.Image, *, size: int, rng: np.random.Generator) -> UInt8Array:
    """Change one RGB image at its own size, then resize it as a scan does.

    Args:
        image: mode RGB, at any size.
        size: side of the result.
        rng: the source of randomness.

    Returns:
        uint8[size, size, 3].
    """
    pixels = resize(change(image, rng), size)
    if rng.random() < 0.1:
        noise = rng.normal(0, rng.uniform(1, 6), pixels.shape)
        pixels = np.clip(np.rint(pixels + noise), 0, 255).astype(np.uint8)
    return pixels


def change(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Change one RGB image at its own size: mirror, crop, colours, scale, blur, compression."""
    if rng.random() < 0.5:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    if rng.random() < 0.6:
        image = _crop(image, rng)
    if rng.random() < 0.5:
        image = _colour(image, rng)
    if rng.random() < 0.25:
        image = _rescale(image, rng)
    if rng.random() < 0.12:
        image = image.filter(ImageFilter.GaussianBlur(rng.uniform(0.3, 1.5)))
    return _compress(image, rng) if rng.random() < 0.35 else image


def _crop(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    width, height = image.size
    side = rng.uniform(0.75, 1.0)
    crop_width = width * side * rng.uniform(0.93, 1.0)
    crop_height = height * side * rng.uniform(0.93, 1.0)
    left = rng.uniform(0, width - crop_width)
    top = rng.uniform(0, height - crop_height)
    box = (int(left), int(top), int(left + crop_width), int(top + crop_height))
    return image.crop(box)


def _colour(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    for enhancer in (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color):
        image = enhancer(image).enhance(rng.uniform(0.75, 1.25))
    return image


def _rescale(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Make the image smaller, and half of the time as large as before again."""
    width, height = image.size
    factor = rng.uniform(0.35, 1.0)
    filters = (Image.Resampling.BILINEAR, Image.Resampling.BICUBIC, Image.Resampling.LANCZOS)
    smaller = (max(32, int(width * factor)), max(32, int(height * factor)))
    small = image.resize(smaller, filters[rng.integers(3)])
    return small.resize(image.size, filters[rng.integers(3)]) if rng.random() < 0.5 else small


def _compress(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    buffer = io.BytesIO()
    quality = int(rng.integers(30, 96))
    name = "WEBP" if rng.random() < 0.2 else "JPEG"
    image.save(buffer, name, quality=quality)
    return Image.open(buffer).convert("RGB")
