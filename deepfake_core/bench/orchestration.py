"""What Prefect costs: a scan as a flow with the server up, and how much of it is not the scan."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TypedDict

from deepfake_core.bench.images import write_pictures
from deepfake_core.bench.setting import PartFailed, Setting

HOST = "127.0.0.1"
READY = "Deployed and running"
STOP_SECONDS = 60
PROCESSES = Path("/proc")


class TimedScan(TypedDict):
    """Where the time of a scan as a flow went, see `flows.timed_scan`.

    Attributes:
        images: judged or failed.
        shards: how many there were.
        seconds: of all of it; those that follow are parts of it.
        around_seconds: before and after the scan.
        between_seconds: around the shards, and while the server is told.
        processor_seconds: of this process; likewise the two that follow.
    """

    images: int
    shards: int
    seconds: float
    around_seconds: float
    between_seconds: float
    processor_seconds: float
    around_processor_seconds: float
    between_processor_seconds: float


def orchestration(setting: Setting) -> Iterator[dict[str, float]]:
    """The share of a run that is Prefect's, by the clock and by the processors.

    Both count in one and the same run: what passes around the scan, around each shard, and
    while the server is told. The processors' share has what the server used meanwhile in it.
    """
    count = setting.sizes.memory_images[1]
    pictures = setting.folder / "orchestration"
    setting.tell(f"a scan of {count} images as a Prefect flow, with the server up")
    write_pictures(pictures, count, distinct=min(setting.sizes.distinct, count))
    with _server(setting.folder / "prefect") as (server, environment):
        before = family_seconds(server.pid)
        facts = _run(setting, pictures, environment)
        served = family_seconds(server.pid) - before
    if facts["images"] != count:
        raise PartFailed(f"only {facts['images']} of {count} were judged")
    yield figures_of(facts, served)


def figures_of(facts: TimedScan, served: float) -> dict[str, float]:
    """The figures of a timed run, see `flows.timed_scan`.

    Args:
        facts: what it printed.
        served: seconds of the processors that the server and its worker used meanwhile.
    """
    ours = facts["around_seconds"] + facts["between_seconds"]
    used = facts["around_processor_seconds"] + facts["between_processor_seconds"]
    return {
        "orchestration_share": ours / facts["seconds"],
        "orchestration_cpu_share": (used + served) / (facts["processor_seconds"] + served),
        "orchestration_run_s": facts["around_seconds"],
        "orchestration_shard_s": facts["between_seconds"] / facts["shards"],
        "orchestration_server_cpu_s": served,
        "orchestration_flow_s": facts["seconds"],
        "orchestration_shards": facts["shards"],
    }


def family_seconds(pid: int) -> float:
    """Seconds of the processors that a process and its living descendants have used.

    Raises:
        PartFailed: this system does not tell.
    """
    parents, used = {}, {}
    for path in PROCESSES.glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            # The name, in brackets, may hold anything.
            fields = path.read_text().rpartition(")")[2].split()
            parents[int(path.parent.name)] = int(fields[1])
            used[int(path.parent.name)] = int(fields[11]) + int(fields[12])
    if pid not in used:
        raise PartFailed(f"{PROCESSES} does not tell what the server's processes used")
    family = {pid}
    while more := {child for child, parent in parents.items() if parent in family} - family:
        family |= more
    return sum(used[member] for member in family) / os.sysconf("SC_CLK_TCK")


def _run(setting: Setting, pictures: Path, environment: dict[str, str]) -> TimedScan:
    """Scan as a flow in a process of its own; returns what it took."""
    config = setting.scan_config(pictures, setting.folder / "flow-out", setting.precision)
    module, registry = "flows.timed_scan", str(setting.registry)
    done = subprocess.run(  # noqa: S603 - our own module
        [sys.executable, "-m", module, registry, config.model_dump_json()],
        capture_output=True,
        text=True,
        env=environment,
    )
    if done.returncode:
        raise PartFailed(f"the flow failed: {(done.stderr.strip().splitlines() or [''])[-1]}")
    facts: TimedScan = json.loads(done.stdout.strip().splitlines()[-1])
    return facts


@contextlib.contextmanager
def _server(home: Path) -> Iterator[tuple[subprocess.Popen[str], dict[str, str]]]:
    """All that ``make server`` starts, on a free port, and the environment of its clients."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port = probe.getsockname()[1]
    environment = {**os.environ, "PREFECT_HOME": str(home), "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(  # noqa: S603 - our own module
        [sys.executable, "-m", "flows.server", "--port", str(port)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        try:
            said = []
            for line in process.stdout or ():
                said.append(line.strip())
                if READY in line:
                    break
            else:
                raise PartFailed(f"the server did not start: {' '.join(said[-3:])}")
            # Nobody reads what else it says; a full pipe would stop it.
            yield process, {**environment, "PREFECT_API_URL": f"http://{HOST}:{port}/api"}
        finally:
            process.send_signal(signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(STOP_SECONDS)
            process.kill()
