"""Versions of second looks in the registry: they come and become current as first looks do."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from deepfake_core.errors import CandidateRefused, ModelError
from deepfake_core.models.registry import (
    CURRENT_FILE,
    DEFAULT_REGISTRY,
    add_version,
    current_version,
    list_models,
    make_current,
    refusal_of,
)
from deepfake_core.models.registry_log import gate_record, locked, read_log
from deepfake_core.models.second_look import LOOK_FILE, SecondBundle, read_second
from deepfake_core.models.versions import Kind

SECOND = Kind(LOOK_FILE, read_second)


def list_seconds(registry: Path = DEFAULT_REGISTRY) -> dict[str, list[int]]:
    """The versions of each second look, rising."""
    return list_models(registry, LOOK_FILE)


def second_versions(name: str, registry: Path = DEFAULT_REGISTRY) -> list[int]:
    """The versions of a second look, rising; none where the name is not that of one."""
    return list_seconds(registry).get(name, [])


def find_current_second(name: str, registry: Path = DEFAULT_REGISTRY) -> SecondBundle | None:
    """The current version of a second look, or None where none is current yet."""
    if not (registry / name / CURRENT_FILE).exists():
        return None
    return read_second(registry / name / str(current_version(name, registry)))


def register_second(
    candidate: SecondBundle, *, why: str = "", registry: Path = DEFAULT_REGISTRY
) -> SecondBundle:
    """Copy a complete second look into the registry, as `register` does with a first one."""
    return add_version(candidate, SECOND, why=why, registry=registry)


def promote_second(
    look: SecondBundle, *, why: str = "", registry: Path = DEFAULT_REGISTRY, force: bool = False
) -> Mapping[str, object]:
    """Make a version current, as `promote` does with a first look.

    Returns:
        The line of the log.

    Raises:
        CandidateRefused: it has no passed gate record against what is current.
        ModelError: one of its files is not what its hash says.
        OutputError: the registry cannot be written; what was current stays so.
    """
    name, version = look.description.name, look.description.version
    look.verify()
    with locked(registry / name) as log:
        current = find_current_second(name, registry)
        before = current.description.version if current else None
        if before == version:
            return read_log(registry / name)[-1]
        refusal = refusal_of(look, gate_record(registry / name, look.digest), current)
        if refusal and not force:
            raise CandidateRefused(f"{name}@{version} was not promoted: {refusal}")
        facts = {"from": before, "to": version, "digest": look.digest, "why": why}
        passed = {"passed": not refusal, "forced": bool(refusal), "refusal": refusal}
        return make_current(log, registry / name, "promote", {**facts, "gate": passed})


def rollback_second(
    name: str, *, why: str = "", registry: Path = DEFAULT_REGISTRY
) -> Mapping[str, object]:
    """Make the version current that was so before the present one was promoted.

    Raises:
        ModelError: the log names none, or its files are not what their hashes say.
        OutputError: the registry cannot be written; what was current stays so.
    """
    present = current_version(name, registry)
    with locked(registry / name) as log:
        lines = [line for line in read_log(registry / name) if line["what"] == "promote"]
        before = next((line["from"] for line in reversed(lines) if line["to"] == present), None)
        if before is None:
            raise ModelError(
                f"the log of {name} names no version that was current before {present}"
            )
        look = read_second(registry / name / str(before))
        look.verify()
        facts = {"from": present, "to": before, "digest": look.digest, "why": why}
        return make_current(log, registry / name, "rollback", facts)
