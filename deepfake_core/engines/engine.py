"""What runs the network: OpenVINO on processors, Keras as reference and on GPUs."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Protocol

import numpy as np

from deepfake_core.engines.keras_network import build_keras, set_keras_weights, split_outputs
from deepfake_core.errors import ModelError
from deepfake_core.models.bundle import (
    INT8_FILE,
    INT8_WEIGHTS_FILE,
    NETWORK_FILE,
    NETWORK_WEIGHTS_FILE,
    Bundle,
    Precision,
)
from deepfake_core.records import Float32Array, UInt8Array

if TYPE_CHECKING:
    import openvino as ov

# Of 8, 16 and 32 the fastest per image with one stream per core, in one run on two cores. Padding
# the last group to a fixed size makes a score independent of its neighbours (docs/decisions/0003).
GROUP = 16
# Up to this many images cost less one by one than a padded group: 31 ms each against 466 ms.
MOST_ONE_BY_ONE = 14


class Engine(Protocol):
    """Scores pixels; several threads may call it at once.

    Attributes:
        precision: the arithmetic, as resolved.
        lanes: how many callers at once keep the machine busy.
    """

    precision: Precision
    lanes: int

    def logits(self, pixels: UInt8Array) -> Float32Array:
        """Score a batch in one forward pass.

        Args:
            pixels: uint8[N, size, size, 3], RGB, 0 to 255. N may be 0.

        Returns:
            float32[N] in the order of `pixels`; positive means fake. Independent of how images
            are grouped into batches, to 1e-4 at fp32.

        Raises:
            ValueError: the shape or dtype differs.
        """
        ...


def processor_precisions() -> set[Precision]:
    """The precisions that this processor computes without emulating them."""
    import openvino as ov

    offered = set(ov.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"))
    names: dict[str, Precision] = {"FP32": "fp32", "BF16": "bf16", "INT8": "int8"}
    return {names[name] for name in offered & set(names)}


def resolve_precision(bundle: Bundle, asked: str, available: set[Precision]) -> Precision:
    """The precision to run at.

    Args:
        bundle: lists the precisions it is qualified for.
        asked: ``auto`` or a precision.
        available: what the processor has.

    Raises:
        ModelError: the precision asked for is not qualified, or the processor lacks it.
    """
    qualified = [name for name in bundle.description.precisions if name in available]
    if asked == "auto":
        fastest: tuple[Precision, ...] = ("int8", "bf16", "fp32")
        return next((name for name in fastest if name in qualified), "fp32")
    for name in bundle.description.precisions:
        if name == asked and name in available:
            return name
    why = "this processor lacks it" if asked not in available else "it was not qualified for it"
    raise ModelError(
        f"{bundle.model_id} cannot run at {asked}: {why}; use auto or {' or '.join(qualified)}"
    )


def open_engine(bundle: Bundle, *, kind: str, precision: Precision) -> Engine:
    """Load a bundle into an engine.

    Args:
        bundle: the model.
        kind: ``openvino`` or ``keras``.
        precision: as `resolve_precision` gave it; Keras runs fp32 only.
    """
    if kind == "openvino":
        size = bundle.description.preprocessing.size
        return OpenVinoEngine(read_graph(bundle, precision), size=size, precision=precision)
    if precision != "fp32":
        raise ModelError(f"the keras engine runs at fp32, not at {precision}; use --precision fp32")
    return KerasEngine(bundle)


def read_graph(bundle: Bundle, precision: Precision) -> ov.Model:
    """The network as an OpenVINO graph: quantised where int8 is asked for, else in f32."""
    from deepfake_core.engines.openvino_graph import build_graph

    if precision == "int8":
        return _read_stored(bundle, INT8_FILE, INT8_WEIGHTS_FILE)
    if bundle.description.foreign is not None:
        return _read_stored(bundle, NETWORK_FILE, NETWORK_WEIGHTS_FILE)
    preprocessing = bundle.description.preprocessing
    return build_graph(
        bundle.architecture,
        bundle.weights(),
        size=preprocessing.size,
        mean=preprocessing.mean,
        scale=preprocessing.scale,
    )


def _read_stored(bundle: Bundle, network: str, weights: str) -> ov.Model:
    """A graph in OpenVINO's format, whose two files must be what the bundle's hashes say."""
    import openvino as ov

    return ov.Core().read_model(bundle.verified(network), bundle.verified(weights))


def check_pixels(pixels: UInt8Array, size: int) -> None:
    """Refuse anything but uint8[N, size, size, 3]."""
    if pixels.dtype != np.uint8 or pixels.ndim != 4 or pixels.shape[1:] != (size, size, 3):
        raise ValueError(
            f"expected uint8[N, {size}, {size}, 3], found {pixels.dtype}{list(pixels.shape)}"
        )


class OpenVinoEngine:
    """One stream of inference per core; each calling thread has a request of its own."""

    def __init__(self, model: ov.Model, *, size: int, precision: Precision) -> None:
        """Take a network; it is compiled when it is first used, in half a second.

        Args:
            model: as `read_graph` gives it.
            size: side of its input in pixels.
            precision: arithmetic of the network.
        """
        import openvino as ov

        self.precision: Precision = precision
        self.lanes = len(os.sched_getaffinity(0))
        self._size, self._model, self._core = size, model, ov.Core()
        self._compiled: dict[int, ov.CompiledModel] = {}
        self._compiling = threading.Lock()
        self._requests = threading.local()

    def logits(self, pixels: UInt8Array) -> Float32Array:
        """See `Engine.logits`."""
        check_pixels(pixels, self._size)
        scores = np.empty(len(pixels), np.float32)
        for start in range(0, len(pixels), GROUP):
            part = pixels[start : start + GROUP]
            alone = self._are_cheaper_alone(len(part))
            scores[start : start + GROUP] = self._one_by_one(part) if alone else self._padded(part)
        return scores

    def _are_cheaper_alone(self, count: int) -> bool:
        """Where rounding does not depend on the shape, a few images are not worth the padding.

        Nor are they worth half a second of compiling, unless a lone image was seen before.
        """
        few = count == 1 or (count <= MOST_ONE_BY_ONE and 1 in self._compiled)
        return few and self.precision == "fp32"

    def _one_by_one(self, part: UInt8Array) -> Float32Array:
        return np.concatenate([self._infer(part[at : at + 1]) for at in range(len(part))])

    def _padded(self, part: UInt8Array) -> Float32Array:
        missing = GROUP - len(part)
        if missing:
            padding = np.zeros((missing, *part.shape[1:]), np.uint8)
            part = np.concatenate([part, padding])
        return self._infer(part)[: GROUP - missing]

    def _infer(self, group: UInt8Array) -> Float32Array:
        requests: dict[str, ov.InferRequest] = self._requests.__dict__
        shape = str(len(group))
        if shape not in requests:
            requests[shape] = self._compile(len(group)).create_infer_request()
        request = requests[shape]
        outputs = request.infer([np.ascontiguousarray(group)], share_inputs=True)
        return np.asarray(outputs[0], dtype=np.float32)

    def _compile(self, group: int) -> ov.CompiledModel:
        with self._compiling:
            if group not in self._compiled:
                model = self._model.clone()
                model.reshape([group, self._size, self._size, 3])
                # int8 layers keep their precision; what is left of floating point stays f32.
                hint = "bf16" if self.precision == "bf16" else "f32"
                self._compiled[group] = self._core.compile_model(
                    model,
                    "CPU",
                    {
                        "INFERENCE_PRECISION_HINT": hint,
                        "NUM_STREAMS": self.lanes,
                        "INFERENCE_NUM_THREADS": self.lanes,
                        "ENABLE_CPU_PINNING": False,
                    },
                )
            return self._compiled[group]


class KerasEngine:
    """The network in Keras: the reference, and the way to a GPU."""

    precision: Precision = "fp32"
    lanes = 1

    def __init__(self, bundle: Bundle) -> None:
        """Build the network and load the bundle's weights; imports TensorFlow."""
        preprocessing = bundle.description.preprocessing
        self._size = preprocessing.size
        self._model = build_keras(
            bundle.architecture,
            size=preprocessing.size,
            mean=preprocessing.mean,
            scale=preprocessing.scale,
        )
        set_keras_weights(self._model, bundle.weights())

    def logits(self, pixels: UInt8Array) -> Float32Array:
        """See `Engine.logits`."""
        check_pixels(pixels, self._size)
        groups = [
            split_outputs(self._model.predict_on_batch(pixels[at : at + 64].astype(np.float32)))
            for at in range(0, len(pixels), 64)
        ]
        return np.concatenate(groups) if groups else np.empty(0, np.float32)
