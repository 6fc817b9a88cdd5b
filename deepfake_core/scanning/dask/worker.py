"""What a worker of a Dask cluster does: load the model once, judge shards, commit their parts."""

from __future__ import annotations

import os
import platform
import signal
import threading
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pyarrow as pa

from deepfake_core import __version__
from deepfake_core.errors import ClusterError, ModelError, SourceError, UsageError
from deepfake_core.inference.canary_watch import CanaryWatch
from deepfake_core.models.bundle import Bundle
from deepfake_core.models.registry import DEFAULT_REGISTRY, find_model
from deepfake_core.results.run_record import RowFacts
from deepfake_core.results.store import Results
from deepfake_core.scanning.committed import CommittedShard
from deepfake_core.scanning.credentials import checker_of
from deepfake_core.scanning.resume import networks_of
from deepfake_core.scanning.shards import Shard, ShardJudge, judge_and_commit
from deepfake_core.storage.base import Storage
from deepfake_core.storage.opening import open_storage

# Two versions of these may give two scores for one image.
LIBRARIES = ("numpy", "openvino", "pillow", "pi-heif", "simplejpeg")


@dataclass(frozen=True, slots=True)
class Session:
    """What all shards that one process sends for a run have in common.

    Attributes:
        token: tells this session from others.
        run: the facts that go into rows or say how they are made.
        source: address of the folder of images.
        output: address of the folder of results.
        seen: paths in a local source that must be there for the worker, too.
        registry: where the model was found.
        digest: of the bundle.
        batch_size: images that go through the network together.
        versions: of what changes scores, see `versions`.
        sharers: how many workers share the cores of one machine; each takes its part of them.
        stop_if_suspect: whether networks that answer known pictures otherwise end the run.
    """

    token: str
    run: RowFacts
    source: str
    output: str
    seen: tuple[str, ...]
    registry: str
    digest: str
    batch_size: int
    versions: dict[str, str]
    sharers: int = 1
    stop_if_suspect: bool = False


@dataclass(frozen=True, slots=True)
class Parcel:
    """A `Shard` on its way to a worker, its rows of the manifest as streams of Arrow."""

    index: int
    images: bytes
    following: bytes
    metadata: dict[str, str]


def parcel_of(shard: Shard) -> Parcel:
    """Pack a shard; what all shards of the run have in common is in the session."""
    images, following = _packed(shard.images), _packed(shard.following)
    return Parcel(shard.index, images, following, shard.metadata)


def _packed(rows: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    options: Any = pa.ipc.IpcWriteOptions(compression="zstd")
    with pa.ipc.new_stream(sink, rows.schema, options=options) as writer:
        writer.write_table(rows)
    return bytes(sink.getvalue().to_pybytes())


def _unpacked(session: Session, parcel: Parcel) -> Shard:
    images, following = (
        pa.ipc.open_stream(rows).read_all() for rows in (parcel.images, parcel.following)
    )
    return Shard(session.run, parcel.index, images, following, parcel.metadata)


class _Opened:
    """The session that this process works for, with its threads and where its results go."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.threads = ExitStack()
        self.session: tuple[str, ShardJudge, Results] | None = None


_OPENED = _Opened()


def dask_setup(worker: object) -> None:  # noqa: ARG001
    """Let Ctrl-C be for whoever started this worker; Dask calls it where this is preloaded."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def versions() -> dict[str, str]:
    """The versions of what changes scores."""
    versions_here = {"deepfake": __version__, "python": platform.python_version()}
    return versions_here | {name: version(name) for name in LIBRARIES}


def judge_parcel(session: Session, parcel: Parcel) -> CommittedShard:
    """Judge one shard on this worker; see `judge_and_commit`.

    One at a time, whatever the worker's threads are: a shard keeps all its cores busy.

    Raises:
        ClusterError: this worker cannot do what the others do; it is named.
    """
    with _OPENED.lock:
        if _OPENED.session is None or _OPENED.session[0] != session.token:
            _OPENED.threads.close()
            _OPENED.session = None
            judge, results = _open(session)
            _OPENED.threads.enter_context(judge)
            _OPENED.session = session.token, judge, results
        _, judge, results = _OPENED.session
        return judge_and_commit(judge, _unpacked(session, parcel), results)


def _open(session: Session) -> tuple[ShardJudge, Results]:
    """Check that this worker is fit for a session, and load its model."""
    try:
        _check_versions(session)
        source, results = open_storage(session.source), Results(open_storage(session.output))
        _check_stores(session, source, results)
        watch = _watch(session)
        watch.begin(stop=session.stop_if_suspect)
    except UsageError as error:
        raise ClusterError(f"the worker {_own_name()} cannot judge: {error}") from error
    judge = ShardJudge(
        source, watch.classifier, batch_size=session.batch_size, canaries=watch.known
    )
    return judge, results


def _check_versions(session: Session) -> None:
    own = versions()
    differing = [
        f"{name} {own.get(name)} instead of {wanted}"
        for name, wanted in session.versions.items()
        if own.get(name) != wanted
    ]
    if differing:
        raise ClusterError(
            f"it has {', '.join(differing)}; install the same on all machines, from the same "
            "requirements.lock"
        )


def _check_stores(session: Session, source: Storage, results: Results) -> None:
    """Results and images must be the same for all machines, not folders of the same name."""
    run_id = session.run.run_id
    stored = results.get_run(run_id)
    if stored is None or stored.run_started != session.run.run_started:
        raise ClusterError(
            f"it does not see run {run_id} in {results.storage.name}; give an --output that all "
            "machines share under one path, or a bucket such as s3://bucket/reports"
        )
    if source.is_local:
        missing = [path for path in session.seen if not source.exists(path)]
        if missing:
            raise SourceError(
                f"it does not see {missing[0]} in {source.name}; scan a folder that all machines "
                "share under one path, or a bucket"
            )


def _watch(session: Session) -> CanaryWatch:
    networks = networks_of(session.run, _find(session), Path(session.registry))
    _take_part_of_cores(session.sharers)
    if _LOADED.get("facts") != networks.facts:
        # Loaded again only where one of the networks is another.
        _LOADED.clear()
        _LOADED.update(facts=networks.facts, watch=CanaryWatch(networks))
    watch: CanaryWatch = _LOADED["watch"]
    watch.classifier.checker = checker_of(session.run)
    return watch


_LOADED: dict[str, Any] = {}


def _find(session: Session) -> Bundle:
    """The bundle, in the registry of whoever started the scan, or else in this machine's own."""
    reference = session.run.model_id.partition("+")[0]
    registries = dict.fromkeys((Path(session.registry), DEFAULT_REGISTRY))
    reasons = []
    for registry in registries:
        try:
            bundle = find_model(reference, registry)
        except ModelError as error:
            reasons.append(str(error))
            continue
        if bundle.digest == session.digest:
            return bundle
        reasons.append(f"{registry} has {bundle.model_id}, not {session.run.model_id}")
    raise ModelError(f"{'; '.join(reasons)}. Copy the registry to this machine, or share it")


@cache
def _take_part_of_cores(sharers: int) -> None:
    """Let this thread and those that it starts use every n-th core, by the worker's number."""
    if sharers == 1:
        return
    from distributed import get_worker

    cores = sorted(os.sched_getaffinity(0))
    mine = cores[int(get_worker().name) % sharers :: sharers]
    os.sched_setaffinity(0, mine or cores)


def _own_name() -> str:
    from distributed import get_worker

    return f"{get_worker().address} on {platform.node()}"
