"""Measure this machine: ``python -m deepfake_core.bench``."""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from deepfake_core.bench.cluster import cluster
from deepfake_core.bench.coordinator import coordinator
from deepfake_core.bench.large import large_images
from deepfake_core.bench.orchestration import orchestration
from deepfake_core.bench.planning import planning
from deepfake_core.bench.processes import first_verdict, peak_memory
from deepfake_core.bench.s3 import s3
from deepfake_core.bench.service import service
from deepfake_core.bench.setting import (
    FAILURES,
    PROMISED,
    QUICK,
    Setting,
    Sizes,
    machine,
    measured_precisions,
)
from deepfake_core.bench.stages import speed
from deepfake_core.bench.state import state
from deepfake_core.bench.training import training
from deepfake_core.errors import UsageError
from deepfake_core.models.registry import DEFAULT_REGISTRY, find_model

Figures = dict[str, float | str]
Part = Callable[[Setting], Iterator[dict[str, float]]]
PARTS: tuple[Part, ...] = (
    speed,
    large_images,
    first_verdict,
    planning,
    s3,
    service,
    peak_memory,
    training,
)
# Measured only when they are asked for by name.
EXTRA: tuple[Part, ...] = (state, cluster, coordinator, orchestration)
DONE, PARTLY, WRONG_USAGE = 0, 1, 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print a table, write ``bench.json``; returns 1 where figures are missing."""
    options = _parser().parse_args(arguments)
    sizes = QUICK if options.quick else Sizes()
    sizes = replace(sizes, known_images=options.known or sizes.known_images)
    parts = [part for part in (*PARTS, *EXTRA) if part.__name__ in (options.part or ())]
    with tempfile.TemporaryDirectory(prefix="deepfake-bench-") as folder:
        try:
            bundle = find_model(options.model, options.registry)
            precisions = measured_precisions(bundle, options.precision)
        except UsageError as error:
            _tell(f"bench: {error}")
            return WRONG_USAGE
        setting = Setting(bundle, options.registry, precisions, Path(folder), sizes, _tell)
        figures = measure(setting, parts or PARTS)
    print(table(figures))
    path = options.output / "bench.json"
    options.output.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(figures, indent=1) + "\n")
    print(f"written to {path}")
    # Where whole pictures are judged there is nothing to find.
    frames = bundle.description.preprocessing.faces == "frame"
    promised = set(PROMISED) - ({"find_per_s"} if frames else set())
    missing = sorted(promised - set(figures)) if not parts else []
    if missing:
        _tell(f"could not be measured, see above: {', '.join(missing)}")
    return PARTLY if missing else DONE


def measure(setting: Setting, parts: Sequence[Part] = PARTS) -> Figures:
    """Measure all parts.

    Returns:
        The figures of ``bench.json``; a part that failed says so and has none.
    """
    figures: Figures = {
        "machine": machine(),
        "model_id": setting.bundle.model_id,
        "precision": setting.precision,
        "quick": int(setting.sizes.images == QUICK.images),
        "load_before": os.getloadavg()[0],
    }
    began = time.monotonic()
    for part in parts:
        try:
            for more in part(setting):
                figures |= more
        except FAILURES as error:
            setting.tell(f"{part.__name__} failed, its figures are left out: {error}")
    figures["bench_s"] = time.monotonic() - began
    return figures


def table(figures: Figures) -> str:
    """The figures for people, one a line."""
    width = max(map(len, figures))
    rows = []
    for name, value in figures.items():
        rows.append(f"{name:<{width}}  {_shown(value)} {_unit(name)}".rstrip())
    return "\n".join(rows)


def _shown(value: float | str) -> str:
    if isinstance(value, str):
        return value
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _unit(name: str) -> str:
    if name.endswith("_per_s"):
        return "images/s"
    if "_mb_" in name or name.endswith("_mb"):
        return "MB"
    if "over_" in name:
        return "times"
    if name.endswith("_ms"):
        return "ms"
    return "s" if name.endswith("_s") else ""


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m deepfake_core.bench",
        description="Measure the speed and memory of scans on this machine.",
    )
    parser.add_argument(
        "--quick",
        action="store_true",
        help="a tenth of everything, to see that it works; not figures to quote",
    )
    parser.add_argument("--model", default="resnet50", help="NAME or NAME@VERSION")
    parser.add_argument(
        "--precision",
        nargs="+",
        default=["auto"],
        choices=("auto", "fp32", "bf16", "int8"),
        help="precisions to measure; auto: all that the model is qualified for",
    )
    parser.add_argument("--output", type=Path, default=Path("reports"), help="for bench.json")
    parser.add_argument(
        "--registry", type=Path, default=DEFAULT_REGISTRY, help="folder of the models"
    )
    parser.add_argument(
        "--part",
        nargs="+",
        choices=[part.__name__ for part in (*PARTS, *EXTRA)],
        help="only these parts; `state` is measured only when it is named",
    )
    parser.add_argument("--known", type=int, help="known images of the part `state`")
    return parser


if __name__ == "__main__":
    sys.exit(main())
