"""What kind of pictures a run met: sizes, formats, brightness, faces; and whether that changed."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from deepfake_core.rendering.text import percent
from deepfake_core.results.run_record import RunWarning

Shares = npt.NDArray[np.float64]
# The share of a kind that is told of where the index stays silent has moved by this much: kinds of
# a thousandth of the pictures come and go.
LEAST_MOVED = 0.01
NONE: Mapping[str, int] = MappingProxyType({})
# Counts by the name of a kind, for each property.
Profile = dict[str, dict[str, int]]
# Where the kinds of a property begin.
EDGES: Mapping[str, tuple[float, ...]] = {
    "shorter side in pixels": (64, 128, 256, 512, 1024, 2048),
    "bits per pixel": (0.5, 1, 2, 4, 8),
    "size of the face in pixels": (64, 96, 128, 192, 256),
    "faces in a picture": (1, 2, 6),
}
FORMAT = "format"
# No column of the table: it is counted where pixels are in memory, shard by shard.
BRIGHTNESS, BRIGHTNESS_EDGES = "mean brightness", (32, 64, 96, 128, 160, 192)


def count_brightness(values: Sequence[float]) -> dict[str, int]:
    """How many pictures are how bright.

    Args:
        values: the mean of each, 0 to 255.
    """
    return _counted(np.asarray(values, np.float64), BRIGHTNESS_EDGES)


def profile(verdicts: pa.Table, brightness: Mapping[str, int] = NONE) -> Profile:
    """Count the decoded pictures of a run by what they are like.

    Args:
        verdicts: the rows of a run.
        brightness: how many are how bright, see `count_brightness`.
    """
    rows = verdicts.filter(pc.is_valid(verdicts["width"]))
    width, height = rows["width"].to_numpy(), rows["height"].to_numpy()
    size = rows["bytes"].to_numpy(zero_copy_only=False).astype(np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        bits = 8 * size / (width.astype(np.float64) * height)
    values = {
        "shorter side in pixels": np.minimum(width, height),
        "bits per pixel": bits,
        "size of the face in pixels": _sizes(rows),
        "faces in a picture": rows["faces_found"].drop_null().to_numpy(),
    }
    counted = {name: _counted(values[name], edges) for name, edges in EDGES.items()}
    formats = pc.value_counts(rows["format"].drop_null()).to_pylist()
    counted[FORMAT] = {pair["values"]: pair["counts"] for pair in formats}
    counted[BRIGHTNESS] = dict(brightness)
    return {name: counts for name, counts in counted.items() if counts}


@dataclass(frozen=True, slots=True)
class Bounds:
    """From where on pictures are unlike earlier ones.

    Attributes:
        index: stability index, without the part of chance.
        least: pictures that both sides must have.
        times: how many times what it was the share of one kind must be, however small it is, ...
        z: ... if it moved by this many standard errors, which takes very many pictures.
    """

    index: float
    least: int
    times: float
    z: float


def profile_warnings(now: Profile, earlier: Sequence[Profile], bounds: Bounds) -> list[RunWarning]:
    """Where the pictures of a run are unlike those of the runs before it.

    Chance alone moves the population stability index by about (kinds - 1) (1/n + 1/m); only what
    goes beyond that counts, so that few pictures alarm nobody. The index is blind to a few percent
    of a million pictures; those are told of where one kind is many times what it was.

    Args:
        now: of the run.
        earlier: of the runs before it, which are counted together.
        bounds: what is worth a warning.
    """
    warnings = []
    for name, counts in now.items():
        before: Counter[str] = Counter()
        for past in earlier:
            before.update(past.get(name, {}))
        if min(sum(counts.values()), before.total()) < bounds.least:
            continue
        moved = _moved(counts, before)
        certain = _certain(moved, bounds)
        if moved.index >= bounds.index:
            most = int(np.abs(moved.now - moved.before).argmax())
            warnings.append(_warning(name, moved, most, (moved.index, bounds.index)))
        elif certain.any():
            most = int(np.where(certain, np.abs(moved.now - moved.before), 0).argmax())
            warnings.append(_warning(name, moved, most, (float(moved.z[most]), bounds.z)))
    return warnings


@dataclass(frozen=True, slots=True)
class _Moved:
    """How the shares of the kinds of a property moved.

    Attributes:
        kinds: K names.
        now: float64[K], shares of the run.
        before: likewise of the runs before it.
        z: float64[K], standard errors between them.
        index: population stability index, without the part of chance.
    """

    kinds: list[str]
    now: Shares
    before: Shares
    z: Shares
    index: float


def _moved(counts: Mapping[str, int], before: Mapping[str, int]) -> _Moved:
    kinds = sorted({*counts, *before})
    new = np.array([counts.get(kind, 0) for kind in kinds], np.float64)
    old = np.array([before.get(kind, 0) for kind in kinds], np.float64)
    n, m = new.sum(), old.sum()
    filled = [(side + 0.5) / (side + 0.5).sum() for side in (new, old)]
    index = float(((filled[0] - filled[1]) * np.log(filled[0] / filled[1])).sum())
    together = (new + old) / (n + m)
    # A kind that is all there is has not moved.
    error = np.sqrt(together * (1 - together) * (1 / n + 1 / m)) + np.finfo(float).tiny
    z = (new / n - old / m) / error
    chance = (len(kinds) - 1) * (1 / n + 1 / m)
    return _Moved(kinds, new / n, old / m, z, index - chance)


def _certain(moved: _Moved, bounds: Bounds) -> npt.NDArray[np.bool_]:
    """bool[K]: the kinds that are many times what they were, beyond any doubt, in some number."""
    many = np.maximum(moved.now, moved.before)
    times = many >= bounds.times * np.minimum(moved.now, moved.before)
    apart = np.abs(moved.now - moved.before) >= LEAST_MOVED
    return times & apart & (np.abs(moved.z) >= bounds.z)


def _warning(name: str, moved: _Moved, at: int, reached: tuple[float, float]) -> RunWarning:
    """A warning of one kind; `reached` is the statistic and its limit."""
    now, before = float(moved.now[at]), float(moved.before[at])
    return RunWarning(
        measure=f"inputs: {name}",
        now=round(now, 6),
        before=round(before, 6),
        statistic=round(reached[0], 4),
        limit=reached[1],
        words=f"the pictures are unlike those of the last runs, {name} {moved.kinds[at]}: "
        f"{percent(now)}, and {percent(before)} before",
    )


def _counted(values: npt.NDArray[np.generic], edges: Sequence[float]) -> dict[str, int]:
    numbers = np.asarray(values, np.float64)
    kinds = np.digitize(numbers[np.isfinite(numbers)], edges)
    names = _names(edges)
    return {names[at]: int((kinds == at).sum()) for at in np.unique(kinds)}


def _names(edges: Sequence[float]) -> list[str]:
    between = [f"{low:g} to {high:g}" for low, high in itertools.pairwise(edges)]
    return [f"below {edges[0]:g}", *between, f"from {edges[-1]:g}"]


def _sizes(rows: pa.Table) -> npt.NDArray[np.float64]:
    """The size of the face that decided, which is the first of each picture."""
    with_faces = rows.filter(pc.greater(pc.fill_null(pc.list_value_length(rows["faces"]), 0), 0))
    first = pc.list_element(with_faces["faces"], 0)
    return np.asarray(pc.struct_field(first, "size").to_numpy(), np.float64)
