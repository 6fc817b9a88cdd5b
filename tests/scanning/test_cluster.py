"""Shards judged by the workers of a Dask cluster: the same verdicts, whoever is lost meanwhile."""

import dataclasses
import json
import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import numpy as np
import pyarrow.parquet as pq
import pytest

from deepfake_core import cli
from deepfake_core.errors import ClusterError, ClusterLost, SourceOutage, SuspectNetworks
from deepfake_core.events import silent
from deepfake_core.models.bundle import CANARIES_FILE
from deepfake_core.models.canaries import CanaryCheck, write_canaries
from deepfake_core.models.registry import find_model
from deepfake_core.records import Json
from deepfake_core.release.canary_answers import record_first
from deepfake_core.scanning.config import ScanConfig
from deepfake_core.scanning.dask import executor as cluster
from deepfake_core.scanning.dask import remote_shards as cluster_shards
from deepfake_core.scanning.dask import worker as cluster_worker
from deepfake_core.scanning.executor import Work
from deepfake_core.scanning.plan import make_plan
from deepfake_core.scanning.scan import Execution, begin, missing_shards, scan
from deepfake_core.scanning.shards import shard_of
from tests.support.cluster_process import NO_DASHBOARD

pytestmark = pytest.mark.processes

ROOT = Path(__file__).resolve().parents[2]
IMAGES, SHARD_SIZE = 60, 5
# The run, its clock, and what is compared with a tolerance.
OF_THE_RUN, CLOSE = ("run_id", "run_started"), ("logit", "score")


class Cluster:
    """A scheduler and two workers in processes of their own, started again if they were killed."""

    process: subprocess.Popen[str] | None = None
    address = ""

    def start(self) -> None:
        if self.process is None or self.process.poll() is not None:
            program = [sys.executable, str(ROOT / "tests" / "support" / "cluster_process.py"), "2"]
            pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
            environment = {**os.environ, "PYTHONPATH": str(ROOT)}
            self.process = subprocess.Popen(
                program, env=environment, stderr=subprocess.DEVNULL, text=True, **pipes
            )
            self.address = self.process.stdout.readline().strip()

    def ask(self, question: Callable[[Any], Any]) -> Any:
        """Ask a client of the cluster."""
        from distributed import Client

        with Client(self.address, set_as_default=False) as client:
            return question(client)

    def worker_ids(self) -> list[int]:
        return list(self.ask(lambda client: client.run(os.getpid)).values())

    def kill(self) -> None:
        self.process.kill()
        self.close()

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait(60)
        self.process.stdout.close()


@pytest.fixture(scope="module")
def started() -> Iterator[Cluster]:
    started = Cluster()
    yield started
    if started.process is not None and started.process.poll() is None:
        started.close()


@pytest.fixture
def workers(started: Cluster) -> Cluster:
    started.start()
    return started


@pytest.fixture
def source(image_folder: Callable[..., Path], tmp_path: Path) -> Path:
    return image_folder(IMAGES - 3, broken=True, folder=tmp_path / "images")


@pytest.fixture
def config(source: Path, tmp_path: Path) -> ScanConfig:
    output = str(tmp_path / "out")
    return ScanConfig(
        source=str(source), output=output, model="tiny", run_id="r", shard_size=SHARD_SIZE
    )


@pytest.fixture
def run(config: ScanConfig, tiny_registry: Path) -> Callable[..., Json]:
    """Scans the source with the tiny model under one run id, on a cluster where one is named."""

    def scan_it(address: str | None = None, *, notify: Any = silent, **settings: Any) -> Json:
        with cluster.open_executor(address) as executor:
            changed = config.model_copy(update=settings)
            return scan(
                changed, registry=tiny_registry, notify=notify, execution=Execution(executor)
            )

    return scan_it


def at_first(event: str, action: Callable[[], object]) -> Callable[[str, Json], None]:
    """Do something when a scan tells of an event for the first time.

    Of the workers' shards any may be ``judged`` first; ``committed`` is told in their order, so
    that all may be judged when it is first told.
    """
    left = [action]

    def notify(told: str, facts: Json) -> None:
        if told == event and left:
            left.pop()()

    return notify


