"""CLIP's image tower with a head on the tokens of its blocks, as one OpenVINO graph.

A vision transformer (Dosovitskiy et al. 2021) as CLIP trained it (Radford et al. 2021). Its
products are stored as int8 with a scale for each output and are turned back into floats when the
graph is compiled: the file stays small, the arithmetic is that of the float tower.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from deepfake_core.errors import ModelError
from deepfake_core.models.second_look import ClipShape

if TYPE_CHECKING:
    from deepfake_core.engines.libraries import ov

Arrays = Mapping[str, np.ndarray]

# The products of a block, by name.
PRODUCTS = ("query", "key", "value", "out", "up", "down")
NORM_EPSILON = 1e-5
# CLIP's activation: x * sigmoid(1.702 x), a quick stand-in for GELU.
QUICK_GELU = 1.702
# Keys' cubic convolution with the coefficient that PyTorch uses, on which the head was fitted.
CUBIC = -0.75


def build_clip_graph(shape: ClipShape, arrays: Arrays) -> ov.Model:
    """Build the tower and its head.

    Args:
        shape: sizes, and the blocks that the head reads.
        arrays: ``patch/kernel`` f[width, 3, patch, patch], ``class_token`` f[width],
            ``positions`` f[1 + patches, width], ``norm/{gamma,beta}``; of each block from 1,
            ``blockN/{norm1,norm2}/{gamma,beta}`` and ``blockN/{query,key,value,out,up,down}/
            {kernel,scale,bias}`` with int8[out, in] and f[out]; of the head, on the features
            ``[class tokens, means of the patches' tokens]`` of the read blocks:
            ``head/{mean,deviation}``, ``head/hidden/{kernel,scale,bias}``, ``head/linear/kernel``
            f[features], ``head/out/kernel`` f[hidden], ``head/bias`` f[1].

    Returns:
        A model from uint8[N, size, size, 3] (RGB) to float32[N]; positive means fake.

    Raises:
        ModelError: an array that the shape needs is missing.
    """
    from deepfake_core.engines.libraries import ops, ov

    net = _Tower(shape, arrays)
    pixels = ops.parameter([-1, shape.size, shape.size, 3], ov.Type.u8, name="pixels")
    logits = ops.squeeze(net.head(net.features(pixels)), np.array([1]))
    logits.output(0).get_tensor().set_names({"logits"})
    return ov.Model([logits], [pixels], "clip")


def build_feature_graph(shape: ClipShape, arrays: Arrays) -> ov.Model:
    """The tower alone, for fitting another head.

    Returns:
        A model from uint8[N, size, size, 3] to what the head takes, before its normalisation:
        float32[N, 2 * read blocks * width].
    """
    from deepfake_core.engines.libraries import ops, ov

    pixels = ops.parameter([-1, shape.size, shape.size, 3], ov.Type.u8, name="pixels")
    return ov.Model([_Tower(shape, arrays).features(pixels)], [pixels], "clip_features")


class _Tower:
    """Layers built from named arrays; tokens are [N, tokens, width]."""

    def __init__(self, shape: ClipShape, arrays: Arrays) -> None:
        self.shape, self.arrays = shape, arrays
        self.width = len(self.get("class_token"))

    def get(self, key: str) -> np.ndarray:
        if key not in self.arrays:
            raise ModelError(f"the weights lack {key}; the bundle is not of this shape")
        return np.asarray(self.arrays[key])

    def constant(self, key: str) -> ov.Node:
        return _constant(self.get(key).astype(np.float32))

    def features(self, pixels: ov.Node) -> ov.Node:
        from deepfake_core.engines.libraries import ops

        tokens = self.norm(self.embed(pixels), "norm")
        class_tokens, means = [], []
        for block in range(1, self.shape.blocks + 1):
            tokens = self.block(tokens, f"block{block}")
            if block in self.shape.read:
                first, rest = ops.variadic_split(tokens, 1, np.array([1, -1])).outputs()
                class_tokens.append(ops.squeeze(first, np.array([1])))
                means.append(ops.reduce_mean(rest, np.array([1]), keep_dims=False))
        return ops.concat([*class_tokens, *means], 1)

    def embed(self, pixels: ov.Node) -> ov.Node:
        """Enlarge, normalise, cut into patches: [N, 1 + patches, width]."""
        from deepfake_core.engines.libraries import ops, ov

        shape = self.shape
        planes = ops.transpose(ops.convert(pixels, ov.Type.f32), np.array([0, 3, 1, 2]))
        if shape.enlarged != shape.size:
            planes = ops.clamp(_enlarged(planes, shape.enlarged), 0.0, 255.0)
        mean = np.array(shape.mean, np.float32).reshape(1, 3, 1, 1) * 255
        deviation = np.array(shape.deviation, np.float32).reshape(1, 3, 1, 1) * 255
        planes = ops.divide(ops.subtract(planes, mean), deviation)
        step, none = [shape.patch, shape.patch], [0, 0]
        patches = ops.convolution(planes, self.constant("patch/kernel"), step, none, none, [1, 1])
        flat = ops.reshape(patches, np.array([0, self.width, -1]), special_zero=True)
        tokens = ops.transpose(flat, np.array([0, 2, 1]))
        positions = self.get("positions").astype(np.float32)
        first = self.get("class_token").astype(np.float32) + positions[0]
        count = ops.gather(ops.shape_of(pixels), np.array([0]), np.array(0))
        target = ops.concat([count, np.array([1, self.width])], 0)
        firsts = ops.broadcast(first.reshape(1, 1, -1), target)
        return ops.concat([firsts, ops.add(tokens, positions[None, 1:])], 1)

    def block(self, tokens: ov.Node, name: str) -> ov.Node:
        from deepfake_core.engines.libraries import ops

        inner = self.norm(tokens, f"{name}/norm1")
        tokens = ops.add(tokens, self.dense(self.attend(inner, name), f"{name}/out"))
        inner = self.dense(self.norm(tokens, f"{name}/norm2"), f"{name}/up")
        inner = ops.swish(inner, np.float32(QUICK_GELU))
        return ops.add(tokens, self.dense(inner, f"{name}/down"))

    def attend(self, tokens: ov.Node, name: str) -> ov.Node:
        from deepfake_core.engines.libraries import ops

        parts = [self.dense(tokens, f"{name}/{part}") for part in ("query", "key", "value")]
        split = np.array([0, 0, self.shape.heads, self.width // self.shape.heads])
        query, key, value = (
            ops.transpose(ops.reshape(part, split, special_zero=True), np.array([0, 2, 1, 3]))
            for part in parts
        )
        mixed = ops.scaled_dot_product_attention(query, key, value)
        joined = np.array([0, 0, self.width])
        return ops.reshape(ops.transpose(mixed, np.array([0, 2, 1, 3])), joined, special_zero=True)

    def norm(self, x: ov.Node, name: str) -> ov.Node:
        from deepfake_core.engines.libraries import ops

        centred = ops.mvn(x, np.array([-1]), True, NORM_EPSILON, "inside_sqrt")
        scaled = ops.multiply(centred, self.constant(f"{name}/gamma"))
        return ops.add(scaled, self.constant(f"{name}/beta"))

    def dense(self, x: ov.Node, name: str) -> ov.Node:
        from deepfake_core.engines.libraries import ops

        product = ops.matmul(x, self.kernel(name), False, True, name=name)
        return ops.add(product, self.constant(f"{name}/bias"))

    def kernel(self, name: str) -> ov.Node:
        """int8[out, in] with a scale for each output, as floats when it is compiled."""
        from deepfake_core.engines.libraries import ops, ov

        stored = ops.convert(_constant(self.get(f"{name}/kernel")), ov.Type.f32)
        scale = self.get(f"{name}/scale").astype(np.float32).reshape(-1, 1)
        return ops.multiply(stored, _constant(scale))

    def head(self, features: ov.Node) -> ov.Node:
        from deepfake_core.engines.libraries import ops

        deviation = self.constant("head/deviation")
        v = ops.divide(ops.subtract(features, self.constant("head/mean")), deviation)
        hidden = ops.gelu(self.dense(v, "head/hidden"), "erf")
        linear = self.get("head/linear/kernel").astype(np.float32).reshape(-1, 1)
        out = self.get("head/out/kernel").astype(np.float32).reshape(-1, 1)
        both = ops.add(ops.matmul(v, linear, False, False), ops.matmul(hidden, out, False, False))
        return ops.add(both, self.constant("head/bias"))


def _enlarged(planes: ov.Node, side: int) -> ov.Node:
    """Bicubic as PyTorch does it. Two products would be faster, but at bf16 they round pixels."""
    from deepfake_core.engines.libraries import ops

    return ops.interpolate(
        planes,
        np.array([side, side]),
        "cubic",
        "sizes",
        axes=np.array([2, 3]),
        coordinate_transformation_mode="half_pixel",
        cube_coeff=CUBIC,
    )


def _constant(array: np.ndarray) -> ov.Node:
    """A constant by one copy; the operators themselves would go through a list of numbers."""
    from deepfake_core.engines.libraries import ov

    return ov.op.Constant(np.ascontiguousarray(array), shared_memory=False)
