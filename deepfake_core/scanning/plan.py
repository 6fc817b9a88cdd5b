"""The plan of a run: what is judged, under which configuration, in which shards."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import platform
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa

from deepfake_core import __version__
from deepfake_core.engines.engine import processor_precisions, resolve_precision
from deepfake_core.errors import PlanMismatch, RunTaken, SourceError, unreadable
from deepfake_core.models.bundle import Bundle, Precision
from deepfake_core.models.registry import DEFAULT_REGISTRY, find_model
from deepfake_core.results.layout import MANIFEST_FILE, REDECIDING, RUN_FILE, run_file
from deepfake_core.results.manifest import (
    MANIFEST_SCHEMA,
    fingerprint,
    read_manifest,
    run_of,
    to_bytes,
    turn_order,
    unskipped,
)
from deepfake_core.results.run_ids import new_run_id
from deepfake_core.results.run_record import RunRecord
from deepfake_core.results.schema import SCHEMA_VERSION, check_version
from deepfake_core.results.store import Results
from deepfake_core.scanning.config import ScanConfig
from deepfake_core.scanning.history import read_history
from deepfake_core.scanning.selection import build_manifest, idle_globs, skip_some
from deepfake_core.storage.base import Storage
from deepfake_core.storage.listing import Listing
from deepfake_core.storage.opening import open_storage

# Settings that a resumed run must share with its plan, by the name a person knows them by.
CHECKED = ("source", "model_id", "precision", "engine", "shard_size")


@dataclass(slots=True)
class Plan:
    """A run that was planned; `run` is the content of ``run.json``."""

    config: ScanConfig
    source: Storage
    results: Results
    bundle: Bundle
    run: RunRecord
    manifest: pa.Table
    # Whether its run.json is stored.
    begun: bool = False
    # Where the time of the shards went that this process had committed.
    timings: dict[int, dict[str, float]] = field(default_factory=dict)
    # The manifest for which the shards' rows were put in order, and those rows.
    _in_turn: tuple[pa.Table, pa.Table] | None = field(default=None, repr=False)

    @property
    def run_id(self) -> str:
        """The run."""
        return self.run.run_id

    @property
    def wanted(self) -> pa.Table:
        """The manifest's rows that are judged, in order."""
        return unskipped(self.manifest)

    @property
    def in_turn(self) -> pa.Table:
        """The same rows in the order in which they are judged: new images come first."""
        if self._in_turn is None or self._in_turn[0] is not self.manifest:
            rows = self.wanted
            self._in_turn = self.manifest, rows.take(pa.array(turn_order(rows)))
        return self._in_turn[1]

    @property
    def shards(self) -> int:
        """How many shards the run has."""
        return -(-len(self.in_turn) // self.run.shard_size)

    def shard(self, index: int) -> pa.Table:
        """The manifest rows of one shard, in the order in which they are judged."""
        size = self.run.shard_size
        return self.in_turn.slice(index * size, size)

    @property
    def metadata(self) -> dict[str, str]:
        """Facts for the footer of parts and published files."""
        description = self.bundle.description
        return {
            "run_id": self.run_id,
            "model_id": self.bundle.model_id,
            "engine": self.run.engine,
            "precision": self.run.precision,
            "temperature": str(description.calibration.temperature),
            "offset": str(description.calibration.offset),
            "thresholds": description.thresholds.model_dump_json(),
            "config_fingerprint": self.run.config_fingerprint,
            "manifest_fingerprint": self.run.manifest_fingerprint,
        }

    def store_run(self) -> None:
        """Write ``run.json``."""
        self.results.put_run(self.run)
        self.begun = True

    def store_manifest(self) -> None:
        """Write ``manifest.parquet``."""
        data = to_bytes(self.manifest, run=self.run)
        self.results.storage.put(run_file(self.run_id, MANIFEST_FILE), data)

    def claim(self) -> None:
        """Create ``manifest.parquet``, with which the run is planned: no other plan of it counts.

        Raises:
            RunTaken: another process has planned the run meanwhile.
        """
        path = run_file(self.run_id, MANIFEST_FILE)
        storage, data = self.results.storage, to_bytes(self.manifest, run=self.run)
        if storage.create(path, data):
            return
        first = run_of(_stored(storage, path), storage.address(path))
        if first is None:
            # Left by a version that kept nothing of the run in it.
            storage.put(path, data)
        elif first.run_started != self.run.run_started:
            raise RunTaken(
                f"run {self.run_id} was planned by another process at the same moment; let that "
                "one finish, or start the run again to continue it if it has ended"
            )


def make_plan(
    config: ScanConfig,
    *,
    now: dt.datetime | None = None,
    registry: Path = DEFAULT_REGISTRY,
    source: Storage | None = None,
) -> Plan:
    """Plan a run, or take up the stored plan of its run_id.

    Args:
        config: what was asked for.
        now: when the run starts, UTC; the clock's time by default.
        registry: where bundles are.
        source: where the images are, if it is open already.

    Raises:
        UsageError: source, output, model or precision cannot be used, see its subclasses.
        PlanMismatch: the run_id was planned with other settings.
    """
    now = now or dt.datetime.now(dt.UTC)
    bundle = find_model(config.model, registry)
    source = source or open_storage(config.source)
    results = Results(open_storage(config.output))
    stored, begun = _planned(results, config.run_id) if config.run_id else (None, False)
    if stored is not None:
        check_version(stored.schema_version, f"{RUN_FILE} of run {stored.run_id}")
    if stored is not None and stored.state == "done":
        return Plan(config, source, results, bundle, stored, MANIFEST_SCHEMA.empty_table(), True)
    precision = _precision(bundle, config)
    asked: dict[str, str | int] = {
        "source": source.name,
        "model_id": bundle.model_id,
        "precision": precision,
        "engine": config.engine,
        "shard_size": config.shard_size,
    }
    if stored is not None:
        _check(stored, asked)
        listed = read_manifest(results, stored.run_id)
        return Plan(config, source, results, bundle, stored, listed, begun)
    results.storage.check_writable()
    listing = _list(source, leave_out=results.storage.address(""))
    config_fingerprint = _digest({name: asked[name] for name in CHECKED[1:4]})
    past = read_history(
        results,
        source.name,
        config_fingerprint,
        listed=build_manifest(listing),
        unreadable=listing.unreadable,
    )
    run = RunRecord(
        source=source.name,
        model_id=bundle.model_id,
        precision=precision,
        engine=config.engine,
        shard_size=config.shard_size,
        run_id=config.run_id or new_run_id(now),
        run_date=now.date().isoformat(),
        run_started=now.isoformat(timespec="microseconds"),
        state="planned",
        schema_version=SCHEMA_VERSION,
        config=config.model_dump(mode="json"),
        config_fingerprint=config_fingerprint,
        manifest_fingerprint=fingerprint(past.listed),
        unlisted_folders=listing.unreadable,
        gone=past.gone,
        renamed=past.renamed,
        idle_globs=idle_globs(past.listed, config),
        versions={"deepfake": __version__, "python": platform.python_version()},
    )
    chosen = skip_some(past.listed, config, past.known)
    return Plan(config, source, results, bundle, run, chosen)


def _planned(results: Results, run_id: str) -> tuple[RunRecord | None, bool]:
    """What ``run.json`` says, or would say had its writing not been cut off, and if it is there."""
    stored = results.get_run(run_id)
    path = run_file(run_id, MANIFEST_FILE)
    if stored is not None or not results.storage.exists(path):
        return stored, stored is not None
    return run_of(_stored(results.storage, path), results.storage.address(path)), False


def _stored(storage: Storage, path: str) -> bytes:
    try:
        return storage.read(path)
    except OSError as error:
        raise unreadable(storage.address(path), error) from error


def _precision(bundle: Bundle, config: ScanConfig) -> Precision:
    if config.engine == "keras":
        return resolve_precision(bundle, config.precision, {"fp32"})
    # Asking OpenVINO costs a third of a second; a bundle with one precision leaves no choice.
    if bundle.description.precisions == ("fp32",) and config.precision in ("auto", "fp32"):
        return "fp32"
    return resolve_precision(bundle, config.precision, processor_precisions())


def _check(stored: RunRecord, asked: Mapping[str, str | int]) -> None:
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


def _list(source: Storage, *, leave_out: str) -> Listing:
    """List a source that holds something beside the output."""
    if leave_out == source.address(""):
        raise SourceError(f"{source.name} is the output too; give another folder with --output")
    listing = source.list_files(leave_out=leave_out)
    if not listing.paths:
        unreadable = f"; {len(listing.unreadable)} folders in it cannot be listed"
        raise SourceError(
            f"there are no files in {source.name}{unreadable if listing.unreadable else ''}; "
            "give a folder of images (names that begin with a dot are left out)"
        )
    return listing


def _digest(content: Mapping[str, str | int]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
