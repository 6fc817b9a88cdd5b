"""What is known of a model at one threshold: measured shares, and what follows from them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from deepfake_core.binomial import interval
from deepfake_core.models.decision import Thresholds


@dataclass(frozen=True, slots=True)
class Point:
    """What was measured with fakes called from one threshold on.

    Attributes:
        threshold: scores from this on are called fake.
        false_alarm_rate: share of the photographs that are called fake.
        found_rate: share of the generated faces that are called fake.
    """

    threshold: float
    false_alarm_rate: float
    found_rate: float


@dataclass(frozen=True, slots=True)
class Measured:
    """All thresholds at which a model was measured on one set of pictures.

    Attributes:
        points: by rising threshold; nothing lies between them.
        photographs: how many were measured.
        fakes: likewise.
        whole_curve: whether the bundle holds a curve, not only its own two thresholds.
    """

    points: tuple[Point, ...]
    photographs: int
    fakes: int
    whole_curve: bool


def measured_points(figures: Mapping[str, Any], thresholds: Thresholds) -> Measured | None:
    """The measured thresholds of a bundle's figures; None where they do not say enough.

    The figures of ``report`` hold the shares at the two thresholds. A ``curve`` in them, three
    lists of one length named ``threshold``, ``fpr`` and ``tpr``, adds others.
    """
    report = figures.get("report")
    if not isinstance(report, Mapping) or not report.get("real") or not report.get("fake"):
        return None
    by_threshold = {point.threshold: point for point in _label_points(report, thresholds)}
    curve = report.get("curve") or {}
    columns = [curve.get(name, ()) for name in ("threshold", "fpr", "tpr")]
    for values in zip(*columns, strict=True):
        by_threshold.setdefault(float(values[0]), Point(*map(float, values)))
    points = tuple(by_threshold[threshold] for threshold in sorted(by_threshold))
    whole = bool(columns[0])
    return Measured(points, int(report["real"]), int(report["fake"]), whole) if points else None


def _label_points(report: Mapping[str, Any], thresholds: Thresholds) -> list[Point]:
    """The points at the bundle's two thresholds, as counts of pictures and exact therefore.

    The shares are rounded; pictures are whole.
    """
    real, fake = int(report["real"]), int(report["fake"])
    names = ("fpr_at_fake", "tpr_at_fake", "fakes_called_real", "reals_called_real")
    if any(report.get(name) is None for name in names):
        return []
    flagged = round(report["fpr_at_fake"] * real)
    hits = round(report["tpr_at_fake"] * fake)
    fakes_passed = round(report["fakes_called_real"] * fake)
    reals_passed = round(report["reals_called_real"] * real)
    return [
        Point(thresholds.real_below, 1 - reals_passed / real, 1 - fakes_passed / fake),
        Point(thresholds.fake_from, flagged / real, hits / fake),
    ]


@dataclass(frozen=True, slots=True)
class Range:
    """An estimate with its 95 % interval."""

    low: float
    best: float
    high: float

    def times(self, factor: float) -> Range:
        """The range of so many times the value."""
        return Range(self.low * factor, self.best * factor, self.high * factor)


def share(rate: float, pictures: int) -> Range:
    """A share measured on so many pictures, with its exact interval.

    Pictures count as independent, so where some belong together it is rather too narrow.
    """
    low, high = interval(round(rate * pictures), pictures)
    return Range(min(low, rate), rate, max(high, rate))


@dataclass(frozen=True, slots=True)
class Expected:
    """What a threshold does to so many pictures.

    Attributes:
        fakes: how many of them are generated.
        false_alarms: photographs that are called fake.
        missed: generated pictures that are not called fake.
        flagged: the best estimate of all that are called fake.
    """

    fakes: float
    false_alarms: Range
    missed: Range
    flagged: float


def expect(measured: Measured, point: Point, *, pictures: int, share_of_fakes: float) -> Expected:
    """What to expect of a threshold where a share of the pictures is generated."""
    fakes = pictures * share_of_fakes
    alarms = share(point.false_alarm_rate, measured.photographs).times(pictures - fakes)
    missed = share(1 - point.found_rate, measured.fakes).times(fakes)
    return Expected(fakes, alarms, missed, alarms.best + fakes - missed.best)
