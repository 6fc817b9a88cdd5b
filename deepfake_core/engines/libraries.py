"""OpenVINO and NNCF, loaded so that they tell nobody: the only module that imports them.

As they come, both post to an analytics host as soon as they are imported, and leave a client's
id in the home folder. They also come without that: where ``openvino_telemetry`` cannot be
imported they take a stub of their own. So it is hidden while they are loaded, and only then.

A library is loaded when its name is imported from here, inside of the functions that use it.
"""

from __future__ import annotations

import importlib
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import nncf
    import openvino as ov
    from openvino import frontend, preprocess
    from openvino import opset13 as ops

__all__ = ["frontend", "nncf", "ops", "ov", "preprocess"]

TELEMETRY = "openvino_telemetry"
LIBRARIES = {
    "ov": "openvino",
    "frontend": "openvino.frontend",
    "preprocess": "openvino.preprocess",
    "ops": "openvino.opset13",
    "nncf": "nncf",
}
_loading = threading.RLock()


def __getattr__(name: str) -> Any:  # noqa: ANN401 - a library
    if name not in LIBRARIES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    with _loading, _told_to_nobody():
        library = importlib.import_module(LIBRARIES[name])
        if LIBRARIES[name].startswith("openvino"):
            _settle(importlib.import_module("openvino"))
    globals()[name] = library
    return library


def _settle(openvino: Any) -> None:  # noqa: ANN401 - a library
    """Let OpenVINO's binding look NumPy up now, in one thread.

    Otherwise it does so at the first array, and two threads whose first arrays come at the same
    moment wait for each other for ever: one holds the interpreter's lock and waits for the look-up
    that the other has begun, which waits for that lock (OpenVINO 2026, pybind11's ``npy_api``).
    """
    openvino.Type.f32.to_dtype()


@contextmanager
def _told_to_nobody() -> Iterator[None]:
    """Let imports of the telemetry fail, as where it is not installed."""
    modules: dict[str, Any] = sys.modules
    before = {TELEMETRY: modules[TELEMETRY]} if TELEMETRY in modules else {}
    modules[TELEMETRY] = None
    try:
        yield
    finally:
        del modules[TELEMETRY]
        modules.update(before)
