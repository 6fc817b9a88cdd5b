"""How a job tells what it does."""

from __future__ import annotations

from collections.abc import Callable

from deepfake_core.records import Json

# Told of each step of a run by its name and of what there is to count.
Notify = Callable[[str, Json], None]
# Told of each step in words.
Say = Callable[[str], None]


def silent(*told: object) -> None:
    """Tell nobody: the `Notify` and the `Say` of a job that nobody listens to."""
