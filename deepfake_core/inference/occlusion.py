"""Hiding parts of a picture: which parts, by what, and what the drops of a logit say of them."""

from __future__ import annotations

import functools

import numpy as np
from PIL import Image, ImageFilter

from deepfake_core.records import Float32Array, UInt8Array

# Chosen among grids, patches and random masks by how often their maps passed the test
# (docs/decisions has the table).
CELLS = 6
MASKS = 32
# How alike neighbouring cells are held, and how close to nothing all of them.
SMOOTHNESS, SHRINKAGE = 1.0, 0.3
BLUR = 10 / 128
# Radii of the surroundings that grow into a hidden area, nearest first, as shares of the side.
GROWTH = (0.03, 0.1, 0.3)
EDGE_PIXELS = 2
SEED = 6


@functools.cache
def random_halves(size: int) -> Float32Array:
    """float32[MASKS, size, size] in 0 to 1, 1 where hidden: each hides half of the cells.

    Masks come in pairs of opposites, so that each cell is hidden as often as it is shown.
    """
    rng = np.random.default_rng(SEED)
    cells = np.array([rng.permutation(CELLS**2) < CELLS**2 // 2 for _ in range(MASKS // 2)])
    both = np.stack([cells, ~cells], axis=1).reshape(MASKS, CELLS, CELLS)
    masks = [resized(half.astype(np.float32), size, Image.Resampling.BILINEAR) for half in both]
    return np.clip(np.stack(masks), 0, 1)


@functools.cache
def _solver(size: int) -> Float32Array:
    """float32[CELLS², MASKS]: ridge regression of drops on what was hidden."""
    masks = random_halves(size)
    hidden = np.stack([resized(mask, CELLS, Image.Resampling.BOX).ravel() for mask in masks])
    design = hidden - hidden.mean(axis=0)
    places = np.arange(CELLS**2).reshape(CELLS, CELLS)
    ones = np.concatenate([places[1:].ravel(), places[:, 1:].ravel()])
    others = np.concatenate([places[:-1].ravel(), places[:, :-1].ravel()])
    differences = np.zeros((len(ones), CELLS**2))
    differences[np.arange(len(ones)), ones] = 1
    differences[np.arange(len(ones)), others] = -1
    penalty = SHRINKAGE * np.eye(CELLS**2) + SMOOTHNESS * differences.T @ differences
    return np.linalg.solve(design.T @ design + penalty, design.T).astype(np.float32)


def heat_of(drops: Float32Array, size: int) -> Float32Array:
    """What each cell contributes.

    Args:
        drops: float32[MASKS], what the logit lost under each of `random_halves`.
        size: side of the picture in pixels.

    Returns:
        float32[CELLS, CELLS]; negative where hiding a cell raises the logit.
    """
    weights: Float32Array = _solver(size) @ (drops - drops.mean())
    return weights.reshape(CELLS, CELLS)


def hottest(heat: Float32Array, size: int, *, share: float) -> np.ndarray:
    """bool[size, size]: the hottest `share` of a map."""
    smooth = resized(heat, size, Image.Resampling.BICUBIC)
    count = round(share * size * size)
    order = np.argsort(-smooth.ravel(), kind="stable")
    area = np.zeros(size * size, bool)
    area[order[:count]] = True
    return area.reshape(size, size)


def elsewhere(area: np.ndarray, count: int) -> list[np.ndarray]:
    """`count` areas of the same shape and size in random places, turned and mirrored.

    What leaves the picture on one side comes in on the other. They may overlap with `area`.
    """
    rng = np.random.default_rng(SEED)
    places = []
    for _ in range(count):
        turned = np.rot90(area[:, :: int(rng.choice([1, -1]))], int(rng.integers(4)))
        places.append(np.roll(turned, rng.integers(0, len(area), 2), (0, 1)))
    return places


def hide_by_blur(pixels: UInt8Array, masks: Float32Array) -> UInt8Array:
    """uint8[N, size, size, 3]: a picture under each mask, blurred where the mask is 1."""
    picture = Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(BLUR * len(pixels)))
    return _mixed(pixels, np.asarray(picture), masks)


def hide_by_growth(pixels: UInt8Array, area: np.ndarray) -> UInt8Array:
    """A picture whose area is filled by what surrounds it, so that nothing of it is left."""
    edge = _soft(area.astype(np.float32), EDGE_PIXELS)
    outside = (edge < 0.02).astype(np.float32)
    shown = Image.fromarray((pixels * outside[..., None]).astype(np.uint8))
    total = np.zeros(pixels.shape, np.float32)
    weight = np.full((*area.shape, 1), 1e-6, np.float32)
    for share in GROWTH:
        near = _soft(outside, share * len(pixels))[..., None]
        blurred = shown.filter(ImageFilter.GaussianBlur(share * len(pixels)))
        trust = near**2 / share
        total += trust * np.asarray(blurred, np.float32) / np.maximum(near, 1e-3)
        weight += trust
    return _mixed(pixels, np.clip(total / weight, 0, 255), edge)


def resized(values: Float32Array, size: int, how: Image.Resampling) -> Float32Array:
    """A square of numbers, resized."""
    return np.asarray(Image.fromarray(values).resize((size, size), how), np.float32)


def _mixed(pixels: UInt8Array, fill: np.ndarray, masks: Float32Array) -> UInt8Array:
    weights = masks[..., None]
    mixed: UInt8Array = np.rint(pixels * (1 - weights) + fill * weights).astype(np.uint8)
    return mixed


def _soft(mask: Float32Array, radius: float) -> Float32Array:
    picture = Image.fromarray((255 * mask).astype(np.uint8))
    return np.asarray(picture.filter(ImageFilter.GaussianBlur(radius)), np.float32) / np.float32(
        255
    )
