"""What kind of pictures a run met: sizes, formats, compression, faces; and whether that changed."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from deepfake_core.rendering.text import percent
from deepfake_core.results.run_record import RunWarning

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


def profile(verdicts: pa.Table) -> Profile:
    """Count the decoded pictures of a run by what they are like.

    Args:
        verdicts: the rows of a run.
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
    return {name: counts for name, counts in counted.items() if counts}


def profile_warnings(
    now: Profile, earlier: Sequence[Profile], *, limit: float, least: int
) -> list[RunWarning]:
    """Where the pictures of a run are unlike those of the runs before it.

    Chance alone moves the population stability index by about (kinds - 1) (1/n + 1/m); only what
    goes beyond that counts, so that few pictures alarm nobody.

    Args:
        now: of the run.
        earlier: of the runs before it, which are counted together.
        limit: from where on the index, without the part of chance, is worth a warning.
        least: pictures that both sides must have.
    """
    warnings = []
    for name, counts in now.items():
        before: dict[str, int] = {}
        for past in earlier:
            for kind, count in past.get(name, {}).items():
                before[kind] = before.get(kind, 0) + count
        moved = _moved(counts, before, least)
        if moved is not None and moved[0] >= limit:
            warnings.append(_warning(name, moved, limit))
    return warnings


# The index without the part of chance, and the kind that moved most with its shares.
_Moved = tuple[float, str, float, float]


def _moved(counts: Mapping[str, int], before: Mapping[str, int], least: int) -> _Moved | None:
    kinds = sorted({*counts, *before})
    new = np.array([counts.get(kind, 0) for kind in kinds], np.float64)
    old = np.array([before.get(kind, 0) for kind in kinds], np.float64)
    if min(new.sum(), old.sum()) < least:
        return None
    filled = [(side + 0.5) / (side + 0.5).sum() for side in (new, old)]
    index = float(((filled[0] - filled[1]) * np.log(filled[0] / filled[1])).sum())
    chance = (len(kinds) - 1) * (1 / new.sum() + 1 / old.sum())
    shares = new / new.sum(), old / old.sum()
    most = int(np.abs(shares[0] - shares[1]).argmax())
    return index - chance, kinds[most], float(shares[0][most]), float(shares[1][most])


def _warning(name: str, moved: _Moved, limit: float) -> RunWarning:
    index, kind, now, before = moved
    return RunWarning(
        measure=f"inputs: {name}",
        now=round(now, 6),
        before=round(before, 6),
        statistic=round(index, 4),
        limit=limit,
        words=f"the pictures are unlike those of the last runs, {name} {kind}: {percent(now)}, "
        f"and {percent(before)} before",
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
