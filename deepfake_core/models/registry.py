"""The registry: bundles by name and version, and which of them is current."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from deepfake_core.models.bundle import DESCRIPTION_FILE, Bundle, read_bundle
from deepfake_core.models.hashed_folder import Version
from deepfake_core.models.registry_log import locked
from deepfake_core.models.versions import Kind

_ROOT = Path(__file__).resolve().parents[2]
# The models that a wheel brought lie beside the package; in the repository there are none there.
_INSTALLED = _ROOT / "deepfake_models"
DEFAULT_REGISTRY = _INSTALLED if _INSTALLED.is_dir() else _ROOT / "models"

FIRST = Kind(DESCRIPTION_FILE, read_bundle, "run the gate with --data DIR")


def find_model(reference: str, registry: Path = DEFAULT_REGISTRY) -> Bundle:
    """Find a bundle.

    Args:
        reference: ``NAME``, of which the current version is taken, or ``NAME@VERSION``.
        registry: the folder of bundles, ``NAME/VERSION/``.

    Raises:
        ModelError: there is no such bundle; the message lists those there are.
    """
    return FIRST.find(reference, registry)


def list_models(registry: Path = DEFAULT_REGISTRY) -> dict[str, list[int]]:
    """The versions of each model, rising."""
    return FIRST.known(registry)


def current_version(name: str, registry: Path = DEFAULT_REGISTRY) -> int:
    """The number of a model's current version; see `Kind.current`."""
    return FIRST.current(name, registry)


def register(candidate: Bundle, *, why: str = "", registry: Path = DEFAULT_REGISTRY) -> Bundle:
    """Copy a complete bundle into the registry; see `Kind.add`."""
    return FIRST.add(candidate, why=why, registry=registry)


def promote(
    name: str,
    version: int,
    *,
    why: str = "",
    registry: Path = DEFAULT_REGISTRY,
    force: bool = False,
) -> Mapping[str, object]:
    """Make a version current; see `Kind.promote`.

    Raises:
        ModelError: there is no such version.
    """
    bundle = find_model(f"{name}@{version}", registry)
    return FIRST.promote(bundle, why=why, registry=registry, force=force)


def rollback(
    name: str, *, why: str = "", registry: Path = DEFAULT_REGISTRY
) -> Mapping[str, object]:
    """Make the version current that was so before; see `Kind.rollback`."""
    return FIRST.rollback(name, why=why, registry=registry)


def record_gate(
    bundle: Version,
    current: Version | None,
    result: Mapping[str, object],
    *,
    registry: Path = DEFAULT_REGISTRY,
) -> dict[str, object]:
    """Log what the gate found about a registered bundle, against what was current.

    Args:
        bundle: the candidate.
        current: what it was compared with, or None for the first of its name.
        result: has at least ``passed`` and ``reasons``.
        registry: the folder of bundles.

    Returns:
        The line of the log.
    """
    facts = {
        "version": bundle.description.version,
        "digest": bundle.digest,
        "against": current.model_id if current else None,
        "against_digest": current.digest if current else None,
        **result,
    }
    with locked(registry / bundle.description.name) as log:
        return log.add("gate", facts)


def find_current(name: str, registry: Path = DEFAULT_REGISTRY) -> Bundle | None:
    """The current bundle of a model, or None where none is current yet."""
    return FIRST.find_current(name, registry)


def next_version(name: str, registry: Path = DEFAULT_REGISTRY) -> int:
    """One more than the highest version of a model."""
    return max(list_models(registry).get(name, []), default=0) + 1
