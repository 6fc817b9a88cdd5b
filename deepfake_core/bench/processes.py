"""What only a process of its own shows: peak memory, and the time to the first verdict."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from deepfake_core.bench.images import write_pictures
from deepfake_core.bench.setting import PartFailed, Setting
from deepfake_core.config import ScanConfig
from deepfake_core.registry import DEFAULT_REGISTRY

FIRST_IMAGES = 20
POLL_SECONDS = 0.005
MAX_START_SECONDS = 120.0


def peak_memory(setting: Setting) -> Iterator[dict[str, float]]:
    """Peak memory of a small and of a large scan at the fastest precision."""
    for key, count in zip(("1k", "20k"), setting.sizes.memory_images, strict=True):
        setting.tell(f"peak memory of a scan of {count} images")
        pictures = setting.folder / f"memory-{count}"
        write_pictures(pictures, count, distinct=min(setting.sizes.distinct, count))
        output = setting.folder / f"memory-{count}-out"
        config = setting.scan_config(pictures, output, setting.precision)
        done = subprocess.run(  # noqa: S603 - our own module
            _scan_process(setting, config), capture_output=True, text=True
        )
        if done.returncode:
            raise PartFailed(f"a scan of {count} images failed: {_last_line(done.stderr)}")
        yield {f"peak_mb_{key}": float(done.stdout.split()[-1]), f"peak_{key}_images": count}


def first_verdict(setting: Setting) -> Iterator[dict[str, float]]:
    """Seconds from the start of the command to the published file of 20 images."""
    pictures = setting.folder / "first"
    write_pictures(pictures, FIRST_IMAGES, distinct=FIRST_IMAGES)
    seconds = []
    for number in range(setting.sizes.starts):
        output = setting.folder / f"first-out-{number}"
        config = setting.scan_config(pictures, output, setting.precision)
        seconds.append(_seconds_to_published(_command(setting, config), output))
    yield {"first_verdict_s": median(seconds)}


def _seconds_to_published(command: list[str], output: Path) -> float:
    started = time.perf_counter()
    with subprocess.Popen(  # noqa: S603 - our own command
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as process:
        while not list(output.glob("verdicts/*/*.parquet")):
            waited = time.perf_counter() - started
            if process.poll() is not None or waited > MAX_START_SECONDS:
                process.kill()
                _, errors = process.communicate()
                raise PartFailed(f"a scan of 20 images published nothing: {_last_line(errors)}")
            time.sleep(POLL_SECONDS)
        seconds = time.perf_counter() - started
        process.communicate()
    return seconds


def _command(setting: Setting, config: ScanConfig) -> list[str]:
    """``deepfake scan``; it always takes its own registry, another needs our process."""
    if setting.registry != DEFAULT_REGISTRY:
        return _scan_process(setting, config)
    command = [sys.executable, "-m", "deepfake_core.cli", "scan", config.source]
    command += ["--output", config.output, "--model", config.model]
    return [*command, "--precision", config.precision]


def _scan_process(setting: Setting, config: ScanConfig) -> list[str]:
    module = "deepfake_core.bench.scan_process"
    registry, content = str(setting.registry), config.model_dump_json()
    return [sys.executable, "-m", module, registry, content]


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or ["it said nothing"])[-1]
