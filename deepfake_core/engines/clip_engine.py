"""Runs a second look on processors; its network is read when the first face needs it."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from deepfake_core.engines.clip_graph import build_clip_graph, build_feature_graph
from deepfake_core.engines.engine import check_pixels, processor_precisions
from deepfake_core.models.bundle import Precision
from deepfake_core.models.second_look import SecondBundle
from deepfake_core.records import Float32Array, UInt8Array

if TYPE_CHECKING:
    from deepfake_core.engines.libraries import ov

# At int8 the inputs of products are rounded, too, each group of so many of a token by its own
# scale: 128 gave half the error of 256 at the same time, 32 costs a quarter more.
ROUNDED_TOGETHER = 128


def processor_flags() -> frozenset[str]:
    """What the processor says it can, as Linux names it; empty elsewhere."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return frozenset()
    flags = [line.partition(":")[2].split() for line in lines if line.startswith("flags")]
    return frozenset(flags[0]) if flags else frozenset()


def second_precisions(look: SecondBundle, flags: frozenset[str]) -> tuple[Precision, ...]:
    """The precisions that a second look can run at here, the fastest first.

    Args:
        look: names the precisions that it is qualified for.
        flags: of the processor, from `processor_flags`.

    Returns:
        At least fp32. int8 needs VNNI; with AMX bf16 is faster than int8, whose inputs are
        rounded as they come.
    """
    able: set[Precision] = processor_precisions() - {"int8"}
    if flags & {"avx512_vnni", "avx_vnni"}:
        able.add("int8")
    order: tuple[Precision, ...] = ("int8", "bf16", "fp32")
    if "amx_bf16" in flags:
        order = ("bf16", "int8", "fp32")
    return tuple(name for name in order if name in able and name in look.description.precisions)


def open_second_look(look: SecondBundle, precision: Precision) -> ClipEngine:
    """An engine of a second look; nothing is read yet.

    Args:
        look: the second look.
        precision: one of `second_precisions`.
    """
    shape = look.description.shape
    return ClipEngine(
        lambda: build_clip_graph(shape, look.weights()), size=shape.size, precision=precision
    )


def open_tower(look: SecondBundle, precision: Precision) -> ClipEngine:
    """An engine of a second look's tower alone, for its `ClipEngine.features`."""
    shape = look.description.shape
    return ClipEngine(
        lambda: build_feature_graph(shape, look.weights()), size=shape.size, precision=precision
    )


class ClipEngine:
    """One stream of inference per core; faces go through one by one.

    A face alone costs as much as one of sixteen, because it is 197 tokens, and its score cannot
    depend on its neighbours.
    """

    def __init__(self, load: Callable[[], ov.Model], *, size: int, precision: Precision) -> None:
        """Remember how to load a network; it is loaded when the first face comes.

        Args:
            load: gives a graph from uint8[N, size, size, 3] to float32[N], or to
                float32[N, features].
            size: side of its input in pixels.
            precision: arithmetic of the network.
        """
        self.precision: Precision = precision
        self.lanes = len(os.sched_getaffinity(0))
        self._size, self._load = size, load
        self._compiled: ov.CompiledModel | None = None
        self._compiling = threading.Lock()
        self._requests = threading.local()

    @property
    def loaded(self) -> bool:
        """Whether the network is in memory."""
        return self._compiled is not None

    def logits(self, pixels: UInt8Array) -> Float32Array:
        """Score faces; see `deepfake_core.engines.engine.Engine.logits`.

        Equal faces get equal bits, however they are grouped.
        """
        check_pixels(pixels, self._size)
        scores = [self._infer(pixels[at : at + 1])[0] for at in range(len(pixels))]
        return np.array(scores, dtype=np.float32)

    def features(self, pixels: UInt8Array) -> Float32Array:
        """What the head of a second look takes, where the graph is a tower alone.

        Args:
            pixels: as for `logits`, N at least 1.

        Returns:
            float32[N, features].
        """
        check_pixels(pixels, self._size)
        return np.concatenate([self._infer(pixels[at : at + 1]) for at in range(len(pixels))])

    def _infer(self, face: UInt8Array) -> Float32Array:
        """What the graph gives for one face: a copy, for the request is used again."""
        if not hasattr(self._requests, "own"):
            self._requests.own = self._compile().create_infer_request()
        request: ov.InferRequest = self._requests.own
        return np.array(request.infer([np.ascontiguousarray(face)], share_inputs=True)[0])

    def _compile(self) -> ov.CompiledModel:
        from deepfake_core.engines.libraries import ov

        with self._compiling:
            if self._compiled is None:
                model = self._load()
                model.reshape([1, self._size, self._size, 3])
                settings = tower_settings(self.precision, lanes=self.lanes)
                self._compiled = ov.Core().compile_model(model, "CPU", settings)
            return self._compiled


def tower_settings(precision: Precision, *, lanes: int) -> dict[str, object]:
    """How a tower is compiled; unless told not to, OpenVINO rounds the inputs of int8 products."""
    faster = "bf16" in processor_precisions() and precision != "fp32"
    return {
        "INFERENCE_PRECISION_HINT": "bf16" if faster else "f32",
        "DYNAMIC_QUANTIZATION_GROUP_SIZE": ROUNDED_TOGETHER if precision == "int8" else 0,
        "NUM_STREAMS": lanes,
        "INFERENCE_NUM_THREADS": lanes,
        "ENABLE_CPU_PINNING": False,
    }
