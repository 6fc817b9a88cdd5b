"""The scope of a scan: which paths a glob takes."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Sequence

import numpy as np

ANY_FOLDERS = "**/"
_END = r"\Z"


def match_names(names: Sequence[str], glob: str) -> np.ndarray:
    """Which paths match a glob.

    Args:
        names: paths relative to the source, forward slashes.
        glob: ``*``, ``?`` and ``[...]`` as in a shell, but a ``*`` takes in slashes too. With a
            slash it is held against the whole path, else against the file's name. ``**/`` stands
            for any number of folders, none as well; a slash at its beginning is the source, one
            at its end takes everything in that folder.

    Returns:
        bool[N], in the order of the names; upper and lower case differ.
    """
    matches = re.compile(_pattern(glob)).match
    whole = "/" in glob
    found = (matches(name if whole else name.rpartition("/")[2]) is not None for name in names)
    return np.fromiter(found, bool, len(names))


def _pattern(glob: str) -> str:
    """The glob as a regular expression."""
    glob = glob.removeprefix("./").removeprefix("/")
    if glob.endswith("/"):
        glob += "*"
    pieces = [fnmatch.translate(piece).removesuffix(_END) for piece in _split(glob)]
    return "(?s:.*/)?".join(pieces) + _END


def _split(glob: str) -> list[str]:
    """Cut at each ``**/`` that begins a folder's name."""
    pieces = [""]
    for folder in re.split("(?<=/)", glob):
        if folder == ANY_FOLDERS:
            pieces.append("")
        else:
            pieces[-1] += folder
    return pieces
