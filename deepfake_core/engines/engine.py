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
    from deepfake_core.engines.libraries import ov

# Images go through the network in groups of a fixed size, the last one padded, so that a score has
# the same bits whatever its neighbours are. Four cost 2 to 5 % more than 16 for each image of a
# full batch, and a quarter for a lone one (docs/decisions/0003).
GROUP = 4


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
    from deepfake_core.engines.libraries import ov

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
    from deepfake_core.engines.libraries import ov

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
        self.precision: Precision = precision
        self.lanes = len(os.sched_getaffinity(0))
        self._size, self._model = size, model
        self._compiled: ov.CompiledModel | None = None
        self._compiling = threading.Lock()
        self._own = threading.local()

    def logits(self, pixels: UInt8Array) -> Float32Array:
        """See `Engine.logits`."""
        check_pixels(pixels, self._size)
        scores = np.empty(len(pixels), np.float32)
        for start in range(0, len(pixels), GROUP):
            scores[start : start + GROUP] = self._padded(pixels[start : start + GROUP])
        return scores

    def _padded(self, part: UInt8Array) -> Float32Array:
        missing = GROUP - len(part)
        if missing:
            padding = np.zeros((missing, *part.shape[1:]), np.uint8)
            part = np.concatenate([part, padding])
        outputs = self._request().infer([np.ascontiguousarray(part)], share_inputs=True)
        return np.asarray(outputs[0], dtype=np.float32).reshape(-1)[: GROUP - missing]

    def _request(self) -> ov.InferRequest:
        """The request of the calling thread."""
        request: ov.InferRequest | None = getattr(self._own, "request", None)
        if request is None:
            request = self._own.request = self._compile().create_infer_request()
        return request

    def _compile(self) -> ov.CompiledModel:
        with self._compiling:
            if self._compiled is None:
                model = self._model.clone()
                model.reshape([GROUP, self._size, self._size, 3])
                # int8 layers keep their precision; what is left of floating point stays f32.
                hint = "bf16" if self.precision == "bf16" else "f32"
                self._compiled = compile_graph(model, hint, lanes=self.lanes)
            return self._compiled


def compile_graph(model: ov.Model, hint: str, *, lanes: int) -> ov.CompiledModel:
    """Compile a graph with one stream of inference per lane.

    Args:
        model: of a fixed input shape.
        hint: ``f32`` or ``bf16``, the arithmetic of what is floating point in it.
        lanes: how many threads use it at once.
    """
    from deepfake_core.engines.libraries import ov

    options = {
        "INFERENCE_PRECISION_HINT": hint,
        "NUM_STREAMS": lanes,
        "INFERENCE_NUM_THREADS": lanes,
        "ENABLE_CPU_PINNING": False,
    }
    try:
        return ov.Core().compile_model(model, "CPU", options)
    except RuntimeError:
        # Some small networks from elsewhere trip over the fusing of OpenVINO 2026.4, such as a
        # sum over one output ("Layout rank can't be larger than tensor rank").
        return ov.Core().compile_model(model, "CPU", {**options, "SNIPPETS_MODE": "DISABLE"})


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
