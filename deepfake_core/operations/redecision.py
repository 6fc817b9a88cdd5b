"""New labels from stored scores: another pair of thresholds, without reading an image."""

from __future__ import annotations

import datetime as dt
import secrets
from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from deepfake_core.errors import BrokenInvariant, UsageError
from deepfake_core.models.decision import Thresholds
from deepfake_core.operations.relabelling import relabelled
from deepfake_core.reporting.run_report import write_report
from deepfake_core.reporting.summary_record import Summary
from deepfake_core.results.layout import (
    MANIFEST_FILE,
    REDECIDING,
    REPORT_FILE,
    published_name,
    run_file,
)
from deepfake_core.results.manifest import read_manifest, replace_columns, to_bytes, unskipped
from deepfake_core.results.recording import close_run
from deepfake_core.results.run_ids import check_run_id
from deepfake_core.results.run_record import ModelFacts, Redecided, RunRecord
from deepfake_core.results.schema import REDECIDED_KEY, VERDICTS, validate, with_metadata
from deepfake_core.results.store import Results
from deepfake_core.results.verdict_files import parquet_bytes, read_verdicts
from deepfake_core.storage.opening import open_storage
from deepfake_core.storage.output_lock import beside_others

PREFIX = b"deepfake."
# So many characters of a run_id are left where the moment of a redecision is added to it.
STEM_CHARACTERS = 44
# The figures of a model that hold for its own thresholds only.
OF_THRESHOLDS = ("tpr_at_fake", "fpr_at_fake", "fakes_called_real", "decided_share", "labels")


class RedecisionResult(TypedDict):
    """What a redecision gave, as ``--json`` prints it."""

    run_id: str
    run_date: str
    redecided_from: str
    model_id: str
    thresholds: dict[str, float]
    thresholds_before: dict[str, float]
    listed: int
    skipped: int
    judged: int
    failed: int
    labels: dict[str, int]
    flipped: int
    changes: list[dict[str, object]]
    verdicts: str
    report: str


def redecide(
    run_id: str, thresholds: Thresholds, *, output: str | Results, now: dt.datetime | None = None
) -> RedecisionResult:
    """Decide a finished run's labels again and publish them as a run of their own.

    The new rows are those of the run but for label, run_id and run_started. The last is that of
    the scan and a microsecond (in a second redecision two, and so on): so they replace the scan's
    rows in ``latest.parquet``, and those of no scan that judged later. One that was cut off is
    finished by asking for it again.

    Args:
        run_id: the run, a scan or another redecision.
        thresholds: where the labels begin now.
        output: the folder of results, local or a URL.
        now: when this is done, UTC; the clock's time by default.

    Returns:
        The new run: ``run_id``, ``redecided_from``, thresholds, counts, labels, which labels
        changed, and the addresses of verdicts and report.

    Raises:
        UsageError: there is no such run, it is not finished, or it judged nothing.
        OutputBusy: somebody rewrites the output.
    """
    results = output if isinstance(output, Results) else Results(open_storage(output))
    now = now or dt.datetime.now(dt.UTC)
    with beside_others(results.storage, f"a redecision of run {run_id}"):
        return _redecide(results, run_id, thresholds, now)


def _redecide(
    results: Results, run_id: str, thresholds: Thresholds, now: dt.datetime
) -> RedecisionResult:
    run = _finished(results, run_id)
    before = read_verdicts(results.storage, published_name(run.run_date, run_id))
    siblings = [name for name in results.storage.names("runs") if name.startswith(_stem(run))]
    cut_off = _cut_off(results, siblings, run, thresholds)
    new = cut_off or _plan(run, siblings, thresholds, now)
    listed = read_manifest(results, run_id)
    data = to_bytes(_relisted(listed, before))
    if not results.storage.create(run_file(new.run_id, MANIFEST_FILE), data) and cut_off is None:
        # Another redecision has just taken this name, or was cut off before it told of itself.
        new.run_id = f"{new.run_id}-{secrets.token_hex(2)}"
        results.storage.put(run_file(new.run_id, MANIFEST_FILE), data)
    results.put_run(new)
    rows, path = _relabelled(before, new, thresholds), published_name(new.run_date, new.run_id)
    results.storage.put(path, parquet_bytes(rows))
    results.update_latest(path)
    # Small pictures would have to be read from the source.
    summary = write_report(new, rows, results, thumbnails=False)
    new.state = "done"
    close_run(results, new, "redecide")
    return _result(results, new, summary)


