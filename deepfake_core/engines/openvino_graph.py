"""The networks of `deepfake_core.engines.keras_network` as OpenVINO graphs, from plain arrays.

Building the graph here takes under a second and needs no TensorFlow; converting the Keras
model would take ten seconds and load it (docs/decisions/0003).
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from deepfake_core.errors import ModelError, OutputError
from deepfake_core.models.architecture import Architecture, Weights

if TYPE_CHECKING:
    from deepfake_core.engines.libraries import ov

# Keras' ResNet50 uses 1.001e-5 in its backbone; its layers' default is 1e-3.
BACKBONE_EPSILON = 1.001e-5
LAYER_EPSILON = 1e-3
# (blocks, stride of the first block) of the four stages, He et al. 2015, table 1.
RESNET50_STAGES = ((3, 1), (4, 2), (6, 2), (3, 2))


def save_graph(model: ov.Model, path: Path) -> None:
    """Write a graph in OpenVINO's format: a file ``.xml`` and its weights ``.bin`` beside it.

    Raises:
        OutputError: they cannot be written, as on a full disk.
    """
    from deepfake_core.engines.libraries import ov

    try:
        ov.save_model(model, path, compress_to_fp16=False)
    except RuntimeError as error:
        # All that OpenVINO says of a full disk is that a stream failed.
        free = shutil.disk_usage(path.parent).free // 2**20
        raise OutputError(
            f"the network cannot be written to {path} ({error}); {free:,} MB are free on its disk: "
            "make room and start again; the registry did not change"
        ) from error


def build_graph(
    architecture: Architecture, weights: Weights, *, size: int, mean: float, scale: float
) -> ov.Model:
    """Build a network that takes uint8 pixels and returns logits.

    Args:
        architecture: the shape of the network.
        weights: arrays as `keras_weights` names them; any float dtype.
        size: side of the square input in pixels.
        mean: subtracted from the pixels, in 0 to 255.
        scale: what the centred pixels are divided by.

    Returns:
        A model from uint8[N, size, size, 3] (RGB) to float32[N]; positive means fake. Batch
        normalisation is folded into the convolutions.

    Raises:
        ModelError: a weight that the architecture needs is missing.
    """
    from deepfake_core.engines.libraries import ops, ov

    is_resnet = architecture.kind == "resnet50"
    net = _Network(weights, epsilon=BACKBONE_EPSILON if is_resnet else LAYER_EPSILON)
    pixels = ops.parameter([-1, size, size, 3], ov.Type.u8, name="pixels")
    x = ops.transpose(ops.convert(pixels, ov.Type.f32), [0, 3, 1, 2])
    x = ops.divide(ops.subtract(x, np.float32(mean)), np.float32(scale))
    x = _resnet50(net, x) if is_resnet else _plain(net, x, architecture)
    x = ops.relu(net.conv(x, "head_conv", None, pad=1))
    x = ops.reduce_mean(x, np.array([2, 3]), keep_dims=False)
    for index in range(len(architecture.dense)):
        x = ops.relu(net.dense(x, f"head_dense{index}"))
        x = net.normalise(x, f"head_bn{index}")
    kernel, bias = net.get("head_out/kernel"), net.get("head_out/bias")
    x = ops.add(ops.matmul(x, kernel[:, :1] - kernel[:, 1:], False, False), bias[:1] - bias[1:])
    logits = ops.squeeze(x, np.array([1]))
    logits.output(0).get_tensor().set_names({"logits"})
    return ov.Model([logits], [pixels], architecture.kind)


def _resnet50(net: _Network, x: ov.Node) -> ov.Node:
    from deepfake_core.engines.libraries import ops

    x = ops.relu(net.conv(x, "conv1_conv", "conv1_bn", stride=2, pad=3))
    # The padding of Keras is zero; after a ReLU it cannot exceed any value, as a maximum needs.
    x = ops.max_pool(x, [2, 2], [1, 1], [1, 1], [1, 1], [3, 3]).output(0)
    for stage, (blocks, stride) in enumerate(RESNET50_STAGES, start=2):
        for block in range(1, blocks + 1):
            name = f"conv{stage}_block{block}"
            step = stride if block == 1 else 1
            shortcut = x
            if block == 1:
                shortcut = net.conv(x, f"{name}_0_conv", f"{name}_0_bn", stride=step)
            y = ops.relu(net.conv(x, f"{name}_1_conv", f"{name}_1_bn", stride=step))
            y = ops.relu(net.conv(y, f"{name}_2_conv", f"{name}_2_bn", pad=1))
            y = net.conv(y, f"{name}_3_conv", f"{name}_3_bn")
            x = ops.relu(ops.add(shortcut, y))
    return x


def _plain(net: _Network, x: ov.Node, architecture: Architecture) -> ov.Node:
    from deepfake_core.engines.libraries import ops

    for index in range(len(architecture.plain_filters)):
        convolved = net.conv(x, f"plain{index}_conv", f"plain{index}_bn", pad=1)
        x = ops.max_pool(ops.relu(convolved), [2, 2], [1, 1], [0, 0], [0, 0], [2, 2]).output(0)
    return x


class _Network:
    """Layers built from named arrays."""

    def __init__(self, weights: Weights, *, epsilon: float) -> None:
        self.weights = weights
        # Of the batch normalisation after convolutions.
        self.epsilon = epsilon

    def get(self, key: str) -> np.ndarray:
        if key not in self.weights:
            raise ModelError(f"the weights lack {key}; the bundle is not of this architecture")
        return np.asarray(self.weights[key], dtype=np.float32)

    def affine(self, name: str, epsilon: float) -> tuple[np.ndarray, np.ndarray]:
        """The factor and offset that batch normalisation amounts to in inference."""
        variance = self.get(f"{name}/moving_variance").astype(np.float64)
        factor = self.get(f"{name}/gamma") / np.sqrt(variance + epsilon)
        offset = self.get(f"{name}/beta") - self.get(f"{name}/moving_mean") * factor
        return factor, offset

    def conv(
        self,
        x: ov.Node,
        name: str,
        norm: str | None,
        *,
        stride: int = 1,
        pad: int = 0,
    ) -> ov.Node:
        from deepfake_core.engines.libraries import ops

        kernel = self.get(f"{name}/kernel").transpose(3, 2, 0, 1)
        filters = np.ascontiguousarray(kernel, dtype=np.float32)
        bias = self.get(f"{name}/bias").astype(np.float64)
        if norm is not None:
            factor, offset = self.affine(norm, self.epsilon)
            filters *= factor.astype(np.float32)[:, None, None, None]
            bias = bias * factor + offset
        strides, pads = [stride, stride], [pad, pad]
        convolved = ops.convolution(x, _constant(filters), strides, pads, pads, [1, 1], name=name)
        return ops.add(convolved, bias.astype(np.float32).reshape(1, -1, 1, 1))

    def dense(self, x: ov.Node, name: str) -> ov.Node:
        from deepfake_core.engines.libraries import ops

        product = ops.matmul(x, _constant(self.get(f"{name}/kernel")), False, False, name=name)
        return ops.add(product, self.get(f"{name}/bias"))

    def normalise(self, x: ov.Node, name: str) -> ov.Node:
        from deepfake_core.engines.libraries import ops

        factor, offset = self.affine(name, LAYER_EPSILON)
        return ops.add(ops.multiply(x, factor.astype(np.float32)), offset.astype(np.float32))


def _constant(array: np.ndarray) -> ov.Node:
    """A constant by one copy; the operators themselves would go through a list of numbers."""
    from deepfake_core.engines.libraries import ov

    return ov.op.Constant(array, shared_memory=False)
