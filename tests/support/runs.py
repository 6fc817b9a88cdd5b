"""Runs and summaries as tests need them."""

from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from deepfake_core.results.run_record import RunRecord


def a_run(rows: pa.Table | None = None, **facts: Any) -> RunRecord:
    """A run with usual facts; its counts are those of the rows, where some are given."""
    usual: dict[str, Any] = {
        "run_id": "run",
        "run_date": "2026-11-24",
        "run_started": "2026-11-24T02:00:00+00:00",
        "source": "/pictures",
        "model_id": "tiny@1+00000000",
        "precision": "fp32",
        "engine": "openvino",
        "shard_size": 4096,
        "state": "done",
    }
    if rows is not None:
        judged = pc.sum(pc.equal(rows["status"], "ok")).as_py() or 0
        counts = {"listed": len(rows), "judged": judged, "failed": len(rows) - judged}
        usual["counts"] = {**counts, "skipped": 0}
    return RunRecord.model_validate(usual | facts)
