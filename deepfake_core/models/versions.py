"""What the registry needs to know of the versions that it keeps, first looks or second ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, Protocol, TypeVar


class Described(Protocol):
    """The part of a description that names a version and its files."""

    @property
    def name(self) -> str:
        """Name of the model."""
        ...

    @property
    def version(self) -> int:
        """Version of the model."""
        ...

    @property
    def files(self) -> Mapping[str, str]:
        """sha256 of each file, by name."""
        ...


class Version(Protocol):
    """A bundle on disk."""

    @property
    def folder(self) -> Path:
        """Where its files are."""
        ...

    @property
    def digest(self) -> str:
        """sha256 of its description, which names the hash of every file."""
        ...

    @property
    def model_id(self) -> str:
        """``name@version+hash8``."""
        ...

    @property
    def description(self) -> Described:
        """What it is."""
        ...

    def verified(self, name: str) -> Path:
        """The path of one of its files after its hash was checked; raises ModelError."""
        ...


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


def verify(version: Version) -> None:
    """Check the hash of every file of a version; raises ModelError."""
    for name in version.description.files:
        version.verified(name)
