"""The registry: bundles by name and version, and which of them is current."""

from __future__ import annotations

import json
import re
from pathlib import Path

from deepfake_core.bundle import DESCRIPTION_FILE, Bundle, read_bundle
from deepfake_core.errors import ModelError

CURRENT_FILE = "current.json"
DEFAULT_REGISTRY = Path(__file__).resolve().parent.parent / "models"
_REFERENCE = re.compile(r"^(?P<name>[a-z0-9][a-z0-9_-]*)(@(?P<version>\d+))?$")


def find_model(reference: str, registry: Path = DEFAULT_REGISTRY) -> Bundle:
    """Find a bundle.

    Args:
        reference: ``NAME``, of which the current version is taken, or ``NAME@VERSION``.
        registry: the folder of bundles, ``NAME/VERSION/``.

    Raises:
        ModelError: there is no such bundle; the message lists those there are.
    """
    match = _REFERENCE.match(reference)
    known = list_models(registry)
    if match is None or match["name"] not in known:
        raise ModelError(
            f"no model named {reference!r} in {registry}; there are: {', '.join(known) or 'none'}"
        )
    name = match["name"]
    version = int(match["version"]) if match["version"] else current_version(name, registry)
    if version not in known[name]:
        versions = ", ".join(f"{name}@{number}" for number in known[name])
        raise ModelError(f"no model {name}@{version} in {registry}; there are: {versions}")
    return read_bundle(registry / name / str(version))


def list_models(registry: Path = DEFAULT_REGISTRY) -> dict[str, list[int]]:
    """The versions of each model, rising."""
    models: dict[str, list[int]] = {}
    for path in sorted(registry.glob(f"*/*/{DESCRIPTION_FILE}")):
        if path.parent.name.isdigit():
            models.setdefault(path.parent.parent.name, []).append(int(path.parent.name))
    return {name: sorted(versions) for name, versions in models.items()}


def current_version(name: str, registry: Path = DEFAULT_REGISTRY) -> int:
    """The current version of a model.

    Raises:
        ModelError: none is marked as current.
    """
    path = registry / name / CURRENT_FILE
    try:
        return int(json.loads(path.read_text())["version"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(
            f"{path} names no current version of {name}; give one as {name}@VERSION"
        ) from error
