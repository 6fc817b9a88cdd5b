"""Finished runs, written as a scan would leave them, without a scan."""

import datetime as dt
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from deepfake_core.results.layout import RUN_FILE, published_name, run_file
from deepfake_core.results.schema import VERDICTS, with_metadata
from deepfake_core.results.verdict_files import parquet_bytes

USUAL: dict[str, Any] = {
    "source": "/pictures",
    "etag": "1-1",
    "bytes": 100,
    "format": "JPEG",
    "width": 64,
    "height": 48,
    "model_id": "tiny@1+00000000",
}


def row(image: str, score: float | None, label: str | None, **columns: Any) -> dict[str, Any]:
    """A verdict row; without a label a failed one."""
    failed = label is None
    status = {"status": "failed" if failed else "ok", "failure": "read.failed" if failed else None}
    logit = None if score is None else 10 * score - 5
    found = {"image": image, "score": score, "logit": logit, "label": label, "sha256": image * 3}
    return USUAL | status | found | columns


def publish(
    output: Path,
    rows: Sequence[dict[str, Any]],
    *,
    run_id: str = "run-1",
    run_date: str = "2026-11-24",
    **facts: Any,
) -> None:
    """Write a finished run's files."""
    started = dt.datetime.fromisoformat(f"{run_date}T02:00:00+00:00")
    content = [one | {"run_id": run_id, "run_started": started} for one in rows]
    ordered = sorted(content, key=lambda one: one["image"].encode())
    failed = sum(one["status"] == "failed" for one in rows)
    refused = sum(one["label"] == "not_applicable" for one in rows)
    counts = {"listed": len(rows), "skipped": 0, "judged": len(rows) - failed - refused}
    counts |= {"not_applicable": refused, "failed": failed}
    run = {
        "run_id": run_id,
        "run_date": run_date,
        "run_started": started.isoformat(timespec="microseconds"),
        "finished": (started + dt.timedelta(hours=1)).isoformat(timespec="seconds"),
        "source": USUAL["source"],
        "model_id": USUAL["model_id"],
        "precision": "fp32",
        "engine": "openvino",
        "shard_size": 4096,
        "state": "done",
        "counts": counts,
        "thresholds": {"real_below": 0.3, "fake_from": 0.8},
        **facts,
    }
    path = output / run_file(run_id, RUN_FILE)
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(run))
    published = output / published_name(run_date, run_id)
    published.parent.mkdir(parents=True, exist_ok=True)
    table = pa.Table.from_pylist(ordered, schema=VERDICTS)
    published.write_bytes(parquet_bytes(with_metadata(table, {"run_id": run_id})))
