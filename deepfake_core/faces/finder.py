"""The face finder: pictures in, boxes and landmarks out, several threads at once."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from deepfake_core.errors import ModelError
from deepfake_core.faces.bundle import GRAPH_FILE, GRAPH_WEIGHTS_FILE, Finder
from deepfake_core.faces.decoding import decode_maps
from deepfake_core.faces.records import FoundFace
from deepfake_core.models.bundle import Precision
from deepfake_core.records import Failure, FailureCode, Float32Array, UInt8Array

if TYPE_CHECKING:
    from deepfake_core.engines.libraries import ov

# Pillow may first average whole pixels until this many times the wanted size is left.
REDUCING_GAP = 2.0


def finder_precision(finder: Finder, asked: Precision, available: set[Precision]) -> Precision:
    """The precision that the finder runs at beside a network that runs at `asked`.

    Returns:
        `asked` where the finder was seen to work at it and the processor has it; else the
        fastest such precision for int8, and fp32 for bf16.
    """
    fit = [name for name in finder.description.precisions if name in available]
    wanted: dict[Precision, tuple[Precision, ...]] = {
        "int8": ("int8", "bf16"),
        "bf16": ("bf16",),
        "fp32": (),
    }
    return next((name for name in wanted[asked] if name in fit), "fp32")


class FaceFinder:
    """Finds faces; each calling thread has a request of its own, as in the engine.

    Pictures go through the network one by one: a group of one is as fast as a larger one (5.7 ms
    and thread against 6.3 ms in groups of four, 160-px canvas), and no picture depends on others.

    Attributes:
        finder_id: ``name@version+hash8``.
        precision: the arithmetic.
        lanes: how many callers at once keep the machine busy.
    """

    def __init__(self, finder: Finder, *, precision: Precision = "fp32") -> None:
        """Read a finder and verify its files; it is compiled when it is first used.

        Raises:
            ModelError: a file is missing or changed, or the precision was not tested with it.
        """
        from deepfake_core.engines.libraries import ov

        if precision not in finder.description.precisions:
            tested = " or ".join(finder.description.precisions)
            raise ModelError(f"{finder.finder_id} finds faces at {tested}, not at {precision}")
        self.finder_id, self.precision = finder.finder_id, precision
        self.lanes = len(os.sched_getaffinity(0))
        self.description = finder.description
        self._core = ov.Core()
        graph, weights = finder.verified(GRAPH_FILE), finder.verified(GRAPH_WEIGHTS_FILE)
        self._model = self._core.read_model(graph, weights)
        self._compiled: dict[int, ov.CompiledModel] = {}
        self._compiling = threading.Lock()
        self._requests = threading.local()

    def find(self, pictures: Sequence[Image.Image]) -> list[list[FoundFace] | Failure]:
        """Find the faces of pictures, each by itself.

        Args:
            pictures: mode RGB, upright; a reduced copy serves where the picture is large, see
                `finding_side`.

        Returns:
            For each picture in order its faces in its own pixels, the surest first, or
            ``score.not_finite`` where the network gave numbers that are none. Equal pictures give
            equal bits.
        """
        return [self._find(picture) for picture in pictures]

    @property
    def finding_side(self) -> int:
        """Longer side in pixels from which a larger copy of a picture finds no more faces."""
        return self.description.fine_canvas

    def _find(self, picture: Image.Image) -> list[FoundFace] | Failure:
        """Look once, and closer where that shows nothing and the picture holds more."""
        told, side = self.description, max(picture.size)
        first = told.small_canvas if side <= told.small_up_to else told.canvas
        faces = self._look(picture, first)
        if not faces and side > told.small_up_to:
            faces = self._look(picture, told.fine_canvas)
        if faces is None:
            return Failure(FailureCode.SCORE_NOT_FINITE, f"{self.finder_id} gave no finite numbers")
        return faces

    def _look(self, picture: Image.Image, canvas: int) -> list[FoundFace] | None:
        pixels, across, down = draw_on_canvas(picture, canvas)
        maps = self._infer(pixels)
        faces = decode_maps(
            maps, found_from=self.description.found_from, overlap=self.description.overlap
        )
        return faces and [face.scaled(1 / across, 1 / down) for face in faces]

    def _infer(self, pixels: UInt8Array) -> list[Float32Array]:
        requests: dict[str, ov.InferRequest] = self._requests.__dict__
        canvas = str(len(pixels))
        if canvas not in requests:
            requests[canvas] = self._compile(len(pixels)).create_infer_request()
        request = requests[canvas]
        request.infer([pixels[None]], share_inputs=True)
        return [request.get_output_tensor(index).data[0] for index in range(4)]

    def _compile(self, canvas: int) -> ov.CompiledModel:
        with self._compiling:
            if canvas not in self._compiled:
                model = self._model.clone()
                model.reshape([1, canvas, canvas, 3])
                self._compiled[canvas] = self._core.compile_model(
                    model,
                    "CPU",
                    {
                        "INFERENCE_PRECISION_HINT": "bf16" if self.precision == "bf16" else "f32",
                        "NUM_STREAMS": self.lanes,
                        "INFERENCE_NUM_THREADS": self.lanes,
                        "ENABLE_CPU_PINNING": False,
                    },
                )
            return self._compiled[canvas]


def draw_on_canvas(picture: Image.Image, canvas: int) -> tuple[UInt8Array, float, float]:
    """Make a picture as large as a square canvas allows, in its upper left corner.

    Args:
        picture: mode RGB.
        canvas: side of the square in pixels.

    Returns:
        uint8[canvas, canvas, 3], black where the picture is not; by how much the picture was
        scaled across and down.
    """
    scale = canvas / max(picture.size)
    width, height = (max(1, round(side * scale)) for side in picture.size)
    resized = picture.resize((width, height), Image.Resampling.BILINEAR, reducing_gap=REDUCING_GAP)
    pixels = np.zeros((canvas, canvas, 3), np.uint8)
    pixels[:height, :width] = np.asarray(resized)
    return pixels, width / picture.width, height / picture.height
