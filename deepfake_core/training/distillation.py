"""Teachers: finished classifiers whose opinion a network learns beside the labels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from deepfake_core.engines.onnx_graph import foreign_graph, graph_size
from deepfake_core.errors import ModelError
from deepfake_core.models.onnx_spec import OnnxSpec
from deepfake_core.records import Float32Array, UInt8Array

if TYPE_CHECKING:
    from deepfake_core.engines.libraries import ov


class Teachers:
    """ONNX classifiers whose mean logit, over mirrored images too, is taught."""

    def __init__(
        self, paths: Sequence[Path] = (), spec: OnnxSpec | None = None, *, size: int = 128
    ) -> None:
        """Compile networks for batches of square images.

        Args:
            paths: the files; without any there is no teacher.
            spec: what the files do not say of themselves, the same for all.
            size: side of the images that `logits` gets; networks for others resize them.

        Raises:
            ModelError: a file is missing, or is not an image classifier with one or two outputs.
        """
        self._compiled = [_compile(path, spec or OnnxSpec(), size) for path in paths]

    def __len__(self) -> int:
        """How many teachers there are."""
        return len(self._compiled)

    def logits(self, pixels: UInt8Array) -> Float32Array:
        """The mean logit of RGB pixels.

        Args:
            pixels: uint8[N, size, size, 3].

        Returns:
            float32[N]; positive means fake.
        """
        total = np.zeros(len(pixels), np.float32)
        for compiled in self._compiled:
            for view in (pixels, pixels[:, :, ::-1]):
                total += compiled([np.ascontiguousarray(view)])[0]
        return total / np.float32(max(1, 2 * len(self)))


def _compile(path: Path, spec: OnnxSpec, size: int) -> ov.CompiledModel:
    from deepfake_core.engines.libraries import ov, preprocess

    if not path.is_file():
        raise ModelError(f"there is no teacher {path}; name an existing ONNX file")
    graph = foreign_graph(path, spec)
    if graph_size(graph) != size:
        steps = preprocess.PrePostProcessor(graph)
        steps.input().tensor().set_layout(ov.Layout("NHWC")).set_shape([-1, size, size, 3])
        steps.input().model().set_layout(ov.Layout("NHWC"))
        steps.input().preprocess().resize(preprocess.ResizeAlgorithm.RESIZE_LINEAR)
        graph = steps.build()
    options = {"INFERENCE_PRECISION_HINT": "bf16", "NUM_STREAMS": 1}
    return ov.Core().compile_model(graph, "CPU", options)