def assert_same_rows(found: str, expected: str) -> None:
    tables = [pq.read_table(path, partitioning=None) for path in (found, expected)]
    assert tables[0].num_rows == tables[1].num_rows == IMAGES
    for name in tables[0].column_names:
        one, other = (table[name].combine_chunks() for table in tables)
        if name in CLOSE:
            np.testing.assert_allclose(one.to_numpy(False), other.to_numpy(False), atol=1e-4)
        elif name not in OF_THE_RUN:
            assert one.equals(other), name


def test_the_command_gives_on_a_cluster_what_it_gives_here(
    workers: Cluster,
    run: Callable[..., Json],
    config: ScanConfig,
    tiny_registry: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
):
    expected = run(output=str(tmp_path / "here"))
    arguments = ["scan", config.source, "--output", config.output, "--model", "tiny", "--json"]
    arguments += ["--shard-size", str(SHARD_SIZE), "--registry", str(tiny_registry)]
    assert cli.main([*arguments, "--cluster", workers.address]) == 0
    printed = capsys.readouterr()
    result = json.loads(printed.out)
    assert f"judged {IMAGES} of {IMAGES}" in printed.err
    assert_same_rows(result["verdicts"], expected["verdicts"])
    own = {"run_id", "verdicts", "report", "seconds"}
    assert {k: v for k, v in result.items() if k not in own} == {
        k: v for k, v in expected.items() if k not in own
    }
    stored = json.loads((Path(result["report"]).parent / "run.json").read_text())
    assert stored["timings"]["infer_seconds"] > 0
    assert workers.address not in json.dumps(stored)
    # Nothing new: no shard is sent.
    assert cli.main([*arguments, "--cluster", workers.address]) == 0
    assert json.loads(capsys.readouterr().out)["skipped"] == IMAGES


