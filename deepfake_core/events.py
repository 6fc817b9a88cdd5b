"""How a job tells what it does."""

from __future__ import annotations

from collections.abc import Callable

from deepfake_core.records import Json


def silent(event: str, facts: Json) -> None:
    """Tell nobody."""


# Told of each step of a run by its name and of what there is to count.
Notify = Callable[[str, Json], None]
