"""The scan: plan, judge shard by shard, publish, report. Each step can be repeated safely."""

from __future__ import annotations

import contextlib
import datetime as dt
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from deepfake_core.errors import BrokenInvariant
from deepfake_core.events import Notify, silent
from deepfake_core.models.canaries import join_checks
from deepfake_core.models.registry import DEFAULT_REGISTRY
from deepfake_core.reporting.drift import LIMITS, DriftLimits
from deepfake_core.reporting.run_report import write_report
from deepfake_core.reporting.summary import count_rows
from deepfake_core.results.layout import (
    LATEST,
    REPORT_FILE,
    published_name,
    run_file,
)
from deepfake_core.results.manifest import known_flagged, turn_counts
from deepfake_core.results.recording import close_run
from deepfake_core.results.run_record import ModelFacts
from deepfake_core.results.schema import VERDICTS
from deepfake_core.results.verdict_files import read_verdicts
from deepfake_core.scanning.committed import CommittedShard, read_committed
from deepfake_core.scanning.config import ScanConfig
from deepfake_core.scanning.executor import Executor, Shards, Work, in_process
from deepfake_core.scanning.plan import Plan, make_plan
from deepfake_core.scanning.result import ScanResult, result_of, unlisted_words
from deepfake_core.scanning.selection import skip_rest
from deepfake_core.scanning.tagging import tag_objects
from deepfake_core.storage.base import Storage, Taggable
from deepfake_core.storage.opening import open_storage
from deepfake_core.storage.output_lock import beside_others

# Has one shard judged and committed, like `commit_shard`.
Commit = Callable[[Plan, Shards, int, Notify], CommittedShard]


@dataclass(frozen=True, slots=True)
class Execution:
    """How shards are judged.

    Attributes:
        executor: where, see `deepfake_core.scanning.dask.executor.open_executor`.
        commit: stands in for `commit_shard`, which it must call; an orchestrator wraps it.
    """

    executor: Executor = in_process
    commit: Commit | None = None


IN_PROCESS = Execution()


def scan(
    config: ScanConfig,
    *,
    notify: Notify = silent,
    registry: Path = DEFAULT_REGISTRY,
    execution: Execution = IN_PROCESS,
    drift: DriftLimits = LIMITS,
) -> ScanResult:
    """Scan a source: the whole job, resumable after a kill at any moment.

    Args:
        config: what to scan and how.
        notify: is told ``planned``, ``warned``, ``judged``, ``committed``, ``published``,
            ``latest``, ``reported`` and ``done`` as they happen.
        registry: where bundles are.
        execution: how shards are judged.
        drift: from where on a difference to the last runs is worth a warning.

    Returns:
        The result, as ``deepfake scan --json`` prints it.

    Raises:
        DeepfakeError: see its subclasses; what was committed is kept.
    """
    began = time.monotonic()
    output = open_storage(config.output)
    with contextlib.ExitStack() as stack:
        # Before the plan, so that nothing that it knows is erased meanwhile; where nothing is yet,
        # a wrong request shall leave nothing.
        held = output.exists()
        if held:
            stack.enter_context(_beside_others(output, config, config.run_id or "", notify))
        plan = make_plan(config, registry=registry)
        if plan.run.state == "done":
            return result_of(plan)
        if not held:
            stack.enter_context(_beside_others(output, config, plan.run_id, notify))
        begin(plan, notify)
        missing = missing_shards(plan)
        if missing:
            work = Work(missing, lambda: _in_time(plan, began), notify)
            commit = execution.commit or commit_shard
            judge_shards(plan, work, commit=commit, executor=execution.executor)
        if drift != LIMITS:
            plan.run.drift = drift.model_dump()
        return finish(plan, notify, seconds=time.monotonic() - began)


def _beside_others(
    output: Storage, config: ScanConfig, run_id: str, notify: Notify
) -> contextlib.AbstractContextManager[None]:
    """Keep others from rewriting the output, and from working on the same run."""
    # A URL with credentials is refused only when the source is opened.
    source = "a source" if "@" in config.source else config.source
    return beside_others(
        output,
        f"a scan of {source}",
        lasting=True,
        run_id=run_id,
        say=lambda line: notify("warned", {"words": line}),
    )


def begin(plan: Plan, notify: Notify = silent) -> None:
    """Store a new plan: the manifest first, so that a run.json never lacks it."""
    if not plan.begun:
        plan.claim()
        notify("manifest", {"run_id": plan.run_id})
        plan.store_run()
    listed, wanted = plan.manifest.num_rows, plan.wanted.num_rows
    notify(
        "planned",
        {"run_id": plan.run_id, "listed": listed, "wanted": wanted, "shards": plan.shards},
    )
    unlisted = unlisted_words(plan.run.unlisted_folders)
    warnings = (*unlisted, *plan.warnings, *plan.networks.notes)
    for words in (*warnings, *(glob.words for glob in plan.run.idle_globs)):
        notify("warned", {"words": words})


