"""What a finished scan gives back, as ``--json`` prints it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypedDict

from deepfake_core.rendering.text import one_line
from deepfake_core.reporting.run_report import read_summary
from deepfake_core.results.layout import REPORT_FILE, published_name, run_file
from deepfake_core.scanning.plan import Plan

# Folders that are named on a terminal; the report names all.
NAMED = 5


class ScanResult(TypedDict):
    """The result of a scan; counts as in ``run.json``, labels and warnings as in the summary."""

    run_id: str
    run_date: str
    listed: int
    skipped: int
    judged: int
    not_applicable: int
    failed: int
    labels: dict[str, int]
    reasons: dict[str, int]
    failures: dict[str, int]
    skipped_reasons: dict[str, int]
    new: int | None
    backlog: int | None
    left: int | None
    gone: int | None
    renamed: int | None
    known_flagged: int | None
    unlisted_folders: list[str]
    flipped: int | None
    suspect: bool
    warnings: list[Mapping[str, object]]
    model_id: str
    precision: str
    engine: str
    faces: str
    finder_id: str | None
    second_look: str
    second_model_id: str | None
    tags: dict[str, int] | None
    verdicts: str | None
    report: str
    seconds: float


def unlisted_words(folders: Sequence[str]) -> list[str]:
    """That folders could not be listed, as a sentence; none where all could be."""
    if not folders:
        return []
    named = ", ".join(one_line(folder) for folder in folders[:NAMED])
    more = f" and {len(folders) - NAMED} more" if len(folders) > NAMED else ""
    count = "1 folder" if len(folders) == 1 else f"{len(folders)} folders"
    return [f"{count} could not be listed, what is in there is unknown: {named}{more}"]


def result_of(plan: Plan) -> ScanResult:
    """What a finished run gave."""
    results, run_id, run = plan.results, plan.run_id, plan.run
    summary = read_summary(results, run_id)
    path = published_name(run.run_date, run_id)
    return {
        "run_id": run_id,
        "run_date": run.run_date,
        "listed": run.counts.listed,
        "skipped": run.counts.skipped,
        "judged": run.counts.judged,
        "not_applicable": run.counts.not_applicable,
        "failed": run.counts.failed,
        "labels": summary.labels,
        "reasons": summary.reasons,
        "failures": summary.failures,
        "skipped_reasons": run.skipped_reasons,
        "new": summary.new,
        "backlog": summary.backlog,
        "left": summary.left,
        "gone": summary.gone,
        "renamed": summary.renamed,
        "known_flagged": summary.known_flagged,
        "unlisted_folders": run.unlisted_folders,
        "flipped": summary.changes.flipped if summary.changes else None,
        "suspect": summary.suspect,
        "warnings": [warning.as_json() for warning in summary.warnings],
        "model_id": run.model_id,
        "precision": run.precision,
        "engine": run.engine,
        "faces": run.faces,
        "finder_id": run.finder_id,
        "second_look": run.second_look,
        "second_model_id": run.second_model_id,
        "tags": run.tags.model_dump() if run.tags else None,
        "verdicts": results.storage.address(path) if run.has_rows else None,
        "report": results.storage.address(run_file(run_id, REPORT_FILE)),
        "seconds": run.timings["seconds"],
    }
