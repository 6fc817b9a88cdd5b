"""The scope of a scan: which paths a glob takes."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Iterator, Sequence

import numpy as np

ANY_FOLDERS = "**/"
MAX_ALTERNATIVES = 1000
_END = r"\Z"


def match_names(names: Sequence[str], glob: str) -> np.ndarray:
    """Which paths match a glob.

    Args:
        names: paths relative to the source, forward slashes.
        glob: ``*``, ``?`` and ``[...]`` as in a shell, but a ``*`` takes in slashes too. With a
            slash it is held against the whole path, else against the file's name. ``**/`` stands
            for any number of folders, none as well; a slash at its beginning is the source, one
            at its end takes everything in that folder. ``{a,b}`` stands for either, and each is
            read as if it stood alone.

    Returns:
        bool[N], in the order of the names. Upper and lower case differ where the glob has a
        capital letter; one without takes both.
    """
    matches = _matcher(glob)
    return np.fromiter((matches(name) for name in names), bool, len(names))


def match_any(names: Sequence[str], globs: Sequence[str]) -> np.ndarray:
    """Which paths match at least one of the globs: bool[N], see `match_names`."""
    matched = np.zeros(len(names), bool)
    for glob in globs:
        matched |= match_names(names, glob)
    return matched


def unmatched(names: Sequence[str], glob: str) -> str:
    """Why a glob is idle: a sentence, or nothing where it takes at least one of the paths."""
    matches = _matcher(glob)
    if any(map(matches, names)):
        return ""
    advice = ""
    ignoring_case = _matcher(glob.lower())
    if glob != glob.lower() and any(map(ignoring_case, names)):
        advice = "; written in lower case it takes upper and lower case"
    elif len(_split_at_commas(glob)) > 1:
        advice = "; for several patterns give the option again, or write {a,b}"
    elif "\\" in glob:
        advice = "; paths have forward slashes"
    return f"takes none of the {len(names):,} names{advice}"


def alternatives(glob: str) -> list[str]:
    """A glob without its braces: every combination of what stands in them.

    Raises:
        ValueError: there are more than `MAX_ALTERNATIVES`.
    """
    done: list[str] = []
    waiting = [glob]
    while waiting:
        if len(done) + len(waiting) > MAX_ALTERNATIVES:
            raise ValueError(f"at most {MAX_ALTERNATIVES:,} combinations of {{a,b}} are expected")
        first = waiting.pop()
        braces = _first_braces(first)
        if braces is None:
            done.append(first)
            continue
        start, end = braces
        inside = _split_at_commas(first[start + 1 : end])
        waiting += [first[:start] + choice + first[end + 1 :] for choice in reversed(inside)]
    return done


def _matcher(glob: str) -> Callable[[str], bool]:
    """Says of a path whether the glob takes it."""
    flags = re.NOFLAG if glob != glob.lower() else re.IGNORECASE
    globs = alternatives(glob)
    of_path = [_pattern(single) for single in globs if "/" in single]
    of_name = [_pattern(single) for single in globs if "/" not in single]
    path, name = (re.compile("|".join(some) or "(?!)", flags) for some in (of_path, of_name))
    if not of_path:
        return lambda image: name.match(image.rpartition("/")[2]) is not None
    return lambda image: bool(path.match(image) or name.match(image.rpartition("/")[2]))


def _pattern(glob: str) -> str:
    """The glob, which has no braces any more, as a regular expression."""
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


def _first_braces(glob: str) -> tuple[int, int] | None:
    """Where the first braces are that hold a comma; others are letters, as in a shell."""
    opened: list[int] = []
    braces: list[tuple[int, int]] = []
    for at, letter in _letters(glob):
        if letter == "{":
            opened.append(at)
        elif letter == "}" and opened:
            start = opened.pop()
            if len(_split_at_commas(glob[start + 1 : at])) > 1:
                braces.append((start, at))
    return min(braces, default=None)


def _split_at_commas(text: str) -> list[str]:
    """Cut at the commas that stand in no braces of their own."""
    cuts, depth = [-1], 0
    for at, letter in _letters(text):
        depth += (letter == "{") - (letter == "}")
        if letter == "," and depth == 0:
            cuts.append(at)
    return [text[start + 1 : end] for start, end in zip(cuts, [*cuts[1:], len(text)], strict=True)]


def _letters(glob: str) -> Iterator[tuple[int, str]]:
    """The letters outside ``[...]`` with their places."""
    at = 0
    while at < len(glob):
        closing = glob.find("]", at + 2 + glob.startswith("[!", at)) if glob[at] == "[" else -1
        if closing < 0:
            yield at, glob[at]
        at = max(at, closing) + 1
