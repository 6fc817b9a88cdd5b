"""OpenVINO and NNCF, loaded so that they tell nobody: the only module that imports them.

As they come, both post to an analytics host as soon as they are imported, and leave a client's
id in the home folder. They also come without that: where ``openvino_telemetry`` cannot be
imported they take a stub of their own. So it is hidden while they are loaded, and only then.

Importing this module loads OpenVINO, so it is done inside of functions, and for annotations.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

TELEMETRY = "openvino_telemetry"


@contextmanager
def _told_to_nobody() -> Iterator[None]:
    """Let imports of the telemetry fail, as where it is not installed."""
    modules: dict[str, Any] = sys.modules
    before = {name: modules.pop(name) for name in (TELEMETRY,) if name in modules}
    modules[TELEMETRY] = None
    try:
        yield
    finally:
        del modules[TELEMETRY]
        modules.update(before)


with _told_to_nobody():
    import openvino as ov
    from openvino import frontend, preprocess
    from openvino import opset13 as ops

__all__ = ["frontend", "load_nncf", "ops", "ov", "preprocess"]


def load_nncf() -> Any:  # noqa: ANN401 - a library without types
    """NNCF, which comes with the extra ``train``."""
    with _told_to_nobody():
        import nncf
    return nncf