def _finished(results: Results, run_id: str) -> RunRecord:
    """The run.json of a finished run that judged something."""
    check_run_id(run_id)
    run = results.get_run(run_id)
    place = f"run {run_id} in {results.storage.name}"
    if run is None:
        raise UsageError(f"{place} is not there; give a finished run's id")
    if run.state != "done":
        raise UsageError(f"{place} is not finished; continue it, then decide again")
    if not run.counts.judged:
        raise UsageError(f"{place} judged no image; there is nothing to decide again")
    return run


def _scan_of(run: RunRecord) -> tuple[str, str]:
    """The scan that judged the images of a run, and when it started."""
    old = run.redecided
    return (old.scan, old.scan_started) if old else (run.run_id, run.run_started)


def _stem(run: RunRecord) -> str:
    """What the names of all redecisions of a run's scan begin with."""
    return f"{_scan_of(run)[0][:STEM_CHARACTERS]}."


def _cut_off(
    results: Results, siblings: Sequence[str], run: RunRecord, thresholds: Thresholds
) -> RunRecord | None:
    """The same redecision, which was begun and not ended."""
    for name in siblings:
        stored = results.get_run(name)
        if stored is not None and _is_unfinished(stored, run.run_id, thresholds):
            return stored
    return None


def _plan(
    run: RunRecord, siblings: Sequence[str], thresholds: Thresholds, now: dt.datetime
) -> RunRecord:
    """The run.json of the redecision."""
    if run.thresholds is None:
        raise BrokenInvariant(f"run {run.run_id} is finished and its run.json has no thresholds")
    scan, scan_started = _scan_of(run)
    new_id = f"{_stem(run)}{now:%Y%m%dT%H%M%SZ}"
    if new_id in siblings:
        new_id += f"-{len(siblings)}"
    started = dt.datetime.fromisoformat(scan_started) + dt.timedelta(microseconds=len(siblings) + 1)
    about = Redecided(
        scan=scan,
        scan_started=scan_started,
        origin=run.run_id,
        thresholds_before=run.thresholds,
        at=now.isoformat(timespec="seconds"),
    )
    changes = {
        "run_id": new_id,
        "run_started": started.isoformat(timespec="microseconds"),
        "state": REDECIDING,
        "redecided": about,
        "thresholds": thresholds,
        "finished": about.at,
        "timings": {"seconds": 0.0},
        "card": _card(run.card, thresholds),
        "new": 0,
        "backlog": run.counts.judged,
        "left": 0,
        "gone": None,
        "renamed": None,
        "tags": None,
        # Its labels were moved on purpose.
        "warnings": [],
    }
    return run.model_copy(update=changes, deep=True)


def _is_unfinished(stored: RunRecord, origin: str, thresholds: Thresholds) -> bool:
    """Whether a stored run is the same redecision, cut off."""
    about = stored.redecided
    if stored.state != REDECIDING or about is None:
        return False
    return about.origin == origin and stored.thresholds == thresholds


