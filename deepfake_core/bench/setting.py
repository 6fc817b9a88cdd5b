"""What a benchmark is about: the model, its precisions, how much of everything."""

from __future__ import annotations

import os
import platform
import subprocess
from dataclasses import dataclass
from pathlib import Path

from deepfake_core.engines.engine import processor_precisions, resolve_precision
from deepfake_core.errors import DeepfakeError
from deepfake_core.events import Say
from deepfake_core.inference.opening import Choice, Faces, Networks, choose_networks
from deepfake_core.models.bundle import Bundle, Precision
from deepfake_core.scanning.config import ScanConfig

FASTEST_FIRST: tuple[Precision, ...] = ("int8", "bf16", "fp32")
# The figures that a whole benchmark has; those of precisions and details come beside them.
PROMISED = (
    "read_per_s",
    "decode_per_s",
    "find_per_s",
    "infer_per_s",
    "commit_per_s",
    "limit_per_s",
    "end_to_end_per_s",
    "end_to_end_over_limit",
    "over_keras_dataset",
    "over_keras_one_by_one",
    "default_per_s",
    "second_look_share",
    "peak_mb_1k",
    "peak_mb_20k",
    "first_verdict_s",
    "plan_100k_over_listing",
    "train_input_per_s",
    "train_step_per_s",
    "train_per_s",
    "train_wait_share",
)


class PartFailed(RuntimeError):
    """A part of the benchmark could not be measured; its figures are left out."""


# What measuring may fail with; OpenVINO raises RuntimeError.
FAILURES = (RuntimeError, DeepfakeError, OSError, ImportError, subprocess.SubprocessError)


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much is measured; the defaults take about ten minutes on two cores.

    Attributes:
        rounds: how often each stage and each alternative is measured, in turns.
        distinct: different pictures; more files than these are links to them.
        images: pictures read, decoded and scanned in a round.
        infer_images: pictures that go through the network alone in a round.
        keras_images: pictures for Keras' data set in a round.
        one_by_one_images: pictures for Keras one by one in a round.
        large_images: decodes of a 12-megapixel photograph in a round.
        large_size: its width and height.
        memory_images: pictures of the two scans whose peak memory is compared.
        starts: scans of 20 pictures in a new process.
        planned_files: files of the plan in which nothing is new.
        plans: how often it is planned.
        known_images: images of the part ``state``, which is measured only when it is asked for.
    """

    rounds: int = 3
    distinct: int = 300
    images: int = 2048
    infer_images: int = 640
    keras_images: int = 512
    one_by_one_images: int = 96
    large_images: int = 16
    large_size: tuple[int, int] = (4000, 3000)
    memory_images: tuple[int, int] = (1_000, 20_000)
    starts: int = 5
    planned_files: int = 100_000
    plans: int = 5
    known_images: int = 1_000_000


QUICK = Sizes(
    rounds=1,
    distinct=50,
    images=256,
    infer_images=128,
    keras_images=64,
    one_by_one_images=8,
    large_images=4,
    memory_images=(200, 1_000),
    starts=1,
    planned_files=5_000,
    plans=3,
    known_images=100_000,
)


@dataclass(frozen=True, slots=True)
class Setting:
    """What all parts of the benchmark need.

    Attributes:
        bundle: the model.
        registry: where it was found.
        precisions: those that are measured, fastest first.
        folder: an empty folder for pictures and results.
        sizes: how much is measured.
        tell: takes a line for the person who waits.
    """

    bundle: Bundle
    registry: Path
    precisions: tuple[Precision, ...]
    folder: Path
    sizes: Sizes
    tell: Say

    @property
    def precision(self) -> Precision:
        """The precision of the figures without a precision in their name."""
        return self.precisions[0]

    @property
    def batch_size(self) -> int:
        """The batch size of a scan that is not told another."""
        return int(ScanConfig.model_fields["batch_size"].default)

    def scan_config(
        self, source: Path, output: Path, precision: Precision, **settings: object
    ) -> ScanConfig:
        """The configuration of a scan with this model: one look, once, unless told otherwise."""
        description = self.bundle.description
        asked = {
            "source": str(source),
            "output": str(output),
            "model": f"{description.name}@{description.version}",
            "precision": precision,
            "second_look": "off",
            "stability": False,
            **settings,
        }
        return ScanConfig.model_validate(asked)

    def networks(self, precision: Precision, *, faces: Faces | None = None) -> Networks:
        """The networks of such a scan."""
        choice = Choice(precision=precision, faces=faces, second_look="off")
        return choose_networks(self.bundle, choice, registry=self.registry)


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0))


def measured_precisions(bundle: Bundle, asked: list[str]) -> tuple[Precision, ...]:
    """The precisions to measure, fastest first.

    Args:
        bundle: the model.
        asked: precisions; ``auto`` stands for all that the model is qualified for and the
            processor has.

    Raises:
        ModelError: one that was asked for cannot be had.
    """
    available = processor_precisions()
    wanted = {resolve_precision(bundle, name, available) for name in asked}
    if "auto" in asked:
        wanted |= set(bundle.description.precisions) & available
    return tuple(name for name in FASTEST_FIRST if name in wanted)


def machine() -> str:
    """The machine in words: processor, cores, memory, system."""
    processor = platform.processor() or platform.machine()
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                processor = line.partition(":")[2].strip()
                break
    except OSError:
        pass
    gigabytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    return f"{processor}, {cores()} cores, {gigabytes:.0f} GB, {platform.system()}"
