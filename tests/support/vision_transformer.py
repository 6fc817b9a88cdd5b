"""A small vision transformer with random weights, and the same arithmetic in plain NumPy."""

import math

import numpy as np

from deepfake_core.engines.clip_graph import PRODUCTS
from deepfake_core.models.second_look import ClipShape

TINY_SHAPE = ClipShape(size=12, enlarged=24, patch=8, heads=2, blocks=3, read=(2, 3))
WIDTH, HIDDEN = 16, 6


def tiny_arrays(seed: int = 0) -> dict[str, np.ndarray]:
    """Weights of `TINY_SHAPE` as `build_clip_graph` names them."""
    rng = np.random.default_rng(seed)
    arrays = {
        "patch/kernel": rng.normal(0, 0.1, (WIDTH, 3, 8, 8)).astype(np.float16),
        "class_token": rng.normal(0, 1, WIDTH).astype(np.float32),
        "positions": rng.normal(0, 1, (1 + 9, WIDTH)).astype(np.float32),
        "head/mean": rng.normal(0, 1, 4 * WIDTH).astype(np.float32),
        "head/deviation": rng.uniform(0.5, 2, 4 * WIDTH).astype(np.float32),
        "head/linear/kernel": rng.normal(0, 0.2, 4 * WIDTH).astype(np.float32),
        "head/out/kernel": rng.normal(0, 1, HIDDEN).astype(np.float32),
        "head/bias": np.array([0.3], np.float32),
    }
    names = [f"block{block}/norm{which}" for block in (1, 2, 3) for which in (1, 2)]
    for name in ("norm", *names):
        arrays[f"{name}/gamma"] = rng.uniform(0.5, 2, WIDTH).astype(np.float32)
        arrays[f"{name}/beta"] = rng.normal(0, 0.3, WIDTH).astype(np.float32)
    sides = {"up": (4 * WIDTH, WIDTH), "down": (WIDTH, 4 * WIDTH)}
    for name in (f"block{block}/{part}" for block in (1, 2, 3) for part in PRODUCTS):
        out, taken = sides.get(name.split("/")[1], (WIDTH, WIDTH))
        arrays |= _product(rng, name, out, taken)
    return arrays | _product(rng, "head/hidden", HIDDEN, 4 * WIDTH)


def _product(rng: np.random.Generator, name: str, out: int, taken: int) -> dict[str, np.ndarray]:
    return {
        f"{name}/kernel": rng.integers(-127, 128, (out, taken)).astype(np.int8),
        f"{name}/scale": rng.uniform(0.5, 1.5, out).astype(np.float32) / 73 / math.sqrt(taken),
        f"{name}/bias": rng.normal(0, 0.1, out).astype(np.float32),
    }


def reference_logits(
    shape: ClipShape, arrays: dict[str, np.ndarray], pixels: np.ndarray
) -> np.ndarray:
    """The logits of uint8[N, size, size, 3] in float64, one operation after the other."""
    v = (reference_features(shape, arrays, pixels) - arrays["head/mean"]) / arrays["head/deviation"]
    hidden = _dense(arrays, v, "head/hidden")
    erf = np.vectorize(math.erf)
    hidden = hidden * 0.5 * (1 + erf(hidden / math.sqrt(2)))
    linear, out = arrays["head/linear/kernel"], arrays["head/out/kernel"]
    return v @ linear + hidden @ out + arrays["head/bias"][0]


def reference_features(
    shape: ClipShape, arrays: dict[str, np.ndarray], pixels: np.ndarray
) -> np.ndarray:
    """What the head reads: class tokens of the read blocks, then means of their patches."""
    width, patch, across = len(arrays["class_token"]), shape.patch, shape.enlarged // shape.patch
    large = np.clip(
        enlarge(enlarge(pixels.astype(np.float64), shape.enlarged, 1), shape.enlarged, 2), 0, 255
    )
    planes = (large / 255 - np.array(shape.mean)) / np.array(shape.deviation)
    cut = planes.reshape(-1, across, patch, across, patch, 3).transpose(0, 1, 3, 5, 2, 4)
    flat = cut.reshape(len(pixels), across * across, -1)
    patches = flat @ arrays["patch/kernel"].astype(np.float64).reshape(width, -1).T
    first = np.broadcast_to(arrays["class_token"], (len(pixels), 1, width))
    tokens = _norm(arrays, np.concatenate([first, patches], 1) + arrays["positions"], "norm")
    read = []
    for block in range(1, shape.blocks + 1):
        tokens = _block(shape, arrays, tokens, f"block{block}")
        if block in shape.read:
            read.append(tokens)
    return np.concatenate([*(t[:, 0] for t in read), *(t[:, 1:].mean(1) for t in read)], 1)


def enlarge(values: np.ndarray, side: int, axis: int) -> np.ndarray:
    """Cubic convolution along one axis, pixel by pixel, edges repeated (Keys 1981, a = -0.75)."""
    count = values.shape[axis]
    lines = []
    for index in range(side):
        at = (index + 0.5) * count / side - 0.5
        line = 0.0
        for tap in range(math.floor(at) - 1, math.floor(at) + 3):
            weight = _keys(abs(at - tap))
            line = line + weight * values.take(min(max(tap, 0), count - 1), axis)
        lines.append(line)
    return np.stack(lines, axis)


def _keys(d: float, a: float = -0.75) -> float:
    if d <= 1:
        return (a + 2) * d**3 - (a + 3) * d**2 + 1
    return a * d**3 - 5 * a * d**2 + 8 * a * d - 4 * a if d < 2 else 0.0


def _block(
    shape: ClipShape, arrays: dict[str, np.ndarray], tokens: np.ndarray, name: str
) -> np.ndarray:
    count, width = tokens.shape[1], tokens.shape[2]
    inner = _norm(arrays, tokens, f"{name}/norm1")
    query, key, value = (
        _dense(arrays, inner, f"{name}/{part}")
        .reshape(-1, count, shape.heads, width // shape.heads)
        .transpose(0, 2, 1, 3)
        for part in ("query", "key", "value")
    )
    weights = np.exp(query @ key.transpose(0, 1, 3, 2) / math.sqrt(width // shape.heads))
    mixed = (weights / weights.sum(-1, keepdims=True)) @ value
    joined = mixed.transpose(0, 2, 1, 3).reshape(-1, count, width)
    tokens = tokens + _dense(arrays, joined, f"{name}/out")
    inner = _dense(arrays, _norm(arrays, tokens, f"{name}/norm2"), f"{name}/up")
    return tokens + _dense(arrays, inner / (1 + np.exp(-1.702 * inner)), f"{name}/down")


def _dense(arrays: dict[str, np.ndarray], x: np.ndarray, name: str) -> np.ndarray:
    kernel = arrays[f"{name}/kernel"] * arrays[f"{name}/scale"].astype(np.float64)[:, None]
    return x @ kernel.T + arrays[f"{name}/bias"]


def _norm(arrays: dict[str, np.ndarray], x: np.ndarray, name: str) -> np.ndarray:
    centred = x - x.mean(-1, keepdims=True)
    scaled = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-5)
    return scaled * arrays[f"{name}/gamma"] + arrays[f"{name}/beta"]
