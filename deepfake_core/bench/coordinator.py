"""What a run costs beside judging, per image: planning and publishing, and their memory."""

from __future__ import annotations

import hashlib
import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TypedDict

from deepfake_core.bench.known import Listed
from deepfake_core.bench.processes import run_module
from deepfake_core.bench.scan_process import peak_bytes
from deepfake_core.bench.setting import Setting
from deepfake_core.events import silent
from deepfake_core.inference.judgement import Judgement
from deepfake_core.records import Label
from deepfake_core.results.layout import published_name
from deepfake_core.scanning.committed import CommittedShard
from deepfake_core.scanning.config import ScanConfig
from deepfake_core.scanning.executor import Shards, Work
from deepfake_core.scanning.plan import Plan, make_plan
from deepfake_core.scanning.scan import begin, commit_shard, finish, judge_shards, missing_shards
from deepfake_core.scanning.shards import shard_of
from deepfake_core.scanning.verdict_rows import verdict_rows

# Of few images the memory would be lost in that of the libraries.
TIMES_PLANNED = 4


class Order(TypedDict):
    """What the process is told: how many images, how they are scanned, and where the models are."""

    count: int
    config: dict[str, object]
    registry: str


def coordinator(setting: Setting) -> Iterator[dict[str, float]]:
    """Processor time and memory of a run's own process, where others judge; in a process alone."""
    count = TIMES_PLANNED * setting.sizes.planned_files
    setting.tell(f"planning and publishing {count} images that nobody judges")
    config = setting.scan_config(Path(), setting.folder / "coordinator-out", setting.precision)
    order: Order = {
        "count": count,
        "config": config.model_dump(mode="json"),
        "registry": str(setting.registry),
    }
    yield json.loads(run_module("deepfake_core.bench.coordinator", json.dumps(order)))


def main(order: Order) -> None:
    """Plan, pretend to judge, publish; print the figures."""
    config = ScanConfig.model_validate(order["config"])
    config = config.model_copy(update={"thumbnails": False})
    count, registry = order["count"], Path(order["registry"])
    # A first run loads what is loaded once.
    small = config.model_copy(update={"output": f"{config.output}-small"})
    _run(small, registry, 100)
    before = peak_bytes()
    plan, plan_s, planned, finish_s = _run(config, registry, count)
    path = published_name(plan.run.run_date, plan.run_id)
    figures = {
        "coordinator_images": count,
        "coordinator_plan_us": 1e6 * plan_s / count,
        "coordinator_finish_us": 1e6 * finish_s / count,
        "coordinator_plan_bytes": (planned - before) / count,
        "coordinator_image_bytes": (peak_bytes() - before) / count,
        "coordinator_row_bytes": len(plan.results.storage.read(path)) / count,
    }
    print(json.dumps(figures))


def _run(config: ScanConfig, registry: Path, count: int) -> tuple[Plan, float, int, float]:
    """The run, the processor seconds of planning, the memory then, and the seconds of the end."""
    made: list[Plan] = []
    source = Listed(count, new=0)

    def planned() -> None:
        plan = make_plan(config, registry=registry, source=source)
        begin(plan)
        plan.shard(0)
        made.append(plan)

    plan_s, peak = _seconds(planned), peak_bytes()
    work = Work(missing_shards(made[0]), lambda: True, silent)
    judge_shards(made[0], work, commit=commit_shard, executor=_nobody)
    return made[0], plan_s, peak, _seconds(lambda: finish(made[0]))


class Nobody:
    """Commits shards without reading an image."""

    begun = -1

    def commit(self, plan: Plan, index: int) -> CommittedShard:
        """See `deepfake_core.scanning.executor.Shards.commit`."""
        shard = shard_of(plan, index)
        judgements = [_judgement(f"{index}/{number}") for number in range(len(shard.images))]
        rows = verdict_rows(shard.images.to_pylist(), judgements, shard.run)
        timings = dict.fromkeys(("seconds", "read_seconds", "decode_seconds", "infer_seconds"), 0.0)
        committed = CommittedShard(index, rows.num_rows, timings)
        plan.results.commit(plan.run_id, index, rows, {**shard.metadata, **committed.footer})
        return committed


def _judgement(image: str) -> Judgement:
    """One that is as hard to compress as those of pictures."""
    digest = hashlib.sha256(image.encode())
    score = int.from_bytes(digest.digest()[:4]) / 2**32
    return Judgement(
        digest.hexdigest(), "JPEG", 256, 256, logit=score, score=score, label=Label.REAL
    )


def _nobody(plan: Plan, work: Work) -> AbstractContextManager[Shards]:  # noqa: ARG001
    return nullcontext(Nobody())


def _seconds(action: Callable[[], object]) -> float:
    started = time.process_time()
    action()
    return time.process_time() - started


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
