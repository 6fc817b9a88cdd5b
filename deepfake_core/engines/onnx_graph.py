"""Networks made elsewhere: ONNX classifiers as graphs from uint8 pixels to logits."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from deepfake_core.errors import ForeignModelError
from deepfake_core.models.onnx_spec import Layout, OnnxSpec, Triple

if TYPE_CHECKING:
    from deepfake_core.engines.libraries import ov

CHANNELS = 3
AXES: dict[Layout, int] = {"NHWC": 3, "NCHW": 1}
# The words with which the reader of ONNX files says what it could not do.
COMPLAINTS = {
    "outside the base directory": "its weights lie outside its folder, which is not read; put "
    "them beside it, or export with the weights inside",
    "external": "its weights lie in another file that is missing or damaged; put that file "
    "beside it, or export with the weights inside",
    "not support": "it uses operations that OpenVINO does not know; export it with standard ones",
    "no conversion": "it uses operations that OpenVINO does not know; export it with standard ones",
}


def foreign_graph(path: Path, spec: OnnxSpec) -> ov.Model:
    """Read an ONNX image classifier and wrap it as this package runs networks.

    Args:
        path: the ONNX file, with any file of external weights beside it.
        spec: what the file does not say.

    Returns:
        A model from uint8[N, size, size, 3] (RGB) to float32[N], positive means fake, with the
        preprocessing inside; the size is `graph_size` of it. Softmax and sigmoid at the end
        are undone.

    Raises:
        ForeignModelError: there is no such file, or it is not a classifier that can be run here;
            the message says what was found.
    """
    from deepfake_core.engines.libraries import ops, ov
    from deepfake_core.engines.onnx_outputs import to_logits

    model = read_onnx(path)
    layout, size = _fit_input(model, spec, path)
    pixels = ops.parameter([-1, size, size, CHANNELS], ov.Type.u8, name="pixels")
    own = model.get_parameters()[0]
    prepared = _prepare(pixels, spec, layout=layout)
    own.output(0).replace(ops.convert(prepared, own.get_element_type()).output(0))
    values = model.get_results()[0].input_value(0)
    logits = ops.convert(to_logits(values, pixels, spec=spec, path=path), ov.Type.f32)
    logits.output(0).get_tensor().set_names({"logits"})
    return ov.Model([logits], [pixels], "foreign")


def graph_size(graph: ov.Model) -> int:
    """The side of a graph's square input in pixels."""
    return int(graph.input(0).get_partial_shape()[1].get_length())


def read_onnx(path: Path) -> ov.Model:
    """Read an ONNX file with one input and one output.

    Raises:
        ForeignModelError: there is none, or it cannot be read.
    """
    from deepfake_core.engines.libraries import frontend

    if not path.is_file():
        raise ForeignModelError(f"there is no ONNX file {path}; name an existing one")
    try:
        # From the bytes of a .xml or .bin something else would be read than ONNX.
        reader = frontend.FrontEndManager().load_by_framework("onnx")
        model = reader.convert(reader.load(str(path)))
    except (
        RuntimeError,
        frontend.GeneralFailure,
        frontend.InitializationFailure,
        frontend.NotImplementedFailure,
        frontend.OpConversionFailure,
        frontend.OpValidationFailure,
    ) as error:
        raise ForeignModelError(f"{path}: {_reason(str(error))}") from error
    if not model.outputs:
        raise ForeignModelError(f"{path} holds no network; export it again")
    for what, ports in (("input", model.inputs), ("output", model.outputs)):
        if len(ports) != 1:
            raise ForeignModelError(
                f"{path} has {len(ports)} {what}s; expected one: an image goes in, the scores of "
                "the classes come out. Export it with that one only"
            )
    return model


def _reason(complaint: str) -> str:
    lowered = complaint.casefold()
    for word, reason in COMPLAINTS.items():
        if word in lowered:
            return f"{reason} ({' '.join(complaint.split())[-90:]})"
    return "it is not an ONNX file, or a damaged one; export the network again"


def _fit_input(model: ov.Model, spec: OnnxSpec, path: Path) -> tuple[Layout, int]:
    """Find layout and size, and make the batch free and the sides fixed."""
    from deepfake_core.engines.libraries import ov

    kind, shape = model.input(0).get_element_type(), model.input(0).get_partial_shape()
    if shape.rank.is_dynamic or len(shape) != 4:
        raise ForeignModelError(
            f"{path} takes an input of shape {shape}; expected four axes, [N, size, size, 3] or "
            "[N, 3, size, size]"
        )
    if not kind.is_real() and (kind != ov.Type.u8 or (spec.mean, spec.scale) != _identity()):
        raise ForeignModelError(
            f"{path} takes pixels of type {kind.get_type_name()}; expected floats, or uint8 "
            "without mean and scale"
        )
    lengths = [None if axis.is_dynamic else axis.get_length() for axis in shape]
    layout = _layout(lengths, spec, path)
    sides = {side for side in (lengths[1:3] if layout == "NHWC" else lengths[2:]) if side}
    if len(sides) > 1 or (spec.size and sides - {spec.size}):
        wanted = f"{spec.size} x {spec.size}" if spec.size else "a square"
        raise ForeignModelError(f"{path} takes images of shape {shape}; expected {wanted}")
    size = spec.size or next(iter(sides), None)
    if size is None:
        raise ForeignModelError(f"{path} takes images of any size; say which with --size")
    wanted_shape = [-1, size, size, CHANNELS] if layout == "NHWC" else [-1, CHANNELS, size, size]
    try:
        model.reshape(wanted_shape)
    except RuntimeError as error:
        raise ForeignModelError(
            f"{path} cannot take batches of {size}-pixel images: its own shape {shape} is built "
            "in; export it with a dynamic batch axis"
        ) from error
    return layout, size


def _identity() -> tuple[Triple, Triple]:
    return (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)


def _layout(lengths: list[int | None], spec: OnnxSpec, path: Path) -> Layout:
    """Where the channels are: as told, or where an axis has their number."""
    fits = {name: lengths[axis] for name, axis in AXES.items() if lengths[axis] in (CHANNELS, None)}
    if spec.layout != "auto" and spec.layout in fits:
        return spec.layout
    if spec.layout != "auto" or not fits:
        raise ForeignModelError(
            f"{path} takes {lengths}; expected three channels, last (NHWC) or second (NCHW), "
            f"and the layout was given as {spec.layout}"
        )
    certain = [name for name, length in fits.items() if length == CHANNELS]
    if len(certain) == 1 or len(fits) == 1:
        return (certain or list(fits))[0]
    raise ForeignModelError(
        f"{path} takes {lengths}, which may be NHWC or NCHW; say which with --layout"
    )


def _prepare(pixels: ov.Node, spec: OnnxSpec, *, layout: Layout) -> ov.Node:
    """Colours, scaling and axes as the network wants them: float32."""
    from deepfake_core.engines.libraries import ops, ov

    x = ops.convert(pixels, ov.Type.f32)
    if spec.colours == "BGR":
        x = ops.gather(x, np.array([2, 1, 0]), np.array(3))
    if any(spec.mean):
        x = ops.subtract(x, np.array(spec.mean, np.float32))
    if spec.scale != _identity()[1]:
        x = ops.divide(x, np.array(spec.scale, np.float32))
    return x if layout == "NHWC" else ops.transpose(x, np.array([0, 3, 1, 2]))
