"""Contestants are measured in turns."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from statistics import median

from deepfake_core.bench.setting import FAILURES
from deepfake_core.events import Say

# Measures once; returns a figure, mostly images per second.
Contestant = Callable[[], float]


def race(contestants: Mapping[str, Contestant], rounds: int, tell: Say) -> dict[str, float]:
    """Measure all in turns, so that what disturbs the machine disturbs each of them.

    Returns:
        The median rate of each; one that failed is left out.
    """
    rates: dict[str, list[float]] = {name: [] for name in contestants}
    for number in range(rounds):
        tell(f"round {number + 1} of {rounds}")
        for name, measure in contestants.items():
            if name not in rates:
                continue
            try:
                rates[name].append(measure())
            except FAILURES as error:
                tell(f"{name} is left out: {error}")
                del rates[name]
    return {name: median(each) for name, each in rates.items()}


def rate_of(count: int, action: Callable[[], object]) -> float:
    """So many a second."""
    started = time.perf_counter()
    action()
    return count / (time.perf_counter() - started)
