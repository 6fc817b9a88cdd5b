"""A scan as a flow, timed: ``python -m flows.timed_scan REGISTRY CONFIG``, for the benchmark.

What is not the core's own work is orchestration: all of the flow before and after the scan, all
of a task but the shard that it judges, and what is told meanwhile.
"""

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import ParamSpec, TypeVar, cast

from deepfake_core.bench.orchestration import TimedScan
from deepfake_core.events import Notify
from deepfake_core.reporting.drift import DriftLimits
from deepfake_core.scanning import scan as core
from deepfake_core.scanning.config import ScanConfig
from deepfake_core.scanning.result import ScanResult
from flows import scan as module

P = ParamSpec("P")
T = TypeVar("T")


@dataclass
class Watch:
    """Seconds of the clock, of the processors for this process and thread, and how often."""

    seconds: float = 0.0
    processor_seconds: float = 0.0
    thread_seconds: float = 0.0
    times: int = 0

    @contextmanager
    def running(self) -> Iterator[None]:
        """Count what is done within."""
        clock, processors, thread = time.perf_counter(), time.process_time(), time.thread_time()
        try:
            yield
        finally:
            self.seconds += time.perf_counter() - clock
            self.processor_seconds += time.process_time() - processors
            self.thread_seconds += time.thread_time() - thread
            self.times += 1

    def timing(self, function: Callable[P, T]) -> Callable[P, T]:
        """The same function, counted."""

        def counted(*arguments: P.args, **options: P.kwargs) -> T:
            with self.running():
                return function(*arguments, **options)

        return counted


def timed(config: ScanConfig) -> TimedScan:
    """Run the flow; returns its seconds, and those around the scan and between its shards."""
    whole, scan, tasks, shards, told = (Watch() for _ in range(5))
    scan_of_core = core.scan

    def counted_scan(
        config: ScanConfig,
        *,
        notify: Notify,
        registry: Path,
        execution: core.Execution,
        drift: DriftLimits,
    ) -> ScanResult:
        commit = execution.commit or core.commit_shard
        in_tasks = core.Execution(execution.executor, tasks.timing(commit))
        with scan.running():
            return scan_of_core(
                config,
                notify=told.timing(notify),
                registry=registry,
                execution=in_tasks,
                drift=drift,
            )

    core.scan = counted_scan  # type: ignore[assignment]
    core.commit_shard = shards.timing(core.commit_shard)
    with whole.running():
        state = module.scan(config, return_state=True)
    result = cast(ScanResult, state.result())
    return {
        "images": result["judged"] + result["failed"],
        "shards": tasks.times,
        "seconds": whole.seconds,
        "around_seconds": whole.seconds - scan.seconds,
        "between_seconds": tasks.seconds - shards.seconds + told.seconds,
        "processor_seconds": whole.processor_seconds,
        "around_processor_seconds": whole.processor_seconds - scan.processor_seconds,
        # The threads that judge work on meanwhile, so only this one counts.
        "between_processor_seconds": tasks.thread_seconds
        - shards.thread_seconds
        + told.thread_seconds,
    }


if __name__ == "__main__":
    module.REGISTRY = Path(sys.argv[1])
    print(json.dumps(timed(ScanConfig.model_validate_json(sys.argv[2]))))