def missing_shards(plan: Plan) -> list[int]:
    """The shards that are not committed yet."""
    done = plan.results.committed(plan.run_id)
    return [index for index in range(plan.shards) if index not in done]


def judge_shards(
    plan: Plan, work: Work, *, commit: Commit, executor: Executor = in_process
) -> None:
    """Have shards judged and committed in their order, within the time that was allowed."""
    size, indices = plan.run.shard_size, work.indices
    done = plan.wanted.num_rows - sum(len(plan.shard(index)) for index in indices)
    work.notify("resumed", {"done": done})
    # A cluster that was lost may have committed a shard and not the one before it; what lies
    # before a committed shard is finished, as the rest of a run is left out from one shard on.
    committed = max(set(range(plan.shards)) - set(indices), default=-1)
    with executor(plan, work) as shards:
        for index in indices:
            if index > max(committed, shards.begun) and not work.in_time():
                plan.manifest = skip_rest(plan.manifest, index * size)
                plan.store_manifest()
                return
            plan.committed[index] = commit(plan, shards, index, work.notify)


def _in_time(plan: Plan, began: float) -> bool:
    allowed = plan.config.max_minutes
    return allowed is None or (time.monotonic() - began) / 60 < allowed


def commit_shard(plan: Plan, shards: Shards, index: int, notify: Notify = silent) -> CommittedShard:
    """Have one shard judged and its part committed."""
    committed = shards.commit(plan, index)
    notify("committed", {"shards": plan.shards, **committed.facts()})
    return committed


def finish(plan: Plan, notify: Notify = silent, *, seconds: float | None = None) -> ScanResult:
    """Publish, bring ``latest.parquet`` up to date, report, and close the run."""
    results, run_id, run_date = plan.results, plan.run_id, plan.run.run_date
    path, wanted = published_name(run_date, run_id), plan.wanted
    if wanted.num_rows:
        if not results.storage.exists(path):
            results.publish(run_id, run_date, plan.in_turn, plan.metadata, plan.shards)
        notify("published", {"verdicts": results.storage.address(path)})
        results.update_latest(path, lambda error: notify("warned", {"words": str(error)}))
        notify("latest", {"latest": results.storage.address(LATEST)})
        rows = read_verdicts(results.storage, path)
    else:
        rows = VERDICTS.empty_table()
    _count(plan, rows, seconds)
    _tag(plan, rows, notify)
    write_report(plan.run, rows, results, thumbnails=plan.config.thumbnails)
    notify("reported", {"report": results.storage.address(run_file(run_id, REPORT_FILE))})
    plan.run.state = "done"
    close_run(results, plan.run, "scan")
    notify("done", {"run_id": run_id})
    return result_of(plan)


def _tag(plan: Plan, rows: pa.Table, notify: Notify) -> None:
    """Tag the objects, where the run was asked to when it was planned, or is now."""
    asked = plan.config.tag_objects or plan.run.config.get("tag_objects")
    if not asked or not isinstance(plan.source, Taggable):
        return
    if plan.run.suspect:
        notify("warned", {"words": "the run is suspect, so that no object was tagged"})
        return
    plan.run.tags = tag_objects(plan.source, plan.wanted, rows)
    if not plan.run.tags.is_complete:
        notify("warned", {"words": plan.run.tags.words})


def _count(plan: Plan, rows: pa.Table, seconds: float | None) -> None:
    """Fill in the counts, timings and the model's figures of ``run.json``."""
    skipped = Counter(reason for reason in plan.manifest["skip"].to_pylist() if reason)
    counts = count_rows(rows)
    counts.listed, counts.skipped = plan.manifest.num_rows, skipped.total()
    if counts.listed != counts.accounted_for:
        raise BrokenInvariant(f"run {plan.run_id}: the counts do not add up: {counts!r}")
    shards, timings, brightness = _committed(plan), Counter[str](), Counter[str]()
    for shard in shards:
        timings.update(shard.timings)
        brightness.update(shard.brightness)
    told, run = plan.networks.told, plan.run
    run.canaries = join_checks([shard.canaries for shard in shards]) if shards else None
    run.brightness = dict(brightness)
    run.suspect = run.canaries is not None and run.canaries.suspect
    run.counts, run.skipped_reasons = counts, dict(skipped)
    run.new, run.backlog, run.left = turn_counts(plan.manifest)
    run.known_flagged = known_flagged(plan.manifest)
    # A run that was continued took at least the time of all its shards.
    run.timings = {**timings, "seconds": max(seconds or 0.0, timings["seconds"])}
    run.finished = dt.datetime.now(dt.UTC).isoformat(timespec="seconds")
    run.thresholds = plan.networks.thresholds
    run.temperature = plan.networks.curve.calibration.temperature
    run.card = ModelFacts(figures=told.figures, trained_on=told.trained_on, limits=told.limits)


def _committed(plan: Plan) -> list[CommittedShard]:
    """All shards of a run; those that an earlier process had committed are read again."""
    return [
        plan.committed.get(index)
        or read_committed(plan.results, plan.run_id, index, images=len(plan.shard(index)))
        for index in range(plan.shards)
    ]
