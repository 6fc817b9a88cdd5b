"""Whole scans as contestants."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow.parquet as pq

from deepfake_core.bench.race import Contestant, rate_of
from deepfake_core.bench.setting import PartFailed, Setting, cores
from deepfake_core.inference.opening import open_classifier
from deepfake_core.models.bundle import Precision
from deepfake_core.scanning.plan import Plan, make_plan
from deepfake_core.scanning.result import ScanResult
from deepfake_core.scanning.scan import begin, commit_shard, finish
from deepfake_core.scanning.shards import ShardJudge
from deepfake_core.storage.local import LocalStorage


@dataclass(slots=True)
class Scanned:
    """Whole scans but loading the models: plan, judge, commit, publish, latest, report.

    Attributes:
        setting: of the benchmark.
        pictures: what is scanned.
        precision: of the first look.
        settings: of the scan, where they are not the benchmark's usual ones.
    """

    setting: Setting
    pictures: Path
    precision: Precision
    settings: Mapping[str, str | bool]
    _results: list[ScanResult] = field(default_factory=list)

    def contestant(self, opened: ExitStack) -> Contestant:
        """Measures one scan after another with the same threads and networks."""
        setting = self.setting
        plan = self._plan("warm")
        judge = opened.enter_context(
            ShardJudge(
                LocalStorage(self.pictures),
                open_classifier(plan.networks),
                batch_size=setting.batch_size,
            )
        )
        # Gives each of the judge's lanes its request.
        judge.judge(plan.shard(0).slice(0, 2 * cores() * setting.batch_size), plan.run)
        return lambda: rate_of(setting.sizes.images, lambda: self._scan(judge))

    def second_look_share(self) -> float:
        """The share of images that were given a second look in the last scan."""
        verdicts = self._results[-1]["verdicts"] if self._results else None
        if verdicts is None:
            return 0.0
        looks = pq.read_table(verdicts, columns=["second_model_id"], partitioning=None)
        share: float = 1 - looks["second_model_id"].null_count / max(1, looks.num_rows)
        return share

    def _plan(self, name: str) -> Plan:
        words = "-".join(f"{key}-{value}" for key, value in self.settings.items())
        output = self.setting.folder / f"scans-{self.precision}-{words}" / name
        config = self.setting.scan_config(self.pictures, output, self.precision, **self.settings)
        return make_plan(config, registry=self.setting.registry)

    def _scan(self, judge: ShardJudge) -> None:
        plan = self._plan(str(len(self._results)))
        begin(plan)
        for index in range(plan.shards):
            commit_shard(plan, judge, index)
        result = finish(plan)
        self._results.append(result)
        if result["failed"] or result["listed"] != self.setting.sizes.images:
            raise PartFailed(f"{result['failed']} of {result['listed']} images failed")
