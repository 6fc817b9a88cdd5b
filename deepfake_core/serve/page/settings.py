"""What the launcher tells the page: one argument of the page's script."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from deepfake_core.models.registry import DEFAULT_REGISTRY

DEFAULT_MODEL = "resnet50"
DEFAULT_REPORTS = "reports"
# A telephone's largest photograph is smaller; the network sees 128 pixels of it.
MAX_UPLOAD_MEGABYTES = 32
MAX_PICTURES = 12


@dataclass(frozen=True, slots=True)
class Settings:
    """What the page judges with, and where finished scans lie.

    Attributes:
        model: ``NAME`` or ``NAME@VERSION``.
        reports: folder or URL of finished scans; feedback goes there too.
        registry: folder of the models.
    """

    model: str = DEFAULT_MODEL
    reports: str = DEFAULT_REPORTS
    registry: str = str(DEFAULT_REGISTRY)

    def as_argument(self) -> str:
        """The settings as one argument of a command line."""
        return json.dumps(asdict(self))


def read_settings(arguments: Sequence[str]) -> Settings:
    """The settings in a script's arguments; the defaults where there are none."""
    return Settings(**json.loads(arguments[0])) if arguments else Settings()
