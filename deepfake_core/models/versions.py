"""The kinds of models whose versions the registry keeps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from deepfake_core.models.hashed_folder import Version

Found = TypeVar("Found", bound=Version)


@dataclass(frozen=True, slots=True)
class Kind(Generic[Found]):
    """First looks, or second ones.

    Attributes:
        description_file: the file that describes a version.
        read: reads a version from its folder; raises ModelError.
    """

    description_file: str
    read: Callable[[Path], Found]
