"""Read and run a network made elsewhere once, in a process that may fail, before it is trusted.

A file of a few bytes can ask for any amount of memory and time. So the first look at it is taken
by another process, under limits of both; what passes there is read here.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np

from deepfake_core.errors import ForeignModelError
from deepfake_core.models.onnx_spec import OnnxSpec

# A ResNet50 takes 4 s and 1.3 GiB of address space on two busy cores.
MAX_SECONDS = 300.0
MAX_BYTES = 8 * 2**30
# A network's weights are held several times while it is compiled.
BYTES_PER_BYTE = 6
REFUSED = 3
_PROGRAM = "from deepfake_core.release.onnx_trial import main; main()"


def try_network(path: Path, spec: OnnxSpec) -> None:
    """Have another process read, compile and run a network.

    Args:
        path: the ONNX file.
        spec: what it does not say of itself.

    Raises:
        ForeignModelError: it cannot be run, or not within the limits.
    """
    if not path.is_file():
        raise ForeignModelError(f"there is no ONNX file {path}; name an existing one")
    limit = _limit(path)
    order = {"path": str(path), "spec": spec.model_dump(mode="json"), "bytes": limit}
    try:
        done = subprocess.run(  # noqa: S603 - this program
            [sys.executable, "-c", _PROGRAM],
            input=json.dumps(order),
            capture_output=True,
            text=True,
            timeout=MAX_SECONDS,
        )
    except subprocess.TimeoutExpired as error:
        raise ForeignModelError(
            f"{path} could not be read and run within {MAX_SECONDS:g} s; export a smaller network"
        ) from error
    if done.returncode == REFUSED:
        raise ForeignModelError(done.stdout.strip())
    if done.returncode:
        raise ForeignModelError(
            f"{path} could not be read and run within {limit / 2**30:.1f} GiB of memory, or ended "
            f"the process that tried (status {done.returncode}); export the network again"
        )


def _limit(path: Path) -> int:
    """Bytes of address space: more for large networks, whose weights may lie beside the file."""
    beside = sum(file.stat().st_size for file in path.parent.iterdir() if file.is_file())
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return max(MAX_BYTES, min(MAX_BYTES + BYTES_PER_BYTE * beside, machine))


def main() -> None:
    """Take an order from standard input; this is the other process."""
    order = json.loads(sys.stdin.read())
    resource.setrlimit(resource.RLIMIT_AS, (order["bytes"], order["bytes"]))
    from deepfake_core.engines.engine import OpenVinoEngine
    from deepfake_core.engines.onnx_graph import foreign_graph, graph_size

    try:
        graph = foreign_graph(Path(order["path"]), OnnxSpec.model_validate(order["spec"]))
        size = graph_size(graph)
        engine = OpenVinoEngine(graph, size=size, precision="fp32")
        engine.logits(np.zeros((1, size, size, 3), np.uint8))
    except ForeignModelError as error:
        print(error)
        sys.exit(REFUSED)
