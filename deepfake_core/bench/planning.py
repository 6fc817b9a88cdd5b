"""Planning a run in which nothing is new, against merely listing the same files."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median

from deepfake_core.bench.setting import PartFailed, Setting
from deepfake_core.inference.judgement import Judgement
from deepfake_core.records import Label
from deepfake_core.results.layout import published_name
from deepfake_core.results.schema import with_metadata
from deepfake_core.results.verdict_files import parquet_bytes
from deepfake_core.scanning.config import ScanConfig
from deepfake_core.scanning.plan import make_plan
from deepfake_core.scanning.verdict_rows import verdict_rows

FILES_PER_FOLDER = 1_000


def planning(setting: Setting) -> Iterator[dict[str, float]]:
    """Seconds of a plan that reads what is known, over those of a walk with a stat of each."""
    count, source = setting.sizes.planned_files, setting.folder / "many"
    setting.tell(f"planning over {count} known files")
    _write_files(source, count)
    config = setting.scan_config(source, setting.folder / "many-out", setting.precision)
    _publish_all(setting, config)
    plans: list[float] = []
    walks: list[float] = []
    for _ in range(setting.sizes.plans):
        plans.append(_seconds(lambda: _plan(setting, config, count)))
        walks.append(_seconds(lambda: _walk(source)))
    planned, listed = median(plans), median(walks)
    yield {"planned_files": count, "plan_100k_s": planned, "listing_100k_s": listed}
    yield {"plan_100k_over_listing": planned / listed}


def _write_files(folder: Path, count: int) -> None:
    for at in range(0, count, FILES_PER_FOLDER):
        inner = folder / f"{at // FILES_PER_FOLDER:04d}"
        inner.mkdir(parents=True)
        for index in range(at, min(at + FILES_PER_FOLDER, count)):
            (inner / f"{index:06d}.jpg").touch()


def _publish_all(setting: Setting, config: ScanConfig) -> None:
    """Publish a verdict for every file, without judging it."""
    plan = make_plan(config, registry=setting.registry)
    judged = Judgement("0" * 64, "JPEG", 256, 256, logit=0.5, score=0.5, label=Label.REAL)
    rows = verdict_rows(plan.wanted.to_pylist(), [judged] * plan.wanted.num_rows, plan.run)
    path = published_name(plan.run.run_date, plan.run_id)
    plan.results.storage.put(path, parquet_bytes(with_metadata(rows, plan.metadata)))


def _plan(setting: Setting, config: ScanConfig, count: int) -> None:
    plan = make_plan(config, registry=setting.registry)
    if plan.manifest.num_rows != count or plan.wanted.num_rows:
        raise PartFailed(f"{plan.wanted.num_rows} of {count} known files would be judged again")


def _walk(folder: Path) -> int:
    total = 0
    for inner, _, names in os.walk(folder):
        for name in names:
            total += os.stat(os.path.join(inner, name)).st_size
    return total


def _seconds(action: Callable[[], object]) -> float:
    started = time.perf_counter()
    action()
    return time.perf_counter() - started
