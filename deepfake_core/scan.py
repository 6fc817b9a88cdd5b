"""The scan: plan, judge shard by shard, publish, report. Each step can be repeated safely."""

from __future__ import annotations

import datetime as dt
import json
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from deepfake_core import manifest
from deepfake_core.config import ScanConfig, check_run_id
from deepfake_core.drift import DriftLimits, warnings_of
from deepfake_core.errors import BrokenInvariant, UsageError
from deepfake_core.place import Notify as Notify
from deepfake_core.place import Place, Shards, Work, here
from deepfake_core.place import open_judge as open_judge
from deepfake_core.plan import RUN_FILE, Plan, make_plan, read_manifest
from deepfake_core.records import Json
from deepfake_core.registry import DEFAULT_REGISTRY
from deepfake_core.results import (
    LATEST,
    Results,
    part_name,
    published_name,
    read_verdicts,
    run_file,
)
from deepfake_core.schema import VERDICTS
from deepfake_core.storage import open_storage

SUMMARY_FILE, MARKDOWN_FILE, REPORT_FILE = "summary.json", "summary.md", "report.html"
# What a run's result says of its source beside its counts.
OF_SOURCE = ("new", "backlog", "left", "gone", "renamed")

# Has one shard judged and committed, like `commit_shard`.
Commit = Callable[[Plan, Shards, int, Notify], Json]


def silent(event: str, facts: Json) -> None:
    """Tell nobody."""


def scan(
    config: ScanConfig,
    *,
    notify: Notify = silent,
    registry: Path = DEFAULT_REGISTRY,
    commit: Commit | None = None,
    place: Place = here,
) -> Json:
    """Scan a source: the whole job, resumable after a kill at any moment.

    Args:
        config: what to scan and how.
        notify: is told ``planned``, ``judged``, ``committed``, ``published``, ``latest``,
            ``reported`` and ``done`` as they happen.
        registry: where bundles are.
        commit: stands in for `commit_shard`, which it must call; an orchestrator wraps it.
        place: where shards are judged, see `deepfake_core.cluster.open_place`.

    Returns:
        The result, as ``deepfake scan --json`` prints it.

    Raises:
        DeepfakeError: see its subclasses; what was committed is kept.
    """
    began = time.monotonic()
    plan = make_plan(config, registry=registry)
    if plan.run["state"] == "done":
        return result_of(plan)
    begin(plan, notify)
    missing = missing_shards(plan)
    if missing:
        work = Work(missing, lambda: _in_time(plan, began), notify)
        judge_shards(plan, work, commit=commit or commit_shard, place=place)
    return finish(plan, notify, seconds=time.monotonic() - began)


def begin(plan: Plan, notify: Notify = silent) -> None:
    """Store a new plan: the manifest first, so that a run.json never lacks it."""
    if not plan.begun:
        plan.claim()
        notify("manifest", {"run_id": plan.run_id})
        plan.store_run()
    listed, wanted = plan.manifest.num_rows, plan.wanted.num_rows
    facts = {"run_id": plan.run_id, "listed": listed, "wanted": wanted, "shards": plan.shards}
    notify("planned", facts)


def missing_shards(plan: Plan) -> list[int]:
    """The shards that are not committed yet."""
    done = plan.results.committed(plan.run_id)
    return [index for index in range(plan.shards) if index not in done]


def judge_shards(plan: Plan, work: Work, *, commit: Commit, place: Place = here) -> None:
    """Have shards judged and committed in their order, within the time that was allowed."""
    size, indices = int(plan.run["shard_size"]), work.indices
    done = plan.wanted.num_rows - sum(len(plan.shard(index)) for index in indices)
    work.notify("resumed", {"done": done})
    # A cluster that was lost may have committed a shard and not the one before it; what lies
    # before a committed shard is finished, as the rest of a run is left out from one shard on.
    committed = max(set(range(plan.shards)) - set(indices), default=-1)
    with place(plan, work) as shards:
        for index in indices:
            if index > max(committed, shards.begun) and not work.in_time():
                plan.manifest = manifest.skip_rest(plan.manifest, index * size)
                plan.store_manifest()
                return
            commit(plan, shards, index, work.notify)


def _in_time(plan: Plan, began: float) -> bool:
    allowed = plan.config.max_minutes
    return allowed is None or (time.monotonic() - began) / 60 < allowed


def commit_shard(plan: Plan, shards: Shards, index: int, notify: Notify = silent) -> Json:
    """Have one shard judged and its part committed."""
    facts = {"shards": plan.shards, **shards.commit(plan, index)}
    notify("committed", facts)
    return facts


def finish(plan: Plan, notify: Notify = silent, *, seconds: float | None = None) -> Json:
    """Publish, bring ``latest.parquet`` up to date, report, and close the run."""
    results, run_id, run_date = plan.results, plan.run_id, str(plan.run["run_date"])
    path, wanted = published_name(run_date, run_id), plan.wanted
    if wanted.num_rows:
        if not results.storage.exists(path):
            results.publish(run_id, run_date, plan.in_turn, plan.metadata, plan.shards)
        notify("published", {"verdicts": results.storage.address(path)})
        results.update_latest(path)
        notify("latest", {"latest": results.storage.address(LATEST)})
        rows = read_verdicts(results.storage, path)
    else:
        rows = VERDICTS.empty_table()
    _count(plan, rows, seconds)
    write_report(plan.run, rows, plan.config.output, thumbnails=plan.config.thumbnails)
    notify("reported", {"report": results.storage.address(run_file(run_id, REPORT_FILE))})
    plan.run["state"] = "done"
    plan.store_run()
    result = result_of(plan)
    notify("done", result)
    return result


