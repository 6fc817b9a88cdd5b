"""A run that is killed at any moment finishes when it is started again, and loses nothing."""

import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from deepfake_core.scanning.config import ScanConfig
from deepfake_core.scanning.scan import scan

pytestmark = pytest.mark.processes

ROOT = Path(__file__).resolve().parents[2]
DRIVER = ROOT / "tests" / "support" / "killed_scan.py"
RUN_ID = "killed"
FIRST_PART, LAST_PART = "part-00000.parquet", "part-00008.parquet"
PARTS = 9
EARLY_KILLS, LATE_KILLS = 5, 15
# Slow enough that a kill from outside lands where it was aimed at.
PAUSE_SECONDS = 0.02
POLL_SECONDS = 0.001

EVENTS = [
    ("manifest", 1),
    ("planned", 1),
    ("committed", 1),
    ("committed", PARTS - 1),
    ("committed", PARTS),
    ("published", 1),
    ("latest", 1),
    ("reported", 1),
    ("done", 1),
]
PUTS = [
    ("manifest.parquet", 1),
    ("run.json", 1),
    (FIRST_PART, 1),
    (LAST_PART, 1),
    (f"{RUN_ID}.parquet", 1),
    ("latest.parquet", 1),
    ("summary.json", 1),
    ("report.html", 1),
    ("run.json", 2),
]


