"""The decoders' warnings are not for the users of this program."""

from __future__ import annotations

import ctypes
import functools
import threading
import warnings
from pathlib import Path
from typing import Any, cast

import PIL


class _Silence:
    """Ignores the decoders' warnings while at least one thread decodes.

    `warnings.catch_warnings` puts back the filters that it found, so that of two threads the
    one that leaves last may leave them as the other had changed them. A warning that is an
    error elsewhere (-W error) would turn a readable image into a failure.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._filter: Any = None

    def __enter__(self) -> None:
        with self._lock:
            self._inside += 1
            if self._inside == 1 or self._filter not in warnings.filters:
                warnings.filterwarnings("ignore", module=r"(PIL|pi_heif)\.")
                self._filter = warnings.filters[0]

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0 and self._filter in warnings.filters:
                cast(list[Any], warnings.filters).remove(self._filter)


silence = _Silence()


@functools.cache
def silence_libtiff() -> None:
    """Take libtiff's complaints off standard error: they hold values of the images' tags.

    Pillow has no switch for them, so this asks the library that its wheels bring along.
    """
    for library in Path(PIL.__file__).parent.parent.glob("[pP]illow.libs/libtiff*"):
        loaded = ctypes.CDLL(str(library))
        loaded.TIFFSetErrorHandler(None)
        loaded.TIFFSetWarningHandler(None)