def _count(plan: Plan, rows: pa.Table, seconds: float | None) -> None:
    """Fill in the counts, timings and the model's figures of ``run.json``."""
    skipped = Counter(reason for reason in plan.manifest["skip"].to_pylist() if reason)
    judged = pc.sum(pc.equal(rows["status"], "ok")).as_py() or 0
    counts = {
        "listed": plan.manifest.num_rows,
        "skipped": skipped.total(),
        "judged": judged,
        "failed": rows.num_rows - judged,
    }
    if counts["listed"] != counts["judged"] + counts["failed"] + counts["skipped"]:
        raise BrokenInvariant(f"run {plan.run_id}: the counts do not add up: {counts}")
    timings: Counter[str] = Counter()
    for index in range(plan.shards):
        path = run_file(plan.run_id, f"parts/{part_name(index)}")
        footer = pq.read_schema(pa.BufferReader(plan.results.storage.read(path))).metadata
        timings.update(json.loads(footer[b"deepfake.timings"]))
    description = plan.bundle.description
    plan.run |= {
        "counts": counts,
        "skipped_reasons": dict(skipped),
        **manifest.turn_counts(plan.manifest),
        # A run that was continued took at least the time of all its shards.
        "timings": {**timings, "seconds": max(seconds or 0.0, timings["seconds"])},
        "finished": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        "thresholds": description.thresholds.model_dump(),
        "temperature": description.calibration.temperature,
        "card": {
            "figures": description.figures,
            "trained_on": description.trained_on,
            "limits": description.limits,
        },
    }


def write_report(run: Json, rows: pa.Table, output: str, *, thumbnails: bool) -> Json:
    """Write the summary and the report of a run; returns the summary.

    In what it is unlike the last runs is found once, and kept in `run`.
    """
    from deepfake_core.changes import changes_of_run
    from deepfake_core.gallery import read_thumbnails
    from deepfake_core.report import render
    from deepfake_core.summary import markdown, summarise

    results = open_storage(output)
    changes = None
    if run.get("backlog"):
        listed = read_manifest(Results(results), str(run["run_id"]))
        changes = changes_of_run(rows, listed)
    summary = summarise(rows, run=run, changes=changes)
    if "warnings" not in run:
        limits = DriftLimits.model_validate(run.get("drift") or {})
        run["warnings"] = warnings_of(Results(results), summary, limits)
    summary["warnings"] = run["warnings"]
    pictures = read_thumbnails(summary, open_storage(run["source"])) if thumbnails else {}
    contents = {
        SUMMARY_FILE: json.dumps(summary, indent=1, ensure_ascii=False) + "\n",
        MARKDOWN_FILE: markdown(summary),
        REPORT_FILE: render(summary, thumbnails=pictures),
    }
    for name, text in contents.items():
        results.put(run_file(str(run["run_id"]), name), text.encode("utf-8", "replace"))
    return summary


def result_of(plan: Plan) -> Json:
    """What a finished run gave, as ``--json`` prints it."""
    results, run_id, run = plan.results, plan.run_id, plan.run
    summary = results.get_json(run_id, SUMMARY_FILE) or {}
    counts: Json = run["counts"]
    path = published_name(str(run["run_date"]), run_id)
    has_rows = counts["judged"] + counts["failed"] > 0
    return {
        "run_id": run_id,
        "run_date": run["run_date"],
        **counts,
        "labels": summary.get("labels", {}),
        "failures": summary.get("failures", {}),
        "skipped_reasons": run["skipped_reasons"],
        **{name: summary.get(name) for name in OF_SOURCE},
        "flipped": (summary.get("changes") or {}).get("flipped"),
        "warnings": summary.get("warnings") or [],
        "model_id": run["model_id"],
        "precision": run["precision"],
        "engine": run["engine"],
        "verdicts": results.storage.address(path) if has_rows else None,
        "report": results.storage.address(run_file(run_id, REPORT_FILE)),
        "seconds": run["timings"]["seconds"],
    }


def report_again(
    run_id: str, output: str, *, thumbnails: bool, drift: DriftLimits | None = None
) -> str:
    """Render a finished run's report again from its verdicts; returns its address.

    Args:
        run_id: the run.
        output: the folder of results, local or a URL.
        thumbnails: whether it shows small pictures.
        drift: compare the run with those before it again, by these limits.

    Raises:
        UsageError: there is no such run, or it is not finished.
    """
    check_run_id(run_id)
    results = Results(open_storage(output))
    run = results.get_json(run_id, RUN_FILE)
    if run is None or run["state"] != "done":
        found = "is not finished; continue it" if run else "is not there"
        raise UsageError(f"run {run_id} in {output} {found}; give a finished run's id")
    path = published_name(str(run["run_date"]), run_id)
    has_rows = run["counts"]["judged"] + run["counts"]["failed"] > 0
    rows = read_verdicts(results.storage, path) if has_rows else VERDICTS.empty_table()
    if drift is not None:
        run["drift"] = drift.model_dump()
        run.pop("warnings", None)
    write_report(run, rows, output, thumbnails=thumbnails)
    if drift is not None:
        results.put_json(run_id, RUN_FILE, run)
    return results.storage.address(run_file(run_id, REPORT_FILE))
