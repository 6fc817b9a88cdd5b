"""The scan as a Prefect flow: one task per shard, the same results as ``deepfake scan``.

There is no ``from __future__ import annotations`` here: Prefect reads the type of the flow's
parameter when it serves a run, and cannot resolve it from a string.
"""

import flows  # noqa: F401 - before Prefect, which reads the environment at its import

# isort: split

import datetime as dt
import errno
import sys
from collections.abc import Callable
from typing import Any

from prefect import State, flow, get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.context import FlowRunContext
from prefect.states import Completed, Failed
from prefect.tasks import exponential_backoff

from deepfake_core.errors import DeepfakeError, SourceOutage
from deepfake_core.events import Facts, Notify
from deepfake_core.models.registry import DEFAULT_REGISTRY
from deepfake_core.reporting.drift import LIMITS, DriftLimits
from deepfake_core.reporting.markdown import headline
from deepfake_core.reporting.run_report import read_summary
from deepfake_core.results.layout import MARKDOWN_FILE, run_file
from deepfake_core.results.store import Results
from deepfake_core.scanning import scan as core
from deepfake_core.scanning.committed import CommittedShard
from deepfake_core.scanning.config import ScanConfig
from deepfake_core.scanning.dask.executor import open_executor
from deepfake_core.scanning.executor import Shards
from deepfake_core.scanning.plan import Plan
from deepfake_core.scanning.result import ScanResult
from deepfake_core.storage.opening import open_storage
from flows.artifacts import ShownProgress, show_result, show_warnings
from flows.notices import tell_failed, tell_result

REGISTRY = DEFAULT_REGISTRY
RETRIES, FIRST_PAUSE_SECONDS = 3, 10
TRANSIENT = {errno.EAGAIN, errno.EBUSY, errno.EIO}
MESSAGES = {
    "planned": "run {run_id}: {listed} listed, {wanted} to judge in {shards} shards",
    "warned": "warning: {words}",
    "resumed": "{done} images are committed already",
    "committed": "{images} images judged and committed in {seconds:.1f} s",
    "published": "verdicts: {verdicts}",
    "reported": "report: {report}",
}


def may_pass(task: object, task_run: object, state: State[Any]) -> bool:  # noqa: ARG001
    """Whether a task failed by an outage that may be over soon.

    Prefect takes only a plain function, and takes an exception in it as a no.
    """
    error = state.data
    causes = (error, getattr(error, "__cause__", None))
    return any(
        isinstance(cause, SourceOutage | ConnectionError | TimeoutError)
        or (isinstance(cause, OSError) and cause.errno in TRANSIENT)
        for cause in causes
    )


@task(
    name="judge shard",
    task_run_name="shard {number} of {shards}",
    retries=RETRIES,
    retry_delay_seconds=exponential_backoff(FIRST_PAUSE_SECONDS),
    retry_condition_fn=may_pass,
    # The commit is the shard's part: only its presence says that it is done.
    cache_policy=NO_CACHE,
    persist_result=False,
)
def judge_shard(
    number: int,  # noqa: ARG001
    shards: int,  # noqa: ARG001
    commit: Callable[[], CommittedShard],
) -> CommittedShard:
    """Judge and commit one shard; a closure carries the model, which Prefect must not copy."""
    return commit()


def commit_in_task(plan: Plan, shards: Shards, index: int, notify: Notify) -> CommittedShard:
    """Do what `deepfake_core.scanning.scan.commit_shard` does, as a task."""
    return judge_shard(
        index + 1, plan.shards, lambda: core.commit_shard(plan, shards, index, notify)
    )


@flow(
    name="scan",
    flow_run_name="scan of {config.source}",
    persist_result=False,
    on_failure=[tell_failed],
    on_crashed=[tell_failed],
)
def scan(
    config: ScanConfig, drift: DriftLimits = LIMITS, cluster: str | None = None
) -> State[ScanResult]:
    """Judge the images of a folder or bucket that are new; publish verdicts and a report.

    Args:
        config: What is judged, with which model, and where the results go.
        drift: From when on a run counts as unlike the last ones.
        cluster: Judge on a Dask cluster: its scheduler, such as tcp://host:8786, or local:N for N
            workers on the machine of the run.
    """
    progress = ShownProgress()

    def notify(event: str, facts: Facts) -> None:
        progress(event, facts)
        if event in MESSAGES and facts.get("done") != 0:
            get_run_logger().info(MESSAGES[event].format(**facts))

    try:
        with open_executor(cluster) as executor:
            result = core.scan(
                named(config),
                notify=notify,
                registry=REGISTRY,
                execution=core.Execution(executor, commit_in_task),
                drift=drift,
            )
    except DeepfakeError as error:
        message = " ".join(str(error).split())
        get_run_logger().error(message)
        return Failed(message=message, data=error)
    return Completed(message=show(result, config.output), data=result)


def named(config: ScanConfig) -> ScanConfig:
    """Name the run after its flow run, so that a retry of that one continues it."""
    context = FlowRunContext.get()
    if config.run_id is not None or context is None or context.flow_run is None:
        return config
    flow_run = context.flow_run
    started = flow_run.expected_start_time or dt.datetime.now(dt.UTC)
    run_id = f"{started.astimezone(dt.UTC):%Y%m%dT%H%M%SZ}-{flow_run.id.hex[-4:]}"
    return config.model_copy(update={"run_id": run_id})


def show(result: ScanResult, output: str) -> str:
    """Show a finished run on Prefect's pages and tell of it; returns its result in a sentence."""
    results, run_id = Results(open_storage(output)), result["run_id"]
    summary = read_summary(results, run_id)
    markdown = results.storage.read(run_file(run_id, MARKDOWN_FILE)).decode()
    show_result(summary, markdown, result["report"])
    show_warnings(summary)
    tell_result(summary, result["report"])
    in_time = "time" not in result["skipped_reasons"]
    tried = result["judged"] + result["not_applicable"] + result["failed"]
    nothing_new = in_time and not tried
    return ("Nothing new. " if nothing_new else "") + headline(summary)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python flows/scan.py SOURCE")
    state = scan(ScanConfig(source=sys.argv[1]), return_state=True)
    sys.exit(0 if state.is_completed() else 1)
