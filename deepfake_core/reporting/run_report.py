"""Write the report of a run, or render it again."""

from __future__ import annotations

import contextlib
import json

import pyarrow as pa
from pydantic import ValidationError

from deepfake_core.errors import DamagedFile, UsageError, damaged
from deepfake_core.reporting.drift import DriftLimits, read_warnings
from deepfake_core.reporting.summary_record import LabelChanges, Summary
from deepfake_core.reporting.suspicion import suspicions
from deepfake_core.results.layout import (
    MANIFEST_FILE,
    MARKDOWN_FILE,
    REPORT_FILE,
    SUMMARY_FILE,
    published_name,
    run_file,
)
from deepfake_core.results.manifest import read_manifest
from deepfake_core.results.recording import rewrite
from deepfake_core.results.run_ids import check_run_id
from deepfake_core.results.run_record import RunRecord
from deepfake_core.results.schema import VERDICTS
from deepfake_core.results.store import Results
from deepfake_core.results.verdict_files import read_verdicts
from deepfake_core.storage.opening import open_storage
from deepfake_core.storage.output_lock import beside_others


def write_report(run: RunRecord, rows: pa.Table, results: Results, *, thumbnails: bool) -> Summary:
    """Write the summary and the report of a run; returns the summary.

    What there is to warn of is found once, and kept in `run`.
    """
    summary, contents = make_report(run, rows, results, thumbnails=thumbnails)
    for path, data in contents.items():
        results.put(path, data)
    return summary


def make_report(
    run: RunRecord, rows: pa.Table, results: Results, *, thumbnails: bool
) -> tuple[Summary, dict[str, bytes]]:
    """The same without writing: the summary, and the files' contents by their paths."""
    from deepfake_core.reporting.gallery import read_thumbnails
    from deepfake_core.reporting.markdown import markdown
    from deepfake_core.reporting.report import render
    from deepfake_core.reporting.summary import summarise

    summary = summarise(rows, run=run, changes=_changes(run, rows, results))
    if run.warnings is None:
        limits = DriftLimits.model_validate(run.drift or {})
        drifted = read_warnings(results, summary, limits)
        run.warnings = summary.warnings = [*suspicions(run), *run.idle_globs, *drifted]
    pictures = read_thumbnails(summary, open_storage(run.source)) if thumbnails else {}
    contents = {
        SUMMARY_FILE: json.dumps(summary.as_json(), indent=1, ensure_ascii=False) + "\n",
        MARKDOWN_FILE: markdown(summary),
        REPORT_FILE: render(summary, thumbnails=pictures),
    }
    return summary, {
        run_file(run.run_id, name): text.encode("utf-8", "replace")
        for name, text in contents.items()
    }


def _changes(run: RunRecord, rows: pa.Table, results: Results) -> LabelChanges | None:
    """The labels that are not as they were, as far as that is still known."""
    from deepfake_core.reporting.changes import changes_of_run, left_of_changes

    if not run.backlog:
        return None
    manifest = run_file(run.run_id, MANIFEST_FILE)
    with contextlib.suppress(DamagedFile):
        if results.storage.exists(manifest):
            return changes_of_run(rows, read_manifest(results, run.run_id))
    # Retention removes the manifests of old runs; what the summary counted is still right.
    with contextlib.suppress(DamagedFile):
        before = read_summary(results, run.run_id).changes
        return None if before is None else left_of_changes(before, rows)
    return None


def read_summary(results: Results, run_id: str) -> Summary:
    """The stored summary of a run; an empty one where it is missing.

    Raises:
        DamagedFile: it is not what was written.
    """
    try:
        return Summary.model_validate(results.get_json(run_id, SUMMARY_FILE) or {})
    except ValidationError as error:
        address = results.storage.address(run_file(run_id, SUMMARY_FILE))
        raise damaged(address, error.errors()[0]["msg"]) from error


def report_again(run_id: str, output: str | Results, *, thumbnails: bool) -> str:
    """Render a finished run's report again from its verdicts; returns its address.

    Args:
        run_id: the run.
        output: the folder of results, local or a URL.
        thumbnails: whether it shows small pictures.

    Raises:
        UsageError: there is no such run, or it is not finished.
        OutputBusy: somebody rewrites the output.
    """
    check_run_id(run_id)
    results = output if isinstance(output, Results) else Results(open_storage(output))
    with beside_others(results.storage, f"a report of run {run_id}"):
        return _report_again(results, run_id, thumbnails=thumbnails)


def _report_again(results: Results, run_id: str, *, thumbnails: bool) -> str:
    run = results.get_run(run_id)
    if run is None or run.state != "done":
        state = "is not finished; continue it" if run else "is not there"
        raise UsageError(
            f"run {run_id} in {results.storage.name} {state}; give a finished run's id"
        )
    path = published_name(run.run_date, run_id)
    rows = read_verdicts(results.storage, path) if run.has_rows else VERDICTS.empty_table()
    rewrite(results, run_id, "report", make_report(run, rows, results, thumbnails=thumbnails)[1])
    return results.storage.address(run_file(run_id, REPORT_FILE))
