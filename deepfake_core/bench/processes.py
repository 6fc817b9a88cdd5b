"""What only a process of its own shows: peak memory, and the time to the first verdict."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from statistics import median

from deepfake_core.bench.images import write_pictures
from deepfake_core.bench.setting import PartFailed, Setting
from deepfake_core.models.registry import DEFAULT_REGISTRY
from deepfake_core.scanning.config import ScanConfig

SCAN_PROCESS = "deepfake_core.bench.scan_process"
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
        peak = run_module(SCAN_PROCESS, str(setting.registry), config.model_dump_json())
        yield {f"peak_mb_{key}": float(peak), f"peak_{key}_images": count}


def run_module(module: str, *arguments: str, environment: Mapping[str, str] | None = None) -> str:
    """Run one of our modules in a process of its own; returns the last line that it prints.

    Raises:
        PartFailed: it failed; the message is the last line that it complained.
    """
    done = subprocess.run(  # noqa: S603 - our own module
        [sys.executable, "-m", module, *arguments], capture_output=True, text=True, env=environment
    )
    if done.returncode:
        raise PartFailed(f"{module}: {_last_line(done.stderr)}")
    return _last_line(done.stdout)


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
        registry, content = str(setting.registry), config.model_dump_json()
        return [sys.executable, "-m", SCAN_PROCESS, registry, content]
    command = [sys.executable, "-m", "deepfake_core.cli", "scan", config.source]
    command += ["--output", config.output, "--model", config.model]
    return [*command, "--precision", config.precision]


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or ["it said nothing"])[-1]
