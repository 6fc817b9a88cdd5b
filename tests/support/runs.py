"""Runs and summaries as tests need them."""

from typing import Any

import pyarrow as pa

from deepfake_core.reporting.summary import count_rows
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
        found = count_rows(rows)
        usual["counts"] = {**found.model_dump(), "listed": len(rows), "skipped": 0}
    return RunRecord.model_validate(usual | facts)
