"""Workers of one core each against one process with the same cores, in turns."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from deepfake_core.bench.images import write_pictures
from deepfake_core.bench.race import Contestant, race
from deepfake_core.bench.setting import PartFailed, Setting, cores
from deepfake_core.events import silent
from deepfake_core.inference.opening import open_classifier
from deepfake_core.scanning.dask.executor import open_executor
from deepfake_core.scanning.executor import Executor, Shards, Work
from deepfake_core.scanning.plan import Plan, make_plan
from deepfake_core.scanning.scan import begin, commit_shard, finish, judge_shards, missing_shards
from deepfake_core.scanning.shards import ShardJudge

# Small shards, so that little is left over where the workers' last ones end at different times.
SHARDS_PER_WORKER = 8
# Shards of one image, whose time is mostly that of the way to a worker and back.
TINY_SHARDS = 100


@dataclass(frozen=True, slots=True)
class Scans:
    """Whole scans of the same pictures in one place, from listing to report."""

    setting: Setting
    pictures: Path
    executor: Executor
    name: str

    def rate(self, shard_size: int, limit: int | None = None) -> float:
        """Images per second of one more scan."""
        folder = self.setting.folder / "cluster-out" / self.name
        output = folder / str(len(list(folder.glob("*"))))
        config = self.setting.scan_config(self.pictures, output, self.setting.precision)
        config = config.model_copy(update={"shard_size": shard_size, "limit": limit})
        started = time.perf_counter()
        plan = make_plan(config, registry=self.setting.registry)
        begin(plan)
        work = Work(missing_shards(plan), lambda: True, silent)
        judge_shards(plan, work, commit=commit_shard, executor=self.executor)
        counts = finish(plan)
        wanted = limit or self.setting.sizes.images
        if counts["judged"] != wanted:
            raise PartFailed(f"only {counts['judged']} of {wanted} were judged")
        return wanted / (time.perf_counter() - started)


def cluster(setting: Setting) -> Iterator[dict[str, float]]:
    """Rates of one process and of a worker per core, and what the way to a worker costs."""
    sizes, pictures, workers = setting.sizes, setting.folder / "cluster-pictures", cores()
    setting.tell(f"making {sizes.images} pictures for {workers} workers")
    write_pictures(pictures, sizes.images, distinct=min(sizes.distinct, sizes.images))
    size = max(sizes.images // (SHARDS_PER_WORKER * workers), 1)
    tiny = min(TINY_SHARDS, sizes.images)
    with open_executor(f"local:{workers}") as on_workers:
        places = {"one_process": _loaded(setting), "cluster": on_workers}
        contestants: dict[str, Contestant] = {}
        for name, executor in places.items():
            scans = Scans(setting, pictures, executor, name)
            # Loads the model on each worker, and compiles it for lone images as well.
            for warm in (1, setting.batch_size):
                scans.rate(warm, min(4 * workers * warm, sizes.images))
            contestants[f"{name}_per_s"] = _bound(scans, size, None)
            contestants[f"{name}_tiny_per_s"] = _bound(scans, 1, tiny)
        rates = race(contestants, sizes.rounds, setting.tell)
    missing = contestants.keys() - rates.keys()
    if missing:
        raise PartFailed(f"there are no rates of {', '.join(sorted(missing))}")
    yield {
        "cluster_workers": workers,
        "one_process_per_s": rates["one_process_per_s"],
        "cluster_per_s": rates["cluster_per_s"],
        "cluster_over_one_process": rates["cluster_per_s"] / rates["one_process_per_s"],
        "cluster_tiny_shard_ms": 1000 / rates["cluster_tiny_per_s"],
        "one_process_tiny_shard_ms": 1000 / rates["one_process_tiny_per_s"],
    }


def _bound(scans: Scans, shard_size: int, limit: int | None) -> Contestant:
    return lambda: scans.rate(shard_size, limit)


def _loaded(setting: Setting) -> Executor:
    """This process, with a model that stays loaded as the workers' does."""
    classifier = open_classifier(setting.networks(setting.precision))

    def executor(plan: Plan, work: Work) -> AbstractContextManager[Shards]:  # noqa: ARG001
        return ShardJudge(plan.source, classifier, batch_size=plan.config.batch_size)

    return executor