def _card(card: ModelFacts, thresholds: Thresholds) -> ModelFacts:
    """The model's figures without those that hold for its own thresholds."""
    figures = {
        name: {key: value for key, value in measured.items() if key not in OF_THRESHOLDS}
        | _at_line(measured.get("curve"), thresholds.fake_from)
        for name, measured in card.figures.items()
        if isinstance(measured, dict)
    }
    limit = (
        f"These labels were decided with real below {thresholds.real_below:g} and fake from "
        f"{thresholds.fake_from:g}, which are not the thresholds that the model was tested with."
    )
    return card.model_copy(update={"figures": figures, "limits": (*card.limits, limit)})


def _at_line(curve: Mapping[str, list[float]] | None, fake_from: float) -> dict[str, float]:
    """What was measured with a threshold of `fake`, where it is one of those that were."""
    if curve is None or fake_from not in curve["threshold"]:
        return {}
    at = curve["threshold"].index(fake_from)
    return {"tpr_at_fake": curve["tpr"][at], "fpr_at_fake": curve["fpr"][at]}


def _relisted(listed: pa.Table, rows: pa.Table) -> pa.Table:
    """The manifest with the labels from before, in the order of the names."""
    wanted = pc.is_null(listed["skip"])
    if not unskipped(listed)["image"].equals(rows["image"]):
        raise BrokenInvariant("the manifest and the published rows of the run differ")
    at = np.flatnonzero(wanted.to_numpy(zero_copy_only=False))
    places = np.full(listed.num_rows, -1)
    places[at] = np.arange(len(at))
    of_row = pa.array(places, mask=places < 0)
    return replace_columns(
        listed,
        seen=rows["run_started"].take(of_row),
        seen_label=rows["label"].take(of_row),
        seen_model=rows["model_id"].take(of_row),
        turn=pa.nulls(listed.num_rows, pa.int64()),
    )


def _relabelled(before: pa.Table, new: RunRecord, thresholds: Thresholds) -> pa.Table:
    """The published rows of the redecision, with a footer that says what they are."""
    columns: dict[str, Any] = {
        **relabelled(before, thresholds),
        "run_id": pa.repeat(new.run_id, before.num_rows),
        "run_started": pa.repeat(new.started, before.num_rows),
    }
    rows = before.replace_schema_metadata()
    for name, values in columns.items():
        at = VERDICTS.get_field_index(name)
        rows = rows.set_column(at, VERDICTS.field(at), values.cast(VERDICTS.field(at).type))
    validate(rows)
    footer = {
        key.removeprefix(PREFIX).decode(): value.decode()
        for key, value in before.schema.metadata.items()
        if key.startswith(PREFIX)
    }
    about = _about(new)
    footer |= {
        "run_id": new.run_id,
        "thresholds": thresholds.model_dump_json(),
        REDECIDED_KEY.removeprefix(PREFIX).decode(): about.origin,
        "redecided_at": about.at,
        "thresholds_before": about.thresholds_before.model_dump_json(),
    }
    return with_metadata(rows.cast(VERDICTS), footer)


def _about(new: RunRecord) -> Redecided:
    if new.redecided is None:
        raise BrokenInvariant(f"run {new.run_id} does not say what it decides again")
    return new.redecided


def _result(results: Results, new: RunRecord, summary: Summary) -> RedecisionResult:
    if summary.changes is None or summary.thresholds is None:
        raise BrokenInvariant(f"run {new.run_id} decided labels again and compared none")
    path = published_name(new.run_date, new.run_id)
    about = _about(new)
    return {
        "run_id": new.run_id,
        "run_date": new.run_date,
        "redecided_from": about.origin,
        "model_id": new.model_id,
        "thresholds": summary.thresholds.model_dump(),
        "thresholds_before": about.thresholds_before.model_dump(),
        "listed": new.counts.listed,
        "skipped": new.counts.skipped,
        "judged": new.counts.judged,
        "failed": new.counts.failed,
        "labels": summary.labels,
        "flipped": summary.changes.flipped,
        "changes": [change.as_json() for change in summary.changes.by],
        "verdicts": results.storage.address(path),
        "report": results.storage.address(run_file(new.run_id, REPORT_FILE)),
    }
