"""Write the report of a run, or render it again."""

from __future__ import annotations

import json

import pyarrow as pa

from deepfake_core.errors import UsageError
from deepfake_core.records import Json
from deepfake_core.reporting.drift import DriftLimits, read_warnings
from deepfake_core.results.layout import (
    MARKDOWN_FILE,
    REPORT_FILE,
    RUN_FILE,
    SUMMARY_FILE,
    published_name,
    run_file,
)
from deepfake_core.results.manifest import read_manifest
from deepfake_core.results.run_ids import check_run_id
from deepfake_core.results.schema import VERDICTS
from deepfake_core.results.store import Results
from deepfake_core.results.verdict_files import read_verdicts
from deepfake_core.storage.opening import open_storage


def write_report(run: Json, rows: pa.Table, output: str, *, thumbnails: bool) -> Json:
    """Write the summary and the report of a run; returns the summary.

    What there is to warn of is found once, and kept in `run`.
    """
    from deepfake_core.reporting.changes import changes_of_run
    from deepfake_core.reporting.gallery import read_thumbnails
    from deepfake_core.reporting.markdown import markdown
    from deepfake_core.reporting.report import render
    from deepfake_core.reporting.summary import summarise

    results = open_storage(output)
    changes = None
    if run.get("backlog"):
        listed = read_manifest(Results(results), str(run["run_id"]))
        changes = changes_of_run(rows, listed)
    summary = summarise(rows, run=run, changes=changes)
    if "warnings" not in run:
        limits = DriftLimits.model_validate(run.get("drift") or {})
        drifted = read_warnings(Results(results), summary, limits)
        run["warnings"] = [*(run.get("idle_globs") or ()), *drifted]
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
