"""What the benchmark makes of a scan that was timed as a Prefect flow."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from deepfake_core.bench.orchestration import family_seconds, figures_of
from deepfake_core.bench.setting import PartFailed
from deepfake_core.scanning.config import ScanConfig
from tests.support.prefect_server import server_of

pytestmark = pytest.mark.processes

FACTS = {
    "images": 20_000,
    "shards": 5,
    "seconds": 100.0,
    "around_seconds": 1.0,
    "between_seconds": 0.5,
    "processor_seconds": 180.0,
    "around_processor_seconds": 0.8,
    "between_processor_seconds": 0.4,
}


def test_the_shares_are_those_of_the_same_run():
    figures = figures_of(FACTS, served=3.0)
    assert figures["orchestration_share"] == pytest.approx(0.015)
    # The server's work counts on both sides: it takes processors from the scan.
    assert figures["orchestration_cpu_share"] == pytest.approx(4.2 / 183)
    assert figures["orchestration_shard_s"] == pytest.approx(0.1)


def test_the_processors_of_a_process_and_its_children_are_counted():
    busy = "while time.process_time() < 0.3: pass"
    child = f"import sys, time\n{busy}\nprint('done', flush=True)\nsys.stdin.read()"
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"
    with subprocess.Popen(
        [sys.executable, "-c", parent], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        process.stdout.readline()
        assert family_seconds(process.pid) >= 0.29
        assert family_seconds(os.getpid()) >= family_seconds(process.pid)
        process.stdin.close()
    with pytest.raises(PartFailed, match="does not tell"):
        family_seconds(process.pid)


def test_a_flow_is_timed(tiny_registry: Path, image_folder: Callable[..., Path], tmp_path: Path):
    config = ScanConfig(
        source=str(image_folder(9)), output=str(tmp_path / "out"), model="tiny", shard_size=4
    )
    with server_of(tmp_path / "prefect"):
        from prefect.settings import PREFECT_API_URL

        done = subprocess.run(
            [sys.executable, "-m", "flows.timed_scan", tiny_registry, config.model_dump_json()],
            env={**os.environ, "PREFECT_API_URL": PREFECT_API_URL.value()},
            capture_output=True,
            text=True,
        )
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout.splitlines()[-1])
    assert (facts["images"], facts["shards"]) == (9, 3)
    for name in ("seconds", "processor_seconds"):
        assert facts[f"around_{name}"] > 0
        assert facts[f"between_{name}"] > 0
        assert facts[name] > facts[f"around_{name}"] + facts[f"between_{name}"]
