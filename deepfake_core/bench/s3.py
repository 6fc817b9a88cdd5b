"""A scan from and to a real S3 server against a scan of the same files on disk, in turns."""

from __future__ import annotations

import contextlib
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from deepfake_core.bench.images import write_pictures
from deepfake_core.bench.race import Contestant, race
from deepfake_core.bench.s3_server import HOST, Server, running_server
from deepfake_core.bench.setting import PartFailed, Setting
from deepfake_core.scanning.executor import open_judge
from deepfake_core.scanning.plan import Plan, make_plan
from deepfake_core.scanning.scan import begin, commit_shard, finish
from deepfake_core.storage.opening import open_storage

DELAY_SECONDS = 0.02
BUCKET = "bench"
# Both ends of the connection are on this machine, so that the server's work takes from the scan.


def s3(setting: Setting) -> Iterator[dict[str, float]]:
    """Images per second of scans from disk, from S3, and from S3 answering 20 ms later."""
    sizes, pictures = setting.sizes, setting.folder / "s3-pictures"
    setting.tell(f"making {sizes.images} pictures for S3")
    paths = write_pictures(pictures, sizes.images, distinct=min(sizes.distinct, sizes.images))
    secret = secrets.token_hex(16)
    with running_server(setting.folder / "s3-server", secret=secret) as server:
        with _environment(server, server.port):
            _upload(pictures, paths)
        with _late(server.port) as late_port:
            ports = {"s3": server.port, "s3_20ms": late_port}
            contestants: dict[str, Contestant] = {
                "disk_end_to_end_per_s": _contestant(setting, str(pictures), None)
            }
            for name, port in ports.items():
                contestants[f"{name}_end_to_end_per_s"] = _contestant(
                    setting, f"s3://{BUCKET}/in", (server, port)
                )
            rates = race(contestants, sizes.rounds, setting.tell)
    yield rates
    disk = rates.get("disk_end_to_end_per_s")
    for name in ports:
        rate = rates.get(f"{name}_end_to_end_per_s")
        if rate and disk:
            yield {f"{name}_over_disk": rate / disk}


def _contestant(setting: Setting, source: str, through: tuple[Server, int] | None) -> Contestant:
    """A whole scan but loading the model."""
    runs = iter(range(1_000_000))

    def measure() -> float:
        with _environment(*through) if through else contextlib.nullcontext():
            output = f"s3://{BUCKET}/out-{secrets.token_hex(4)}"
            if through is None:
                output = str(setting.folder / "s3-disk-out" / str(next(runs)))
            config = setting.scan_config(Path(), Path(), setting.precision)
            config = config.model_copy(update={"source": source, "output": output})
            plan = make_plan(config, registry=setting.registry)
            return _rate(setting, plan)

    return measure


def _rate(setting: Setting, plan: Plan) -> float:
    with open_judge(plan) as judge:
        # Gives each of the judge's lanes its request.
        judge.judge(plan.shard(0).slice(0, 4 * setting.batch_size), plan.run)
        started = time.perf_counter()
        begin(plan)
        for index in range(plan.shards):
            commit_shard(plan, judge, index)
        counts = finish(plan)
        seconds = time.perf_counter() - started
    if counts["judged"] != setting.sizes.images:
        raise PartFailed(f"only {counts['judged']} of {setting.sizes.images} were judged")
    return setting.sizes.images / seconds


def _upload(pictures: Path, paths: list[Path]) -> None:
    import fsspec

    client = fsspec.filesystem("s3")
    client.call_s3("create_bucket", Bucket=BUCKET)
    target = open_storage(f"s3://{BUCKET}/in")
    for path in paths:
        target.put(path.relative_to(pictures).as_posix(), path.read_bytes())


@contextlib.contextmanager
def _environment(server: Server, port: int) -> Iterator[None]:
    """Let clients that are made within find the server."""
    import fsspec

    kept = dict(os.environ)
    os.environ.update(server.environment(port=port))
    # Clients are kept by their arguments, not by the environment.
    fsspec.get_filesystem_class("s3").clear_instance_cache()
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(kept)
        fsspec.get_filesystem_class("s3").clear_instance_cache()


@contextlib.contextmanager
def _late(port: int) -> Iterator[int]:
    """A relay in a process of its own that delays each request."""
    module = "deepfake_core.bench.s3_proxy"
    with subprocess.Popen(  # noqa: S603 - our own module
        [sys.executable, "-m", module, str(port), str(DELAY_SECONDS)],
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield int(process.stdout.readline() if process.stdout else 0)
        except ValueError as error:
            raise PartFailed(f"the relay on {HOST} did not start") from error
        finally:
            process.kill()
