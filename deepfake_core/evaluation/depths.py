"""What a network sees of a face at several depths, before it says anything of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from deepfake_core.engines.clip_engine import open_tower, processor_flags, second_precisions
from deepfake_core.engines.engine import read_graph
from deepfake_core.errors import UsageError
from deepfake_core.evaluation.scoring import PART, read_image
from deepfake_core.images.degradations import Degradation
from deepfake_core.inference.cropping import Crop, Cropper
from deepfake_core.models.bundle import Bundle
from deepfake_core.models.second_look import SecondBundle
from deepfake_core.records import Failure, Float32Array, UInt8Array

if TYPE_CHECKING:
    from deepfake_core.engines.libraries import ov

# Each depth is what its layer is given, by the layer's name: the end of a stage of the ResNet50.
DEPTHS = {
    "conv1": "conv2_block1_1_conv",
    "conv2": "conv3_block1_1_conv",
    "conv3": "conv4_block1_1_conv",
    "conv4": "conv5_block1_1_conv",
}
# Added to deviations before their logarithm: channels that are silent in a face stay finite.
LEAST_DEVIATION = 0.01

Look = Callable[[UInt8Array], dict[str, Float32Array]]


@dataclass(frozen=True, slots=True)
class Picture:
    """A file, and what happens to it before its face is looked for."""

    path: Path
    change: Degradation


@dataclass(frozen=True, slots=True)
class Depths:
    """What was seen of the pictures that show a face.

    Attributes:
        values: float32[K, channels] by depth.
        rows: K positions among the pictures, rising.
    """

    values: dict[str, Float32Array]
    rows: list[int]


def open_depths(bundle: Bundle) -> Look:
    """Load a network that tells what it sees at each depth, at fp32.

    Returns:
        A function from uint8[N, size, size, 3] to float32[N, channels] by depth.

    Raises:
        UsageError: the network is no ResNet50 that was built here.
    """
    from deepfake_core.engines.libraries import ov

    graph = depth_graph(read_graph(bundle, "fp32"))
    compiled = ov.Core().compile_model(graph, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})

    def look(pixels: UInt8Array) -> dict[str, Float32Array]:
        given = compiled([pixels])
        return {name: np.array(given[at], np.float32) for at, name in enumerate(DEPTHS)}

    return look


def open_second_depths(second: SecondBundle) -> Look:
    """Load the tower of a second look, at the fastest precision of this processor.

    Returns:
        As `open_depths` does: at three depths the mean of the patches' tokens.
    """
    shape = second.description.shape
    tower = open_tower(second, second_precisions(second, processor_flags())[0])
    read = len(shape.read)

    def look(pixels: UInt8Array) -> dict[str, Float32Array]:
        means = tower.features(pixels).reshape(len(pixels), 2, read, -1)[:, 1]
        return {f"block{shape.read[at]}": means[:, at] for at in (0, read // 2, read - 1)}

    return look


def depth_graph(model: ov.Model) -> ov.Model:
    """The logarithm of each channel's deviation over places, a float32[N, channels] by depth.

    Deviations say how textures are spread; means told strangers apart less well in most families.
    """
    from deepfake_core.engines.libraries import ops, ov

    nodes = model.clone()
    named = {node.get_friendly_name(): node for node in nodes.get_ops()}
    if not set(DEPTHS.values()) <= set(named):
        raise UsageError("only a ResNet50 that was built here can be asked at several depths")
    places, found = np.array([2, 3]), []
    for layer in DEPTHS.values():
        seen = named[layer].input_value(0)
        centred = ops.subtract(seen, ops.reduce_mean(seen, places, keep_dims=True))
        variance = ops.reduce_mean(ops.multiply(centred, centred), places, keep_dims=False)
        found.append(ops.log(ops.add(ops.sqrt(variance), np.float32(LEAST_DEVIATION))))
    return ov.Model([node.output(0) for node in found], nodes.get_parameters(), "depths")


def read_depths(look: Look, cropper: Cropper, pictures: Sequence[Picture]) -> Depths:
    """Look at the largest face of each picture; one without a face, or damaged, is left out."""

    def crop(picture: Picture) -> Crop | None:
        loaded = read_image(picture.path, cropper)
        return None if isinstance(loaded, Failure) else cropper.crop(picture.change(loaded.image))

    values: dict[str, list[Float32Array]] = {}
    rows: list[int] = []
    with ThreadPoolExecutor() as threads:
        for start in range(0, len(pictures), PART):
            crops = list(threads.map(crop, pictures[start : start + PART]))
            shown = [at for at, one in enumerate(crops) if one is not None]
            rows += [start + at for at in shown]
            if shown:
                seen = look(np.stack([one.pixels for one in crops if one is not None]))
                for name, some in seen.items():
                    values.setdefault(name, []).append(some)
    return Depths({name: np.concatenate(some) for name, some in values.items()}, rows)
