"""The face finder: pictures in, boxes and landmarks out, several threads at once."""

from __future__ import annotations

import dataclasses
import os
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING

from PIL import Image

from deepfake_core.errors import ModelError
from deepfake_core.faces.bundle import GRAPH_FILE, GRAPH_WEIGHTS_FILE, CloserLooks, Finder
from deepfake_core.faces.canvases import (
    centre,
    cut_for_glance,
    draw_on_canvas,
    finer_canvas,
    first_canvas,
    is_certain,
    is_clear,
)
from deepfake_core.faces.decoding import NotFiniteError, decode_maps, one_each, same_face
from deepfake_core.faces.records import FoundFace
from deepfake_core.models.bundle import Precision
from deepfake_core.records import Failure, FailureCode, Float32Array, UInt8Array

if TYPE_CHECKING:
    from deepfake_core.engines.libraries import ov

# Most places of a picture, and of a turned one, that are looked at once more, the surest of them;
# what is beyond them is taken as it was seen. A crowd has that many uncertain faces.
MOST_GLANCES = 32
MOST_TURNED_GLANCES = 4
# Pillow may first average whole pixels until this many times the wanted size is left. Averaging
# down to that size is five times as fast and finds the same; the first finder had the other.
EXACT_GAP, FAST_GAP = 2.0, 1.0
# By how much a picture is turned clockwise where its faces are upright after the transposition.
QUARTER_TURNS = (
    (180.0, Image.Transpose.ROTATE_180),
    (90.0, Image.Transpose.ROTATE_90),
    (270.0, Image.Transpose.ROTATE_270),
)


@dataclasses.dataclass(frozen=True, slots=True)
class View:
    """A picture that was looked at.

    Attributes:
        picture: mode RGB.
        scale: pixels of the canvas for one of the picture.
    """

    picture: Image.Image
    scale: float


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
            raise ModelError(f"{finder.model_id} finds faces at {tested}, not at {precision}")
        self.finder_id, self.precision = finder.model_id, precision
        self.lanes = len(os.sched_getaffinity(0))
        self.description = finder.description
        self._core = ov.Core()
        # A file that is replaced while its pages are mapped ends the process.
        self._core.set_property({"ENABLE_MMAP": False})
        graph, weights = finder.verified(GRAPH_FILE), finder.verified(GRAPH_WEIGHTS_FILE)
        self._model = self._core.read_model(graph, weights)
        self._compiled: dict[int, ov.CompiledModel] = {}
        self._compiling = threading.Lock()
        self._requests = threading.local()

    def find(self, pictures: Sequence[Image.Image]) -> list[list[FoundFace] | Failure]:
        """Find the faces of pictures, each by itself.

        Args:
            pictures: mode RGB, upright; of a large one a reduced copy serves, with a longer side
                of at least that of the largest canvas.

        Returns:
            For each picture in order its faces in its own pixels, the surest first, or
            ``score.not_finite`` where the network gave numbers that are none. Equal pictures give
            equal bits.
        """
        return [self._find(picture) for picture in pictures]

    def _find(self, picture: Image.Image) -> list[FoundFace] | Failure:
        closer = self.description.closer
        try:
            if closer is None:
                return self._once(picture)
            return self._upright(picture, closer) or self._turned(picture, closer)
        except NotFiniteError:
            return Failure(FailureCode.SCORE_NOT_FINITE, f"{self.finder_id} gave no finite numbers")

    def _once(self, picture: Image.Image) -> list[FoundFace]:
        """Look, and on a finer canvas where that shows nothing and the picture holds more."""
        told, side = self.description, max(picture.size)
        faces = self._look(picture, first_canvas(told, side), seen_from=told.found_from)
        if faces or side <= told.small_up_to:
            return faces
        return self._look(picture, told.fine_canvas, seen_from=told.found_from)

    def _upright(self, picture: Image.Image, closer: CloserLooks) -> list[FoundFace]:
        """A finer canvas where the first shows nothing clear; then once more what is uncertain."""
        side = max(picture.size)
        canvas, finer = first_canvas(self.description, side), finer_canvas(closer, side)
        places = self._look(picture, canvas, seen_from=closer.seen_from)
        if finer > canvas and not any(is_clear(closer, place, canvas / side) for place in places):
            canvas, places = finer, self._look(picture, finer, seen_from=closer.seen_from)
        return self._found(View(picture, canvas / side), places, closer, most=MOST_GLANCES)

    def _turned(self, picture: Image.Image, closer: CloserLooks) -> list[FoundFace]:
        """The faces in a picture that lies on its side or stands on its head, if they are large.

        Such pictures are rare, and most without faces come here: only a small canvas is used.
        """
        best: list[FoundFace] = []
        canvas, surest = closer.glance_canvas, closer.sure_from
        for degrees, transpose in QUARTER_TURNS:
            turned = picture.transpose(transpose)
            places = self._look(turned, canvas, seen_from=closer.seen_from)
            view = View(turned, canvas / max(turned.size))
            faces = self._found(view, places, closer, most=MOST_TURNED_GLANCES)
            if faces and faces[0].found > surest:
                surest, about = faces[0].found, centre(turned)
                best = [face.turned(degrees, about, centre(picture)) for face in faces]
        return best

    def _found(
        self, view: View, places: list[FoundFace], closer: CloserLooks, *, most: int
    ) -> list[FoundFace]:
        """The places that hold faces, the surest first.

        Args:
            view: what was looked at.
            places: what was seen there, the surest first.
            closer: the finder's measures.
            most: how many are looked at once more; others are taken as they were seen.
        """
        told = self.description
        uncertain = [place for place in places if not is_certain(closer, place, view.scale)]
        faces = [place for place in places if is_certain(closer, place, view.scale)]
        faces += [self._glance(view.picture, place, closer) for place in uncertain[:most]]
        faces += uncertain[most:]
        sure = [face for face in faces if face.found >= told.found_from]
        return one_each(sure, overlap=told.overlap)

    def _glance(self, picture: Image.Image, place: FoundFace, closer: CloserLooks) -> FoundFace:
        """Look at a place once more, enlarged and upright; confidence 0 if nothing is seen."""
        part = cut_for_glance(picture, place)
        seen = self._look(part.picture, closer.glance_canvas, seen_from=closer.seen_from)
        again = same_face(place, [part.in_the_whole(face) for face in seen])
        return again or dataclasses.replace(place, found=0.0)

    def _look(self, picture: Image.Image, canvas: int, *, seen_from: float) -> list[FoundFace]:
        gap = EXACT_GAP if self.description.closer is None else FAST_GAP
        pixels, across, down = draw_on_canvas(picture, canvas, reducing_gap=gap)
        overlap = self.description.overlap
        faces = decode_maps(self._infer(pixels), found_from=seen_from, overlap=overlap)
        return [face.scaled(1 / across, 1 / down) for face in faces]

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
