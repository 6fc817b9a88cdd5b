"""New labels from stored scores: another pair of thresholds, without reading an image."""

from __future__ import annotations

import copy
import datetime as dt
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from deepfake_core.errors import BrokenInvariant, UsageError
from deepfake_core.models.decision import Thresholds, decide
from deepfake_core.records import Json, Label
from deepfake_core.reporting.run_report import write_report
from deepfake_core.results.layout import (
    MANIFEST_FILE,
    REDECIDING,
    REPORT_FILE,
    RUN_FILE,
    published_name,
    run_file,
)
from deepfake_core.results.manifest import read_manifest, replace_columns, to_bytes, unskipped
from deepfake_core.results.run_ids import check_run_id
from deepfake_core.results.schema import REDECIDED_KEY, VERDICTS, validate, with_metadata
from deepfake_core.results.store import Results
from deepfake_core.results.verdict_files import parquet_bytes, read_verdicts
from deepfake_core.storage.opening import open_storage

PREFIX = b"deepfake."
# So many characters of a run_id are left where the moment of a redecision is added to it.
STEM_CHARACTERS = 44
# The figures of a model that hold for its own thresholds only.
OF_THRESHOLDS = ("tpr_at_fake", "fpr_at_fake", "fakes_called_real", "decided_share", "labels")


def redecide(
    run_id: str, thresholds: Thresholds, *, output: str, now: dt.datetime | None = None
) -> Json:
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
    """
    results = Results(open_storage(output))
    run = _finished(results, run_id)
    before = read_verdicts(results.storage, published_name(str(run["run_date"]), run_id))
    new = _plan(results, run, thresholds, now or dt.datetime.now(dt.UTC))
    listed = read_manifest(results, run_id)
    data = to_bytes(_relisted(listed, before))
    results.storage.put(run_file(str(new["run_id"]), MANIFEST_FILE), data)
    results.put_json(new["run_id"], RUN_FILE, new)
    rows, path = _relabelled(before, new), published_name(str(new["run_date"]), str(new["run_id"]))
    results.storage.put(path, parquet_bytes(rows))
    results.update_latest(path)
    # Small pictures would have to be read from the source.
    summary = write_report(new, rows, output, thumbnails=False)
    new["state"] = "done"
    results.put_json(new["run_id"], RUN_FILE, new)
    return _result(results, new, summary)


def _finished(results: Results, run_id: str) -> Json:
    """The run.json of a finished run that judged something."""
    check_run_id(run_id)
    run = results.get_json(run_id, RUN_FILE)
    place = f"run {run_id} in {results.storage.name}"
    if run is None:
        raise UsageError(f"{place} is not there; give a finished run's id")
    if run["state"] != "done":
        raise UsageError(f"{place} is not finished; continue it, then decide again")
    if not run["counts"]["judged"]:
        raise UsageError(f"{place} judged no image; there is nothing to decide again")
    return run


def _plan(results: Results, run: Json, thresholds: Thresholds, now: dt.datetime) -> Json:
    """The run.json of the redecision; of one that was cut off, the stored one."""
    old = run.get("redecided") or {"scan": run["run_id"], "scan_started": run["run_started"]}
    stem = f"{old['scan'][:STEM_CHARACTERS]}."
    siblings = [name for name in results.storage.names("runs") if name.startswith(stem)]
    about = {
        "scan": old["scan"],
        "scan_started": old["scan_started"],
        "from": run["run_id"],
        "thresholds_before": run["thresholds"],
    }
    for name in siblings:
        stored = results.get_json(name, RUN_FILE) or {"state": None}
        same = stored.get("thresholds") == thresholds.model_dump()
        if stored["state"] == REDECIDING and same and stored["redecided"]["from"] == about["from"]:
            return stored
    new_id = f"{stem}{now:%Y%m%dT%H%M%SZ}"
    if new_id in siblings:
        new_id += f"-{len(siblings)}"
    started = dt.datetime.fromisoformat(old["scan_started"])
    started += dt.timedelta(microseconds=len(siblings) + 1)
    return copy.deepcopy(run) | {
        "run_id": new_id,
        "run_started": started.isoformat(timespec="microseconds"),
        "state": REDECIDING,
        "redecided": {**about, "at": now.isoformat(timespec="seconds")},
        "thresholds": thresholds.model_dump(),
        "finished": now.isoformat(timespec="seconds"),
        "timings": {"seconds": 0.0},
        "card": _card(run.get("card") or {}, thresholds),
        "new": 0,
        "backlog": run["counts"]["judged"],
        "left": 0,
        "gone": None,
        "renamed": None,
        # Its labels were moved on purpose.
        "warnings": [],
    }


def _card(card: Json, thresholds: Thresholds) -> Json:
    """The model's figures without those that hold for its own thresholds."""
    figures = {
        name: {key: value for key, value in found.items() if key not in OF_THRESHOLDS}
        | _at_line(found.get("curve"), thresholds.fake_from)
        for name, found in dict(card.get("figures") or {}).items()
        if isinstance(found, dict)
    }
    limit = (
        f"These labels were decided with real below {thresholds.real_below:g} and fake from "
        f"{thresholds.fake_from:g}, which are not the thresholds that the model was tested with."
    )
    return {**card, "figures": figures, "limits": [*(card.get("limits") or []), limit]}


def _at_line(curve: Json | None, fake_from: float) -> Json:
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


def _relabelled(before: pa.Table, new: Json) -> pa.Table:
    """The published rows of the redecision, with a footer that says what they are."""
    thresholds = Thresholds(**new["thresholds"])
    decided = pc.is_in(before["label"], pa.array([str(label) for label in Label]))
    scores = pc.fill_null(before["score"], 0.0).to_numpy()
    labels = pa.array([str(label) for label in decide(scores, thresholds)], pa.string())
    columns: dict[str, Any] = {
        # A label that is not decided by the score stays.
        "label": pc.if_else(pc.fill_null(decided, False), labels, before["label"]),
        "run_id": pa.repeat(str(new["run_id"]), before.num_rows),
        "run_started": pa.repeat(dt.datetime.fromisoformat(new["run_started"]), before.num_rows),
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
    about = new["redecided"]
    footer |= {
        "run_id": str(new["run_id"]),
        "thresholds": thresholds.model_dump_json(),
        REDECIDED_KEY.removeprefix(PREFIX).decode(): about["from"],
        "redecided_at": about["at"],
        "thresholds_before": Thresholds(**about["thresholds_before"]).model_dump_json(),
    }
    return with_metadata(rows.cast(VERDICTS), footer)


def _result(results: Results, new: Json, summary: Json) -> Json:
    path = published_name(str(new["run_date"]), str(new["run_id"]))
    changes = summary["changes"]
    return {
        "run_id": new["run_id"],
        "run_date": new["run_date"],
        "redecided_from": new["redecided"]["from"],
        "model_id": new["model_id"],
        "thresholds": new["thresholds"],
        "thresholds_before": new["redecided"]["thresholds_before"],
        **new["counts"],
        "labels": summary["labels"],
        "flipped": changes["flipped"],
        "changes": changes["by"],
        "verdicts": results.storage.address(path),
        "report": results.storage.address(run_file(str(new["run_id"]), REPORT_FILE)),
    }
