"""What every retraining does, whatever it fits: its steps, and the checks of its data."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar

from deepfake_core.datasets.checks.inspection import Inspection, inspect
from deepfake_core.datasets.checks.report import render as render_data
from deepfake_core.errors import DataRefused
from deepfake_core.retraining.run import Run

T = TypeVar("T")


class Step(Protocol):
    """Does a step of a run, given its name and a function, and returns what that returns."""

    def __call__(self, name: str, work: Callable[[], T], /) -> T:
        """Do it."""
        ...


def call_step(name: str, work: Callable[[], T], /) -> T:  # noqa: ARG001
    """Do a step."""
    return work()


def check_data(run: Run) -> Inspection:
    """Check the labelled folder and write the data report; stop where nothing may be learnt."""
    config = run.config
    inspection = inspect(
        run.data, reading=config.reading, max_shortcut_auc=config.max_shortcut_auc, say=run.say
    )
    report = render_data(inspection, run.report / "data")
    for warning in inspection.warnings:
        run.say(f"warning: {warning}")
    reasons = inspection.reasons(allow_shortcuts=config.allow_shortcuts)
    if reasons:
        advice = "" if inspection.problems else "; --allow-shortcuts trains all the same"
        raise DataRefused(f"{run.data}: {'; '.join(reasons)}; see {report}{advice}")
    return inspection