def test_a_killed_worker_costs_only_its_shards(
    workers: Cluster, run: Callable[..., Json], tmp_path: Path
):
    before = workers.worker_ids()
    kill = at_first("judged", lambda: os.kill(before[0], signal.SIGKILL))
    told: list[int] = []

    def notify(event: str, facts: Json) -> None:
        kill(event, facts)
        if event == "committed":
            told.append(facts["shard"])

    result = run(workers.address, notify=notify, shard_size=2)
    assert before[0] not in workers.worker_ids()
    assert told == list(range(IMAGES // 2))
    assert_same_rows(result["verdicts"], run(output=str(tmp_path / "here"))["verdicts"])


def test_a_source_that_vanishes_stops_the_run_which_goes_on_here(
    workers: Cluster, run: Callable[..., Json], source: Path, tmp_path: Path
):
    move = at_first("judged", lambda: source.rename(tmp_path / "moved"))
    with pytest.raises(SourceOutage, match="--run-id r"):
        run(workers.address, notify=move)
    (tmp_path / "moved").rename(source)
    assert run()["judged"] == IMAGES - 3


def test_an_interrupted_run_gives_up_what_is_outstanding(
    workers: Cluster, run: Callable[..., Json], tmp_path: Path
):
    def interrupt() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(workers.address, notify=at_first("judged", interrupt))
    parts = tmp_path / "out" / "runs" / "r" / "parts"
    until = time.monotonic() + 20
    while any(workers.ask(lambda client: client.processing()).values()):
        assert time.monotonic() < until
    committed = {path: path.stat().st_mtime_ns for path in parts.iterdir()}
    assert 0 < len(committed) < IMAGES // SHARD_SIZE

    told: list[int] = []
    notify = lambda event, facts: event == "committed" and told.append(facts["shard"])  # noqa: E731
    assert run(workers.address, notify=notify)["listed"] == IMAGES
    assert len(told) + len(committed) == IMAGES // SHARD_SIZE
    assert committed.items() <= {path: path.stat().st_mtime_ns for path in parts.iterdir()}.items()


def test_no_shard_is_sent_when_time_is_up(workers: Cluster, run: Callable[..., Json]):
    assert run(workers.address, max_minutes=1e-9)["skipped_reasons"] == {"time": IMAGES}


def test_shards_before_a_committed_one_are_finished_though_time_is_up(
    run: Callable[..., Json], tmp_path: Path
):
    """Else the rows that a lost cluster left behind a gap would be judged again."""
    with pytest.raises(SystemExit):
        run(notify=at_first("planned", sys.exit))
    parts = tmp_path / "out" / "runs" / "r" / "parts"
    run(run_id="other", output=str(tmp_path / "other"))
    parts.mkdir()
    part = tmp_path / "other" / "runs" / "other" / "parts" / "part-00002.parquet"
    (parts / part.name).write_bytes(part.read_bytes())
    result = run(max_minutes=1e-9)
    assert result["judged"] + result["failed"] == 3 * SHARD_SIZE
    assert result["skipped_reasons"] == {"time": IMAGES - 3 * SHARD_SIZE}


def test_a_run_goes_on_here_after_the_scheduler_vanished(
    workers: Cluster, run: Callable[..., Json], tmp_path: Path
):
    killed = []

    def kill() -> None:
        workers.kill()
        killed.append(time.monotonic())

    with pytest.raises(ClusterLost, match="--run-id r, with or without --cluster"):
        run(workers.address, notify=at_first("judged", kill), shard_size=2)
    assert time.monotonic() - killed[0] < 60
    assert not list((tmp_path / "out").glob("verdicts/*/*"))
    result = run(shard_size=2)
    assert_same_rows(result["verdicts"], run(output=str(tmp_path / "here"))["verdicts"])


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("tcp://127.0.0.1:9", "no Dask scheduler answers at tcp://127.0.0.1:9"),
        ("somewhere", "tcp://host:8786 is expected"),
        ("local:0", "tcp://host:8786 is expected"),
    ],
)
def test_without_a_scheduler_the_command_says_so(
    config: ScanConfig,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    address: str,
    message: str,
):
    monkeypatch.setattr(cluster, "CONNECT_SECONDS", 0.5)
    arguments = ["scan", config.source, "--output", config.output, "--cluster", address]
    assert cli.main(arguments) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_without_the_extra_the_command_names_it(
    config: ScanConfig, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setitem(sys.modules, "distributed", None)
    assert cli.main(["scan", config.source, "--cluster", "tcp://127.0.0.1:9"]) == 2
    assert "install deepfake-verification with its extra: cluster" in capsys.readouterr().err


def test_a_scheduler_without_workers_is_named(
    run: Callable[..., Json], monkeypatch: pytest.MonkeyPatch
):
    from distributed import LocalCluster

    monkeypatch.setattr(cluster, "WORKERLESS_SECONDS", 0.2)
    with (
        LocalCluster(
            n_workers=0,
            host="127.0.0.1",
            protocol="tcp://",
            processes=False,
            scheduler_kwargs=NO_DASHBOARD,
        ) as empty,
        pytest.raises(ClusterError, match=r"had no worker .* dask worker tcp://127.0.0.1"),
    ):
        run(empty.scheduler_address)


Order = tuple[cluster_worker.Session, cluster_worker.Parcel]


@pytest.fixture
def order(
    config: ScanConfig, tiny_registry: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Order]:
    """What a worker is sent, for a worker that is this process."""
    monkeypatch.setattr(cluster_worker, "_own_name", lambda: "tcp://10.0.0.7:4000 on seven")
    plan = make_plan(config, registry=tiny_registry)
    begin(plan)
    session = cluster_shards.session_of(plan, 1)
    yield session, cluster_worker.parcel_of(shard_of(plan, 0))
    cluster_worker._OPENED.threads.close()
    cluster_worker._OPENED.session = None


def test_a_worker_that_is_not_fit_says_which_it_is_and_why(order: Order, tmp_path: Path):
    session, parcel = order
    (tmp_path / "empty").mkdir()
    other_run = session.run.model_copy(update={"model_id": "tiny@7+00000000"})
    unfit = {
        r"it has openvino \S+ instead of 1\.0; install": {"versions": {"openvino": "1.0"}},
        "does not see run r in .*/elsewhere; give an --output": {
            "output": str(tmp_path / "elsewhere")
        },
        "does not see 0000.jpg in .*/empty; scan a folder": {"source": str(tmp_path / "empty")},
        "no model tiny@7 .* Copy the registry": {"run": other_run},
        r"has tiny@1\+\w{8}, not .* Copy the registry": {"digest": "0" * 64},
    }
    for message, change in unfit.items():
        with pytest.raises(ClusterError, match=f"worker tcp://10.0.0.7:4000 on seven .*{message}"):
            cluster_worker.judge_parcel(dataclasses.replace(session, **change), parcel)


def test_a_worker_loads_the_model_once_for_all_runs(
    order: Order, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    session, parcel = order
    loaded = Mock(side_effect=cluster_worker.CanaryWatch)
    monkeypatch.setattr(cluster_worker, "CanaryWatch", loaded)
    cluster_worker._LOADED.clear()
    assert cluster_worker.judge_parcel(session, parcel).images == SHARD_SIZE
    first = cluster_worker._OPENED.session
    cluster_worker.judge_parcel(session, parcel)
    assert cluster_worker._OPENED.session is first
    cluster_worker.judge_parcel(dataclasses.replace(session, token="next"), parcel)
    assert cluster_worker._OPENED.session is not first
    assert loaded.call_count == 1
    assert (tmp_path / "out" / "runs" / "r" / "parts" / "part-00000.parquet").exists()


def test_a_worker_asks_its_networks_about_known_pictures(order: Order, tiny_registry: Path):
    session, parcel = order
    bundle = find_model("tiny", tiny_registry)
    canaries = record_first(bundle)
    assert canaries is not None
    try:
        told = cluster_worker.judge_parcel(session, parcel)
        assert told.canaries == CanaryCheck(checked=(bundle.model_id,))
        answers = canaries.answers[0].model_copy(
            update={"logits": tuple(logit + 1 for logit in canaries.answers[0].logits)}
        )
        write_canaries(bundle.folder, canaries.model_copy(update={"answers": (answers,)}))
        # The networks stay loaded, and are asked again for the next run.
        told = cluster_worker.judge_parcel(dataclasses.replace(session, token="next"), parcel)
        assert told.canaries.suspect
        careful = dataclasses.replace(session, token="careful", stop_if_suspect=True)
        with pytest.raises(SuspectNetworks) as raised:
            cluster_worker.judge_parcel(careful, parcel)
        # It reaches whoever started the run.
        assert str(pickle.loads(pickle.dumps(raised.value))) == str(raised.value)
    finally:
        (bundle.folder / CANARIES_FILE).unlink()


def test_workers_of_one_machine_share_its_cores(monkeypatch: pytest.MonkeyPatch):
    import distributed

    cores = sorted(os.sched_getaffinity(0))

    def share(number: int) -> set[int]:
        monkeypatch.setattr(distributed, "get_worker", lambda: SimpleNamespace(name=number))
        cluster_worker._take_part_of_cores.cache_clear()
        cluster_worker._take_part_of_cores(len(cores))
        return os.sched_getaffinity(0)

    # It changes its thread, and those that are started by it.
    for number, core in enumerate(cores):
        with ThreadPoolExecutor(1) as thread:
            assert thread.submit(share, number).result() == {core}
    assert os.sched_getaffinity(0) == set(cores)


def test_a_cluster_that_lost_all_workers_is_given_up(
    config: ScanConfig, tiny_registry: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(cluster_shards, "WORKERLESS_SECONDS", -1)
    plan = make_plan(config, registry=tiny_registry)
    client: Any = SimpleNamespace(nthreads=dict, status="closed")
    work = Work(missing_shards(plan), lambda: True, silent)
    shards = cluster_shards.ClusterShards(client, cluster_shards.session_of(plan, 1), work)
    with pytest.raises(ClusterLost, match="all workers are gone"):
        shards.commit(plan, 0)
