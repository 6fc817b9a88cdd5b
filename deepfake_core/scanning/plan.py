"""The plan of a run: what is judged, under which configuration, in which shards."""

from __future__ import annotations

import datetime as dt
import platform
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa

from deepfake_core import __version__
from deepfake_core.errors import (
    RunTaken,
    SourceError,
)
from deepfake_core.inference.opening import Choice, Networks, choose_networks
from deepfake_core.models.bundle import Bundle
from deepfake_core.models.registry import DEFAULT_REGISTRY, find_model
from deepfake_core.provenance.trust_list import SHIPPED, TrustList
from deepfake_core.results.layout import MANIFEST_FILE, RUN_FILE, run_file
from deepfake_core.results.manifest import (
    MANIFEST_SCHEMA,
    fingerprint,
    read_manifest,
    to_bytes,
    turn_order,
    unskipped,
)
from deepfake_core.results.run_ids import new_run_id
from deepfake_core.results.run_record import RunRecord
from deepfake_core.results.schema import SCHEMA_VERSION, check_version
from deepfake_core.results.signing import open_signer
from deepfake_core.results.store import Results
from deepfake_core.scanning.committed import CommittedShard
from deepfake_core.scanning.config import ScanConfig
from deepfake_core.scanning.credentials import choose_trust
from deepfake_core.scanning.given_files import read_policy
from deepfake_core.scanning.history import read_history
from deepfake_core.scanning.resume import (
    Asked,
    check_same,
    find_planned,
    fingerprint_of,
    run_in,
)
from deepfake_core.scanning.selection import build_manifest, idle_globs, skip_some
from deepfake_core.scanning.tagging import check_taggable
from deepfake_core.storage.base import Storage
from deepfake_core.storage.listing import Listing
from deepfake_core.storage.opening import open_source, open_storage


