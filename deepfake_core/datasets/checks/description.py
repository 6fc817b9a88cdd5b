"""What a set of labelled images looks like, in counts, histograms and samples."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from deepfake_core.datasets.checks.document import Description
from deepfake_core.datasets.checks.duplicates import name_of
from deepfake_core.datasets.checks.measures import Measured
from deepfake_core.datasets.labelled import Labelled
from deepfake_core.datasets.names import CLASSES

Floats = npt.NDArray[np.float64]

BINS = 24
SHOWN_KINDS = 8
SAMPLES = 12
# A few huge files must not press all the others into one bar.
OUTER_PERCENTILES = (0.5, 99.5)


def describe(
    images: Sequence[Labelled], measured: Sequence[Measured], *, root: Path
) -> Description:
    """Describe the readable images of one set.

    Args:
        images: of one set.
        measured: what was measured of them, in the same order.
        root: the folder, which the names of samples are relative to.
    """
    places = {name: _places(images, fake=name == "fake") for name in CLASSES}
    measured_of = {name: [measured[place] for place in members] for name, members in places.items()}
    numbers: dict[str, dict[str, list[float]]] = {
        "brightness": {
            name: [m.brightness for m in members] for name, members in measured_of.items()
        },
        "bytes_per_pixel": {
            name: [m.size / (m.width * m.height) for m in members]
            for name, members in measured_of.items()
        },
        "jpeg_quality": {
            name: [m.quality for m in members if m.quality] for name, members in measured_of.items()
        },
    }
    return {
        "counts": {name: len(members) for name, members in places.items()},
        "groups": len({image.group_id for image in images}),
        "kinds": {
            "format": _kinds(measured_of, lambda m: m.format),
            "size": _kinds(measured_of, lambda m: f"{m.width} x {m.height}"),
            "chroma_subsampling": _kinds(measured_of, lambda m: m.subsampling),
            "metadata": _kinds(measured_of, lambda m: "present" if m.metadata else "none"),
        },
        "histograms": {name: _histogram(by_class, name) for name, by_class in numbers.items()},
        "quantiles": {name: _quantiles(by_class) for name, by_class in numbers.items()},
        "samples": {
            name: [name_of(images[place], root) for place in _spread(members)]
            for name, members in places.items()
        },
    }


def _places(images: Sequence[Labelled], *, fake: bool) -> list[int]:
    return [place for place, image in enumerate(images) if image.fake == fake]


def _kinds(
    by_class: dict[str, list[Measured]], kind: Callable[[Measured], str]
) -> list[dict[str, str | int]]:
    """Counts by kind, the most frequent first; what is rarer than the first few is one row."""
    counted = {name: Counter(kind(m) for m in members) for name, members in by_class.items()}
    total: Counter[str] = sum(counted.values(), Counter())
    kinds = [value for value, _ in total.most_common()]
    rows: list[dict[str, str | int]] = [
        {"kind": value, **{name: counts[value] for name, counts in counted.items()}}
        for value in kinds[:SHOWN_KINDS]
    ]
    rest = kinds[SHOWN_KINDS:]
    if rest:
        others = {name: sum(counts[value] for value in rest) for name, counts in counted.items()}
        rows.append({"kind": f"{len(rest)} others", **others})
    return rows


def _histogram(by_class: dict[str, list[float]], name: str) -> dict[str, list[float]]:
    """Counts in equal bins that cover nearly all values; the outer bins take what lies beyond."""
    values = np.array([value for numbers in by_class.values() for value in numbers], float)
    if not len(values):
        return {}
    low, high = np.percentile(values, OUTER_PERCENTILES)
    if name == "jpeg_quality":
        low, high = max(0.5, values.min() - 2.5), min(100.5, values.max() + 2.5)
        edges = np.arange(low, high + 0.01, max(1, round((high - low) / BINS)))
        edges = np.append(edges, high) if edges[-1] < high - 0.01 else edges
    else:
        spare = max((high - low) * 0.02, 1e-6 * max(abs(high), 1))
        edges = np.linspace(max(low - spare, 0), high + spare, BINS + 1)
    counts = {
        kind: np.histogram(np.clip(numbers, edges[0], edges[-1]), edges)[0].tolist()
        for kind, numbers in by_class.items()
    }
    return {"edges": edges.round(4).tolist(), **counts}


def _quantiles(by_class: dict[str, list[float]]) -> dict[str, list[float] | None]:
    """Quarter, half and three quarters of each class's values lie below these."""
    return {
        name: np.percentile(numbers, (25, 50, 75)).round(3).tolist() if numbers else None
        for name, numbers in by_class.items()
    }


def _spread(places: list[int]) -> list[int]:
    """A few of the places, evenly spread."""
    if len(places) <= SAMPLES:
        return places
    steps = np.linspace(0, len(places) - 1, SAMPLES).astype(int)
    return [places[step] for step in steps]
