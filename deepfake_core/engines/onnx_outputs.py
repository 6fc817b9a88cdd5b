"""The end of a foreign network: one or two outputs, logits or probabilities, as one logit."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from deepfake_core.errors import ForeignModelError

if TYPE_CHECKING:
    from deepfake_core.engines.libraries import ov
    from deepfake_core.models.onnx_spec import OnnxSpec

# Steps that change no value, over which the last operation is looked for.
PASSING = {"Reshape", "Squeeze", "Unsqueeze", "Convert"}
SQUASHING = {"Softmax", "LogSoftmax", "Sigmoid"}
LEAST_PROBABILITY = 1e-7
PROBES = 8
SUM_TOLERANCE = 1e-3


def to_logits(values: ov.Output, pixels: ov.Node, *, spec: OnnxSpec, path: Path) -> ov.Node:
    """Join a network's outputs to one logit per image.

    Args:
        values: the network's output, [N, 2], [N, 1] or [N], with axes of length one after it.
        pixels: its input, uint8[N, size, size, 3].
        spec: which output means fake, and what kind they are.
        path: for messages.

    Returns:
        float[N], positive means fake: the difference of two logits, or the one logit.

    Raises:
        ForeignModelError: there are more outputs, or what they are cannot be told.
    """
    from deepfake_core.engines.libraries import ops

    count = _count(values, path)
    before = _before_squashing(values) if spec.output_kind != "logit" else None
    flat = ops.reshape(before or values, np.array([-1, count]), special_zero=False)
    if before is None and _are_probabilities(flat, pixels, spec, path):
        flat = ops.log(ops.clamp(flat, LEAST_PROBABILITY, 1.0)) if count == 2 else _log_odds(flat)
    if count == 2:
        signs = np.array([[1.0], [-1.0]] if spec.fake_output == 0 else [[-1.0], [1.0]])
    else:
        signs = np.array([[1.0 if spec.positive == "fake" else -1.0]])
    kind = values.get_element_type().to_dtype()
    joined = ops.matmul(flat, signs.astype(kind), False, False)
    return ops.squeeze(joined, np.array([1]))


def _log_odds(probability: ov.Node) -> ov.Node:
    from deepfake_core.engines.libraries import ops

    kind = probability.output(0).get_element_type().to_dtype()
    inside = ops.clamp(probability, LEAST_PROBABILITY, 1 - LEAST_PROBABILITY)
    return ops.log(ops.divide(inside, ops.subtract(np.array(1, kind), inside)))


def _count(values: ov.Output, path: Path) -> int:
    """How many outputs an image has: one or two."""
    shape, kind = values.get_partial_shape(), values.get_element_type()
    lengths = list(shape) if shape.rank.is_static else []
    if not lengths or any(axis.is_dynamic for axis in lengths[1:]):
        raise ForeignModelError(
            f"{path} gives an output of shape {shape}, which is only known while it runs; "
            "export it with fixed axes after the batch"
        )
    if lengths[0].is_static:
        raise ForeignModelError(
            f"{path} gives an output of shape {shape} for any number of images: its batch is "
            "built in; export it with a dynamic batch axis"
        )
    count = int(np.prod([axis.get_length() for axis in lengths[1:]]))
    if count not in (1, 2) or not kind.is_real():
        raise ForeignModelError(
            f"{path} gives {count} values of type {kind.get_type_name()} an image (shape "
            f"{shape}); expected one or two floats: fake or real"
        )
    return count


def _before_squashing(values: ov.Output) -> ov.Output | None:
    """What goes into the softmax or sigmoid that the network ends in; None without one."""
    node = values.get_node()
    while node.get_type_name() in PASSING:
        node = node.input_value(0).get_node()
    if node.get_type_name() not in SQUASHING:
        return None
    before: ov.Output = node.input_value(0)
    return before


def _are_probabilities(flat: ov.Node, pixels: ov.Node, spec: OnnxSpec, path: Path) -> bool:
    """Whether the values are probabilities; looked at on a few pictures where nobody says it."""
    if spec.output_kind != "auto":
        return spec.output_kind == "probability"
    outputs = _probe(flat, pixels)
    inside = bool(((outputs >= 0) & (outputs <= 1)).all())
    if outputs.shape[1] == 2:
        return inside and bool(np.abs(outputs.sum(axis=1) - 1).max() < SUM_TOLERANCE)
    if inside:
        raise ForeignModelError(
            f"{path} gives values between 0 and 1 but ends in no sigmoid; say with --output-kind "
            "whether they are probabilities or logits"
        )
    return False


def _probe(flat: ov.Node, pixels: ov.Node) -> np.ndarray:
    """The values for pictures of noise of rising contrast: float[PROBES, 1 or 2]."""
    from deepfake_core.engines.libraries import ov

    size = int(pixels.output(0).get_partial_shape()[1].get_length())
    rng = np.random.default_rng(0)
    spread = np.linspace(10, 120, PROBES)[:, None, None, None]
    noise = rng.normal(127.5, 1, (PROBES, size, size, 3)) + spread * rng.normal(
        0, 1, (PROBES, size, size, 3)
    )
    model = ov.Model([flat], [pixels], "probe")
    compiled = ov.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    images = np.clip(noise, 0, 255).astype(np.uint8)
    return np.asarray(compiled([images])[0])
