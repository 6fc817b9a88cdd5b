"""Versions of models in a registry, of whichever kind: found, copied, promoted, rolled back."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from deepfake_core.errors import CandidateRefused, ModelError, UsageError
from deepfake_core.files import flush, settle, whole
from deepfake_core.models.bundle import CANARIES_FILE
from deepfake_core.models.hashed_folder import Version
from deepfake_core.models.registry_log import GateRecord, Ledger, gate_record, locked, read_log

CURRENT_FILE = "current.json"
_REFERENCE = re.compile(r"^(?P<name>[a-z0-9][a-z0-9_-]*)(@(?P<version>\d+))?$")

Found = TypeVar("Found", bound=Version)


@dataclass(frozen=True, slots=True)
class Kind(Generic[Found]):
    """First looks, or second ones.

    Attributes:
        description_file: the file that describes a version.
        read: reads a version from its folder; raises ModelError.
        gate: how a version is put through the gate, for people.
    """

    description_file: str
    read: Callable[[Path], Found]
    gate: str

    def known(self, registry: Path) -> dict[str, list[int]]:
        """The versions of each model of this kind, rising."""
        models: dict[str, list[int]] = {}
        for path in sorted(registry.glob(f"*/*/{self.description_file}")):
            if path.parent.name.isdigit():
                models.setdefault(path.parent.parent.name, []).append(int(path.parent.name))
        return {name: sorted(versions) for name, versions in models.items()}

    def find(self, reference: str, registry: Path) -> Found:
        """Find ``NAME``, of which the current version is taken, or ``NAME@VERSION``.

        Raises:
            ModelError: there is no such version; the message lists those there are.
        """
        match = _REFERENCE.match(reference)
        known = self.known(registry)
        if not known:
            raise ModelError(
                f"there are no models in {registry}, so none named {reference!r}; give a folder "
                "of models with --registry, or install deepfake-verification again, which brings "
                "one"
            )
        if match is None or match["name"] not in known:
            raise ModelError(
                f"no model named {reference!r} in {registry}; there are: {', '.join(known)}"
            )
        name = match["name"]
        version = int(match["version"]) if match["version"] else self.current(name, registry)
        if version not in known[name]:
            versions = ", ".join(f"{name}@{number}" for number in known[name])
            raise ModelError(f"no model {name}@{version} in {registry}; there are: {versions}")
        return self.read(registry / name / str(version))

    def current(self, name: str, registry: Path) -> int:
        """The number of a model's current version.

        Raises:
            ModelError: none is marked as current, or the mark cannot be read.
        """
        if not _REFERENCE.match(name):
            raise ModelError(f"{name!r} names no model; it has small letters, digits, - and _")
        path = registry / name / CURRENT_FILE
        try:
            return int(json.loads(path.read_text())["version"])
        except FileNotFoundError as error:
            versions = [f"{name}@{number}" for number in self.known(registry).get(name, [])]
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

    def find_current(self, name: str, registry: Path) -> Found | None:
        """The current version of a model, or None where none is current yet."""
        named = (registry / name / CURRENT_FILE).exists()
        return self.find(name, registry) if named else None

    def add(self, candidate: Found, *, why: str, registry: Path) -> Found:
        """Copy a complete version into a registry, where it appears at once, and is not current.

        Args:
            candidate: anywhere on this machine; its files are verified.
            why: for the log.
            registry: where it goes, under the name and version that its description has.

        Returns:
            The version in the registry; the one that is there already where it is the same.

        Raises:
            ModelError: a file is damaged, or another has this name and version.
            OutputError: the registry cannot be written; it stays as it was.
        """
        candidate.verify()
        name, version = candidate.description.name, candidate.description.version
        home = registry / name
        final, beside = home / str(version), home / f".{version}.writing"
        with locked(home) as log:
            if final.exists():
                return _same(self.read(final), candidate)
            for left in home.glob(".*.writing/"):
                shutil.rmtree(left)  # of a process that was killed: nobody else writes meanwhile
            try:
                beside.mkdir()
                for file in (*candidate.description.files, self.description_file):
                    shutil.copyfile(candidate.folder / file, beside / file)
                if (candidate.folder / CANARIES_FILE).is_file():
                    shutil.copyfile(candidate.folder / CANARIES_FILE, beside / CANARIES_FILE)
                _flush(beside)
                self.read(beside).verify()
                log.add("register", {"version": version, "digest": candidate.digest, "why": why})
                beside.rename(final)
            finally:
                shutil.rmtree(beside, ignore_errors=True)
        return self.read(final)

    def promote(
        self, version: Version, *, why: str = "", registry: Path, force: bool = False
    ) -> Mapping[str, object]:
        """Make a version current, at once and for good: others see the old or the new one.

        Args:
            version: in the registry; it must have passed the gate against what is current.
            why: for the log; needed with `force`.
            registry: the folder of models.
            force: whether a version that did not pass is taken all the same.

        Returns:
            The line of the log.

        Raises:
            CandidateRefused: the version has no passed gate record.
            ModelError: one of its files is not what its hash says.
            OutputError: the registry cannot be written; what was current stays so.
        """
        name, number = version.description.name, version.description.version
        version.verify()
        if force and not why.strip():
            raise UsageError("a promotion by force is logged with its reason; give one with --why")
        with locked(registry / name) as log:
            current = self.find_current(name, registry)
            before = current.description.version if current else None
            if before == number:
                lines = [line for line in read_log(registry / name) if line.get("to") == number]
                return lines[-1] if lines else log.add("promote", {"from": None, "to": number})
            gate = gate_record(registry / name, version.digest)
            refusal = refusal_of(version, gate, current)
            if refusal and not force:
                raise CandidateRefused(
                    f"{name}@{number} was not promoted: {refusal}; {self.gate}, or promote it "
                    "with --force and --why"
                )
            facts = {"from": before, "to": number, "digest": version.digest, "why": why}
            passed = {"passed": not refusal, "forced": bool(refusal), "refusal": refusal}
            return _make_current(log, registry / name, "promote", {**facts, "gate": passed})

    def rollback(self, name: str, *, why: str = "", registry: Path) -> Mapping[str, object]:
        """Make the version current that was so before the present one was promoted.

        Returns:
            The line of the log.

        Raises:
            ModelError: the log names none, or its files are not what their hashes say.
            OutputError: the registry cannot be written; what was current stays so.
        """
        present = self.current(name, registry)
        with locked(registry / name) as log:
            lines = read_log(registry / name)
            promotions = [
                line for line in lines if line["what"] == "promote" and line["to"] == present
            ]
            before = promotions[-1]["from"] if promotions else None
            if before is None:
                raise ModelError(
                    f"the log of {name} names no version that was current before {present}; "
                    "promote the version you want"
                )
            version = self.find(f"{name}@{before}", registry)
            version.verify()
            facts = {"from": present, "to": before, "digest": version.digest, "why": why}
            return _make_current(log, registry / name, "rollback", facts)


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


def _make_current(
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
