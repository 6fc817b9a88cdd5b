"""Small ONNX classifiers that tell bright pictures from dark ones."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SIZE = 32
# Unequal, so that a wrong order of colours or of outputs shows.
WEIGHTS = np.array([[0.0, 0.02], [0.0, 0.05], [0.0, 0.03]], np.float32)
BIAS = np.array([0.0, -12.5], np.float32)


def expected(pixels: np.ndarray, *, mean: float = 0.0, scale: float = 1.0) -> np.ndarray:
    """The logits that the network's two outputs have for RGB pixels: float[N, 2]."""
    return ((pixels.astype(np.float64) - mean) / scale).mean(axis=(1, 2)) @ WEIGHTS + BIAS


def write_onnx(
    path: Path,
    *,
    layout: str = "NHWC",
    weights: np.ndarray = WEIGHTS,
    bias: np.ndarray = BIAS,
    end: str | None = None,
    shape: list[Any] | None = None,
) -> Path:
    """Write a network: the mean of each channel, a product, and perhaps a squashing operation."""
    axes = numpy_helper.from_array(np.array([1, 2] if layout == "NHWC" else [2, 3]), "axes")
    kernel = numpy_helper.from_array(weights, "kernel")
    offset = numpy_helper.from_array(bias[: weights.shape[1]], "offset")
    nodes = [
        helper.make_node("ReduceMean", ["pixels", "axes"], ["means"], keepdims=0),
        helper.make_node("MatMul", ["means", "kernel"], ["product"]),
        helper.make_node("Add", ["product", "offset"], ["sums" if end else "outputs"]),
    ]
    if end:
        nodes.append(helper.make_node(end, ["sums"], ["outputs"]))
    default = ["N", SIZE, SIZE, 3] if layout == "NHWC" else ["N", 3, SIZE, SIZE]
    return write_graph(path, nodes, [axes, kernel, offset], shape or default)


def write_graph(
    path: Path, nodes: list[Any], constants: list[Any], shape: list[Any], outputs: int = 1
) -> Path:
    """Write nodes from ``pixels`` to ``outputs`` (and ``outputs1``) as an ONNX file."""
    names = ["outputs", *(f"outputs{index}" for index in range(1, outputs))]
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in names],
        constants,
    )
    imports = [helper.make_opsetid("", 18), helper.make_opsetid("elsewhere", 1)]
    onnx.save(helper.make_model(graph, opset_imports=imports, ir_version=9), path)
    return path
