"""What a run that goes on must share with its plan, and where that is found again."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from deepfake_core.errors import DamagedFile, ModelError, PlanMismatch, unreadable
from deepfake_core.inference.opening import Choice, Networks, choose_networks
from deepfake_core.models.bundle import Bundle
from deepfake_core.models.policy import Policy
from deepfake_core.results.layout import MANIFEST_FILE, REDECIDING, run_file
from deepfake_core.results.manifest import run_of
from deepfake_core.results.run_record import RowFacts, RunRecord
from deepfake_core.results.store import Results
from deepfake_core.storage.base import Storage

# Settings that a resumed run must share with its plan, by the name a person knows them by.
CHECKED = (
    *("source", "file", "model_id", "precision", "engine", "shard_size"),
    *("faces", "finder_id", "finder_precision", "second_look", "second_model_id"),
    *("second_precision", "pair", "policy", "stability", "trust_list"),
)
# Of these the ones that can change a verdict; what is as it was before there were faces is left
# out, so that images which were judged then are known.
DECIDING = ("model_id", "precision", "engine")
BEFORE_FACES: dict[str, object] = {
    "faces": "frame",
    "finder_id": None,
    "finder_precision": None,
    "second_look": "off",
    "second_model_id": None,
    "second_precision": None,
    "pair": None,
    "policy": None,
    "stability": False,
}

Asked = dict[str, Any]


def find_planned(results: Results, run_id: str) -> tuple[RunRecord | None, bool]:
    """What ``run.json`` says, or would say had its writing not been cut off, and if it is there."""
    stored = results.get_run(run_id)
    path = run_file(run_id, MANIFEST_FILE)
    if stored is not None or not results.storage.exists(path):
        return stored, stored is not None
    return run_in(results.storage, path), False


def run_in(storage: Storage, path: str) -> RunRecord | None:
    """The run in a manifest's footer; None where it does not say, or cannot be read any more."""
    try:
        return run_of(_stored(storage, path), storage.address(path))
    except DamagedFile:
        return None


def _stored(storage: Storage, path: str) -> bytes:
    try:
        return storage.read(path)
    except OSError as error:
        raise unreadable(storage.address(path), error) from error


def check_same(stored: RunRecord, asked: Asked) -> None:
    """Hold the settings that are asked for against those of the plan.

    Raises:
        PlanMismatch: one of them differs, or the run is a redecision.
    """
    if stored.state == REDECIDING:
        origin = stored.redecided.origin if stored.redecided else "unknown"
        raise PlanMismatch(
            f"run {stored.run_id} decides the labels of run {origin} again;"
            " finish it with deepfake redecide, or choose another run id"
        )
    for name in CHECKED:
        planned = getattr(stored, name)
        if planned != asked[name]:
            raise PlanMismatch(
                f"run {stored.run_id} was started with {name} {planned}, now {asked[name]}."
                f" Resume with the same {name}, or choose another run id."
            )


def fingerprint_of(asked: Asked) -> str:
    """The hash of what can change a verdict."""
    deciding = {name: asked[name] for name in DECIDING}
    deciding |= {name: asked[name] for name, usual in BEFORE_FACES.items() if asked[name] != usual}
    return hashlib.sha256(json.dumps(deciding, sort_keys=True).encode()).hexdigest()


def networks_of(run: RowFacts, bundle: Bundle, registry: Path) -> Networks:
    """The networks that a run was planned with, found again on another machine.

    Raises:
        ModelError: one of them is missing here, is another one, or cannot run as it was planned.
    """
    networks = choose_networks(
        bundle,
        Choice(
            precision=run.precision,
            engine=run.engine,
            faces="find" if run.faces == "find" else "frame",
            second_look=run.second_look,
            policy=Policy.model_validate(run.policy_content) if run.policy_content else None,
        ),
        registry=registry,
    )
    for name, value in networks.facts.items():
        if getattr(run, name) != value:
            raise ModelError(
                f"the run was planned with {name} {getattr(run, name)}, here it is {value}; copy "
                "the registry of the machine that planned it"
            )
    return networks
