"""Exact arithmetic of counts: how sure a share is that was counted on so many."""

from __future__ import annotations

import math
from functools import lru_cache

# Steps of the continued fraction and of the bisection; both end far earlier.
_TERMS, _HALVINGS = 10_000, 200
_TINY, _ENOUGH = 1e-300, 1e-15


def at_most(count: int, trials: int, share: float) -> float:
    """The probability of `count` or fewer successes in `trials` that each succeed by `share`.

    Examples:
        >>> round(at_most(0, 299, 0.01), 4)
        0.0495
        >>> at_most(3, 3, 0.5)
        1.0
    """
    if count < 0:
        return 0.0
    if count >= trials:
        return 1.0
    return _beta_share(trials - count, count + 1, 1 - share)


@lru_cache(maxsize=4096)
def interval(count: int, trials: int, confidence: float = 0.95) -> tuple[float, float]:
    """The exact interval of a share (Clopper and Pearson 1934); it never is a single point.

    Args:
        count: successes.
        trials: of so many; with none the share is unknown.
        confidence: that the interval holds the share, counting both ends.

    Returns:
        The lowest and the highest share, in [0, 1].

    Examples:
        >>> [round(end, 3) for end in interval(0, 185)]
        [0.0, 0.02]
        >>> [round(end, 3) for end in interval(5, 10)]
        [0.187, 0.813]
    """
    if not 0 <= count <= trials:
        raise ValueError(f"expected a count from 0 to {trials}, found {count}")
    left_out = (1 - confidence) / 2
    low = 0.0 if count == 0 else upper_end(trials - count, trials, 1 - left_out)
    high = 1.0 if count == trials else upper_end(count, trials, 1 - left_out)
    return (1 - low if count else 0.0), high


@lru_cache(maxsize=4096)
def upper_end(count: int, trials: int, confidence: float = 0.95) -> float:
    """The share that is not exceeded, with this confidence (one-sided, exact).

    Examples:
        >>> round(upper_end(0, 299), 4)
        0.01
    """
    if count >= trials:
        return 1.0
    low, high = count / trials, 1.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if high - low <= _ENOUGH or middle in (low, high):
            break
        if at_most(count, trials, middle) > 1 - confidence:
            low = middle
        else:
            high = middle
    return high


def _beta_share(a: float, b: float, x: float) -> float:
    """The regularised incomplete beta function, by its continued fraction (Lentz's method)."""
    if x <= 0:
        return 0.0
    if x >= 1:
        return 1.0
    if x > (a + 1) / (a + b + 2):
        return 1 - _beta_share(b, a, 1 - x)
    front = math.exp(
        math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)
    )
    return min(1.0, front * _fraction(a, b, x) / a)


def _fraction(a: float, b: float, x: float) -> float:
    upper, lower = 1.0, 1 / _bounded(1 - (a + b) * x / (a + 1))
    value = lower
    for m in range(1, _TERMS):
        for term in (
            m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)),
        ):
            lower = 1 / _bounded(1 + term * lower)
            upper = _bounded(1 + term / upper)
            value *= upper * lower
        if abs(upper * lower - 1) < _ENOUGH:
            break
    return value


def _bounded(number: float) -> float:
    return number if abs(number) > _TINY else _TINY
