"""The bootstrap: how sure a measure is, by drawing groups of images again (Efron 1979)."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

import numpy as np

RESAMPLES = 1000


def resample_counts(groups: Sequence[str], *, count: int = RESAMPLES, seed: int = 0) -> np.ndarray:
    """How often each row is drawn when whole groups are drawn with replacement.

    Args:
        groups: N group ids; what belongs together is drawn together.
        count: how many resamples.
        seed: the same draws for the same seed.

    Returns:
        uint16[count, N], read-only.
    """
    return _drawn(tuple(groups), count, seed)


@functools.lru_cache(maxsize=1)  # the tiers of a set have the same groups, one after another
def _drawn(groups: tuple[str, ...], count: int, seed: int) -> np.ndarray:
    _, inverse = np.unique(np.array(groups), return_inverse=True)
    number = int(inverse.max()) + 1
    rng = np.random.default_rng(seed)
    drawn = np.empty((count, len(groups)), np.uint16)
    for row in drawn:
        row[:] = np.bincount(rng.integers(number, size=number), minlength=number)[inverse]
    drawn.flags.writeable = False
    return drawn


def resamples(groups: Sequence[str], *, count: int = RESAMPLES, seed: int = 0) -> list[np.ndarray]:
    """The same draws as row numbers, for measures that take rows."""
    rows = np.arange(len(groups))
    drawn = resample_counts(groups, count=count, seed=seed)
    return [np.repeat(rows, times) for times in drawn]


def resampled_interval(
    measure: Callable[[np.ndarray], float], samples: Sequence[np.ndarray]
) -> tuple[float, float]:
    """The 95 % percentile interval of a measure of row numbers over resamples."""
    low, high = np.percentile([measure(rows) for rows in samples], [2.5, 97.5])
    return float(low), float(high)
