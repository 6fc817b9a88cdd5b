"""A network that asks for too much memory or time is refused, and this process lives on."""

from pathlib import Path

import numpy as np
import pytest
from onnx import helper, numpy_helper

from deepfake_core.errors import ForeignModelError
from deepfake_core.models.onnx_spec import OnnxSpec
from deepfake_core.release import onnx_trial
from deepfake_core.release.onnx_trial import try_network
from tests.support.onnx_files import SIZE, write_graph, write_onnx

SPEC = OnnxSpec()


def write_bomb(path: Path) -> Path:
    """A file of 500 bytes that makes 400 GB of numbers, as soon as somebody looks at them."""
    shape = numpy_helper.from_array(np.array([100_000, 1_000_000], np.int64), "shape")
    axes = numpy_helper.from_array(np.array([1, 2], np.int64), "axes")
    all_axes = numpy_helper.from_array(np.array([0, 1], np.int64), "all_axes")
    kernel = numpy_helper.from_array(np.ones((3, 2), np.float32), "kernel")
    nodes = [
        helper.make_node("ConstantOfShape", ["shape"], ["many"]),
        helper.make_node("Cos", ["many"], ["ones"]),
        helper.make_node("ReduceMean", ["ones", "all_axes"], ["one"], keepdims=0),
        helper.make_node("ReduceMean", ["pixels", "axes"], ["means"], keepdims=0),
        helper.make_node("Mul", ["means", "one"], ["scaled"]),
        helper.make_node("MatMul", ["scaled", "kernel"], ["outputs"]),
    ]
    constants = [shape, axes, all_axes, kernel]
    return write_graph(path, nodes, constants, ["N", SIZE, SIZE, 3])


def test_a_network_that_runs_passes(tmp_path: Path):
    try_network(write_onnx(tmp_path / "a.onnx"), SPEC)


def test_one_that_asks_for_more_memory_than_there_is_is_named(tmp_path: Path):
    bomb = write_bomb(tmp_path / "bomb.onnx")
    assert bomb.stat().st_size < 1000
    with pytest.raises(ForeignModelError, match=r"GiB of memory|could not be read|not an ONNX"):
        try_network(bomb, SPEC)


def test_one_that_takes_too_long_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(onnx_trial, "MAX_SECONDS", 0.05)
    with pytest.raises(ForeignModelError, match=r"within 0\.05 s"):
        try_network(write_onnx(tmp_path / "a.onnx"), SPEC)


def test_what_the_other_process_says_is_passed_on(tmp_path: Path):
    network = write_onnx(tmp_path / "a.onnx", shape=["N", SIZE, 3])
    with pytest.raises(ForeignModelError, match="expected four axes"):
        try_network(network, SPEC)
    with pytest.raises(ForeignModelError, match="there is no ONNX file"):
        try_network(tmp_path / "none.onnx", SPEC)