@dataclass(slots=True)
class Plan:
    """A run that was planned; `run` is the content of ``run.json``."""

    config: ScanConfig
    source: Storage
    results: Results
    networks: Networks
    run: RunRecord
    manifest: pa.Table
    # Whether its run.json is stored.
    begun: bool = False
    # What is to be said of earlier runs before it begins.
    warnings: tuple[str, ...] = ()
    # The shards that this process had committed, without those of earlier attempts.
    committed: dict[int, CommittedShard] = field(default_factory=dict)
    # The manifest for which the shards' rows were put in order, and those rows.
    _in_turn: tuple[pa.Table, pa.Table] | None = field(default=None, repr=False)

    @property
    def bundle(self) -> Bundle:
        """The first look."""
        return self.networks.bundle

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
        networks, curve = self.networks, self.networks.curve
        return {
            "run_id": self.run_id,
            **{name: str(value) for name, value in networks.facts.items() if value is not None},
            "temperature": str(curve.calibration.temperature),
            "offset": str(curve.calibration.offset),
            "calibration": curve.calibration.model_dump_json(),
            "thresholds": networks.thresholds.model_dump_json(),
            "config_fingerprint": self.run.config_fingerprint,
            "manifest_fingerprint": self.run.manifest_fingerprint,
            **({"trust_list": self.run.trust_list} if self.run.trust_list else {}),
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
        first = run_in(storage, path)
        if first is None:
            # Left by a version that kept nothing of the run in it, or damaged.
            storage.put(path, data)
        elif first.run_started != self.run.run_started:
            raise RunTaken(
                f"run {self.run_id} was planned by another process at the same moment; let that "
                "one finish, or start the run again to continue it if it has ended"
            )


@dataclass(frozen=True, slots=True)
class _Opened:
    """What a plan is made of."""

    config: ScanConfig
    source: Storage
    # The only image that is wanted, where the source is one.
    file: str | None
    results: Results
    networks: Networks
    # By which signatures are checked; None where none is, and where the plan says it.
    trust: TrustList | None

    @property
    def asked(self) -> Asked:
        """The settings that make a run what it is."""
        return {
            "source": self.source.name,
            "file": self.file,
            "shard_size": self.config.shard_size,
            **self.networks.facts,
            # Whole pictures are judged as they were before there were faces.
            "stability": self.config.stability and self.networks.finder is not None,
            "trust_list": self.trust.name if self.trust else None,
        }

    def plan(self, run: RunRecord, manifest: pa.Table, *, begun: bool) -> Plan:
        """The plan of a run with this manifest."""
        return Plan(self.config, self.source, self.results, self.networks, run, manifest, begun)


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
    source, file = (source, None) if source else open_source(config.source)
    if config.tag_objects:
        check_taggable(source)
    signer = open_signer(config.sign_with) if config.sign_with else None
    results = Results(open_storage(config.output), signer)
    stored, begun = find_planned(results, config.run_id) if config.run_id else (None, False)
    if stored is not None:
        check_version(stored.schema_version, f"{RUN_FILE} of run {stored.run_id}")
    # A run that goes on checks by its own list unless it is told of one.
    trust = choose_trust(config.trust_list) if stored is None or config.trust_list else None
    opened = _Opened(config, source, file, results, _networks(config, registry), trust)
    if stored is None:
        return _new_plan(opened, now)
    if stored.state == "done":
        return opened.plan(stored, MANIFEST_SCHEMA.empty_table(), begun=True)
    asked = opened.asked if config.trust_list else {**opened.asked, "trust_list": stored.trust_list}
    check_same(stored, asked)
    return opened.plan(stored, read_manifest(results, stored.run_id), begun=begun)


def _networks(config: ScanConfig, registry: Path) -> Networks:
    return choose_networks(
        find_model(config.model, registry),
        Choice(
            precision=config.precision,
            engine=config.engine,
            faces=config.faces,
            second_look=config.second_look,
            policy=read_policy(config.policy) if config.policy else None,
        ),
        registry=registry,
    )


def _new_plan(opened: _Opened, now: dt.datetime) -> Plan:
    """List the source, and plan what of it is judged."""
    config, asked, results = opened.config, opened.asked, opened.results
    results.storage.check_writable()
    listing = _list(opened.source, opened.file, leave_out=results.storage.address(""))
    config_fingerprint = fingerprint_of(asked)
    past = read_history(
        results,
        opened.source.name,
        config_fingerprint,
        listed=build_manifest(listing),
        unreadable=listing.unreadable,
    )
    policy, trust = opened.networks.policy, opened.trust
    run = RunRecord(
        **asked,
        policy_content=policy.model_dump(mode="json") if policy else None,
        trust_signers=trust.signers if trust and trust.name != SHIPPED else None,
        run_id=config.run_id or new_run_id(now),
        run_date=now.date().isoformat(),
        run_started=now.isoformat(timespec="microseconds"),
        state="planned",
        schema_version=SCHEMA_VERSION,
        config=config.model_dump(mode="json"),
        config_fingerprint=config_fingerprint,
        manifest_fingerprint=fingerprint(past.listed),
        unlisted_folders=listing.unreadable,
        # Of one file nobody knows what became of the others.
        gone=None if opened.file else past.gone,
        renamed=None if opened.file else past.renamed,
        idle_globs=idle_globs(past.listed, config),
        versions={"deepfake": __version__, "python": platform.python_version()},
    )
    plan = opened.plan(run, skip_some(past.listed, config, past.known), begun=False)
    plan.warnings = past.warnings
    return plan


def _list(source: Storage, file: str | None, *, leave_out: str) -> Listing:
    """List a source that holds something beside the output, or its one file."""
    if file is not None:
        return source.list_file(file)
    if leave_out == source.address(""):
        raise SourceError(f"{source.name} is the output too; give another folder with --output")
    listing = source.list_files(leave_out=leave_out)
    if not listing.paths:
        unreadable = f"; {len(listing.unreadable)} folders in it cannot be listed"
        raise SourceError(
            f"there are no files in {source.name}{unreadable if listing.unreadable else ''}; "
            "give a folder of images, or one image (names that begin with a dot are left out)"
        )
    return listing
