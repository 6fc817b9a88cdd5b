"""The registry: bundles by name and version, and which of them is current."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping
from pathlib import Path

from deepfake_core.errors import CandidateRefused, ModelError, UsageError
from deepfake_core.files import flush, settle, whole
from deepfake_core.models.bundle import CANARIES_FILE, DESCRIPTION_FILE, Bundle, read_bundle
from deepfake_core.models.hashed_folder import Version
from deepfake_core.models.registry_log import GateRecord, Ledger, gate_record, locked, read_log
from deepfake_core.models.versions import Found, Kind

CURRENT_FILE = "current.json"
_ROOT = Path(__file__).resolve().parents[2]
# The models that a wheel brought lie beside the package; in the repository there are none there.
_INSTALLED = _ROOT / "deepfake_models"
DEFAULT_REGISTRY = _INSTALLED if _INSTALLED.is_dir() else _ROOT / "models"
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
    if not known:
        raise ModelError(
            f"there are no models in {registry}, so none named {reference!r}; give a folder of "
            "models with --registry, or install deepfake-verification again, which brings one"
        )
    if match is None or match["name"] not in known:
        raise ModelError(
            f"no model named {reference!r} in {registry}; there are: {', '.join(known)}"
        )
    name = match["name"]
    version = int(match["version"]) if match["version"] else current_version(name, registry)
    if version not in known[name]:
        versions = ", ".join(f"{name}@{number}" for number in known[name])
        raise ModelError(f"no model {name}@{version} in {registry}; there are: {versions}")
    return read_bundle(registry / name / str(version))


def list_models(
    registry: Path = DEFAULT_REGISTRY, described_by: str = DESCRIPTION_FILE
) -> dict[str, list[int]]:
    """The versions of each model, rising.

    Args:
        registry: the folder of models.
        described_by: name of the file that a version has which counts.
    """
    models: dict[str, list[int]] = {}
    for path in sorted(registry.glob(f"*/*/{described_by}")):
        if path.parent.name.isdigit():
            models.setdefault(path.parent.parent.name, []).append(int(path.parent.name))
    return {name: sorted(versions) for name, versions in models.items()}


def current_version(name: str, registry: Path = DEFAULT_REGISTRY) -> int:
    """The current version of a model.

    Raises:
        ModelError: none is marked as current, or the mark cannot be read.
    """
    if not _REFERENCE.match(name):
        raise ModelError(f"{name!r} names no model; it has small letters, digits, - and _")
    path = registry / name / CURRENT_FILE
    try:
        return int(json.loads(path.read_text())["version"])
    except FileNotFoundError as error:
        versions = [f"{name}@{number}" for number in list_models(registry).get(name, [])]
        if not versions:
            raise ModelError(f"no model named {name!r} in {registry}") from error
        raise ModelError(
            f"no version of {name} is current in {registry}; there are: {', '.join(versions)}. "
            "Name one of them, or make one current with: "
            f"deepfake models promote {versions[-1]}"
        ) from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(
            f"{path} is damaged and names no version; name one as {name}@VERSION, or write "
            '{"version": VERSION} into it'
        ) from error


FIRST = Kind(DESCRIPTION_FILE, read_bundle)


def register(candidate: Bundle, *, why: str = "", registry: Path = DEFAULT_REGISTRY) -> Bundle:
    """Copy a complete bundle into the registry; it appears there at once, and is not current.

    Args:
        candidate: the bundle, anywhere on this machine; its files are verified.
        why: for the log.
        registry: where it goes, under the name and version that its description has.

    Returns:
        The bundle in the registry; the one that is there already where it is the same.

    Raises:
        ModelError: a file is damaged, or another bundle has this name and version.
        OutputError: the registry cannot be written; it stays as it was.
    """
    return add_version(candidate, FIRST, why=why, registry=registry)


def add_version(candidate: Found, kind: Kind[Found], *, why: str, registry: Path) -> Found:
    """Copy a version of any kind into the registry, see `register`."""
    candidate.verify()
    name, version = candidate.description.name, candidate.description.version
    home = registry / name
    final, beside = home / str(version), home / f".{version}.writing"
    with locked(home) as log:
        if final.exists():
            return _same(kind.read(final), candidate)
        for left in home.glob(".*.writing/"):
            shutil.rmtree(left)  # of a process that was killed: nobody else writes meanwhile
        try:
            beside.mkdir()
            for file in (*candidate.description.files, kind.description_file):
                shutil.copyfile(candidate.folder / file, beside / file)
            if (candidate.folder / CANARIES_FILE).is_file():
                shutil.copyfile(candidate.folder / CANARIES_FILE, beside / CANARIES_FILE)
            _flush(beside)
            kind.read(beside).verify()
            log.add("register", {"version": version, "digest": candidate.digest, "why": why})
            beside.rename(final)
        finally:
            shutil.rmtree(beside, ignore_errors=True)
    return kind.read(final)


def promote(
    name: str,
    version: int,
    *,
    why: str = "",
    registry: Path = DEFAULT_REGISTRY,
    force: bool = False,
) -> dict[str, object]:
    """Make a version current, at once and for good: others see the old or the new one.

    Args:
        name: name of the model.
        version: the version, which must have passed the gate against what is current.
        why: for the log; needed with `force`.
        registry: the folder of bundles.
        force: whether a version that did not pass is taken all the same.

    Returns:
        The line of the log.

    Raises:
        CandidateRefused: the version has no passed gate record.
        ModelError: there is no such version, or one of its files is not what its hash says.
        OutputError: the registry cannot be written; what was current stays so.
    """
    bundle = find_model(f"{name}@{version}", registry)
    bundle.verify()
    if force and not why.strip():
        raise UsageError("a promotion by force is logged with its reason; give one with --why")
    with locked(registry / name) as log:
        current = find_current(name, registry)
        before = current.description.version if current else None
        if before == version:
            lines = [line for line in read_log(registry / name) if line.get("to") == version]
            return lines[-1] if lines else log.add("promote", {"from": None, "to": version})
        gate = gate_record(registry / name, bundle.digest)
        refusal = refusal_of(bundle, gate, current)
        if refusal and not force:
            raise CandidateRefused(
                f"{name}@{version} was not promoted: {refusal}; run the gate with --data DIR, "
                "or promote it with --force and --why"
            )
        facts = {"from": before, "to": version, "digest": bundle.digest, "why": why}
        passed = {"passed": not refusal, "forced": bool(refusal), "refusal": refusal}
        return make_current(log, registry / name, "promote", {**facts, "gate": passed})


def rollback(name: str, *, why: str = "", registry: Path = DEFAULT_REGISTRY) -> dict[str, object]:
    """Make the version current that was so before the present one was promoted.

    Returns:
        The line of the log.

    Raises:
        ModelError: the log names none, or its files are not what their hashes say.
        OutputError: the registry cannot be written; what was current stays so.
    """
    present = current_version(name, registry)
    with locked(registry / name) as log:
        lines = read_log(registry / name)
        promotions = [line for line in lines if line["what"] == "promote" and line["to"] == present]
        before = promotions[-1]["from"] if promotions else None
        if before is None:
            raise ModelError(
                f"the log of {name} names no version that was current before {present}; promote "
                "the version you want"
            )
        bundle = find_model(f"{name}@{before}", registry)
        bundle.verify()
        facts = {"from": present, "to": before, "digest": bundle.digest, "why": why}
        return make_current(log, registry / name, "rollback", facts)


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
    named = (registry / name / CURRENT_FILE).exists()
    return find_model(name, registry) if named else None


def next_version(name: str, registry: Path = DEFAULT_REGISTRY) -> int:
    """One more than the highest version of a model."""
    return max(list_models(registry).get(name, []), default=0) + 1


def _same(present: Found, candidate: Found) -> Found:
    if present.digest != candidate.digest:
        raise ModelError(
            f"{present.model_id} took this version meanwhile; start the same command again"
        )
    return present


def refusal_of(bundle: Version, gate: GateRecord | None, current: Version | None) -> str:
    """Why a version may not become current; empty where it may."""
    if gate is None:
        return "it has no gate record"
    if not gate["passed"]:
        return "it failed the gate (" + "; ".join(gate["reasons"]) + ")"
    if current is not None and current.digest not in (gate["against_digest"], bundle.digest):
        return f"its gate compared it with {gate['against']}, current is {current.model_id}"
    return ""


def make_current(
    log: Ledger, home: Path, what: str, facts: Mapping[str, object]
) -> dict[str, object]:
    """Log, then rename: whatever is current has a line that says how it became so."""
    with whole(home / CURRENT_FILE) as stream:
        stream.write((json.dumps({"version": facts["to"]}) + "\n").encode())
        # A full disk must be noticed before the log says that it is done.
        settle(stream)
        return log.add(what, facts)


def _flush(folder: Path) -> None:
    """Flush a folder of files to the disk, before it appears under its name."""
    for path in (*folder.iterdir(), folder):
        flush(path)