class Forks:
    """Scans in processes of their own, one at a time; see ``killed_scan.py``."""

    def __init__(self) -> None:
        self.server = subprocess.Popen(
            [sys.executable, str(DRIVER)],
            env={**os.environ, "PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def start(self, **order: Any) -> int:
        """Start a scan; returns its process's id."""
        self.server.stdin.write(json.dumps(order) + "\n")
        self.server.stdin.flush()
        return int(self.server.stdout.readline())

    def wait(self) -> int:
        """The exit status of the scan when it has ended."""
        return int(self.server.stdout.readline())

    def close(self) -> None:
        self.server.communicate(timeout=60)


@dataclass
class Case:
    """A source, an output, and what an uninterrupted run makes of the source."""

    forks: Forks
    output: Path
    registry: Path
    config: dict[str, Any]
    expected: pa.Table | None = None

    def start(self, **order: Any) -> int:
        return self.forks.start(config=self.config, registry=str(self.registry), **order)

    def kill(self, **order: Any) -> None:
        """Run until the process kills itself."""
        self.start(**order)
        assert self.forks.wait() == -signal.SIGKILL
        self.check_visible()

    def until_committed(self) -> None:
        """Wait for the first part."""
        for _ in range(int(60 / POLL_SECONDS)):
            if self.committed():
                return
            time.sleep(POLL_SECONDS)
        raise AssertionError("no part was committed within a minute")

    def committed(self) -> bool:
        return (self.output / "runs" / RUN_ID / "parts" / FIRST_PART).exists()

    def state(self) -> str:
        run = json.loads((self.output / "runs" / RUN_ID / "run.json").read_text())
        return run["state"]

    def visible(self) -> list[Path]:
        return [path for path in self.output.glob("verdicts/**/*") if not path.is_dir()]

    def check_visible(self) -> None:
        """What a reader of ``verdicts/`` sees is nothing, or the whole run."""
        for path in self.visible():
            assert path.name == f"{RUN_ID}.parquet"
            assert pq.read_metadata(path).num_rows == self.expected.num_rows

    def finish(self) -> None:
        """Start the run again, here, and compare what it leaves with the uninterrupted run."""
        result = scan(ScanConfig(**self.config), registry=self.registry)
        (published,) = self.visible()
        assert str(published) == result["verdicts"]
        assert_same(read_rows(published), self.expected)
        assert_same(read_rows(self.output / "latest.parquet"), self.expected)
        assert result["listed"] == result["judged"] + result["failed"] == self.expected.num_rows
        assert self.state() == "done"
        assert Path(result["report"]).is_file()


def read_rows(path: Path) -> pa.Table:
    return pq.read_table(path, partitioning=None).drop(["run_started"])


def assert_same(found: pa.Table, expected: pa.Table) -> None:
    for name in expected.column_names:
        if name in ("logit", "score"):
            pair = found[name].to_numpy(), expected[name].to_numpy()
            np.testing.assert_allclose(*pair, atol=1e-4, err_msg=name)
        else:
            assert found[name].to_pylist() == expected[name].to_pylist(), name


@pytest.fixture(scope="module")
def forks() -> Iterator[Forks]:
    server = Forks()
    yield server
    server.close()


@pytest.fixture(scope="module")
def uninterrupted(
    forks: Forks,
    image_folder: Callable[..., Path],
    tiny_registry: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Case:
    """A source of pictures and broken files, and the result of one run over it."""
    output = tmp_path_factory.mktemp("uninterrupted") / "out"
    config = {
        "source": str(image_folder(50, broken=True)),
        "output": str(output),
        "model": "tiny",
        "run_id": RUN_ID,
        "shard_size": 6,
    }
    case = Case(forks, output, tiny_registry, config)
    result = scan(ScanConfig(**config), registry=tiny_registry)
    case.expected = read_rows(Path(result["verdicts"]))
    assert case.expected.num_rows == 53 == result["listed"]
    return case


@pytest.fixture
def case(uninterrupted: Case, tmp_path: Path) -> Case:
    """The same source with an empty output."""
    config = {**uninterrupted.config, "output": str(tmp_path / "out")}
    return replace(uninterrupted, output=tmp_path / "out", config=config)


@pytest.fixture(scope="module")
def durations(uninterrupted: Case, tmp_path_factory: pytest.TempPathFactory) -> dict[str, float]:
    """Seconds to the first committed part, and from there to the end, when nobody kills."""
    output = tmp_path_factory.mktemp("measured") / "out"
    config = {**uninterrupted.config, "output": str(output)}
    case = replace(uninterrupted, output=output, config=config)
    began = time.monotonic()
    case.start(pause_seconds=PAUSE_SECONDS)
    case.until_committed()
    committed = time.monotonic()
    assert case.forks.wait() == 0
    ended = time.monotonic()
    return {"early": committed - began, "late": ended - committed}


def killed_after_the_first_part(case: Case, delay: float) -> bool:
    """Kill a run some seconds after its first part; whether it had not ended by itself."""
    pid = case.start(pause_seconds=PAUSE_SECONDS)
    case.until_committed()
    until = time.monotonic() + delay
    while time.monotonic() < until and case.state() != "done":
        case.check_visible()
        time.sleep(POLL_SECONDS)
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    status = case.forks.wait()
    assert status in (0, -signal.SIGKILL)
    return status != 0


@pytest.mark.parametrize(("event", "count"), EVENTS)
def test_killed_at_an_event(case: Case, event: str, count: int):
    case.kill(event=event, count=count)
    case.finish()


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize(("name", "count"), PUTS)
def test_killed_around_a_rename(case: Case, name: str, count: int, moment: str):
    case.kill(put=name, count=count, moment=moment)
    case.finish()


def test_killed_again_and_again(case: Case):
    for event in ("manifest", "planned", "committed", "committed", "published", "reported"):
        case.kill(event=event, count=1)
    case.finish()


@pytest.mark.parametrize("seed", range(EARLY_KILLS))
def test_killed_at_a_random_moment_before_the_first_part(
    case: Case, durations: dict[str, float], seed: int
):
    pid = case.start(pause_seconds=PAUSE_SECONDS)
    time.sleep(random.Random(seed).uniform(0, durations["early"]))
    os.kill(pid, signal.SIGKILL)
    assert case.forks.wait() == -signal.SIGKILL
    case.check_visible()
    case.finish()


@pytest.mark.parametrize("seed", range(LATE_KILLS))
def test_killed_at_a_random_moment_after_the_first_part(
    case: Case, durations: dict[str, float], seed: int
):
    delay = random.Random(seed).uniform(0, durations["late"])
    while not killed_after_the_first_part(case, delay):
        # It was quicker than the one that was measured, and ended before.
        shutil.rmtree(case.output)
        delay *= 0.8
    case.check_visible()
    case.finish()
