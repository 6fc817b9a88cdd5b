"""From judgements to the rows of the verdict table."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from deepfake_core.inference.columns import judged_columns
from deepfake_core.inference.judgement import Judgement
from deepfake_core.results.manifest import Entry
from deepfake_core.results.run_record import RowFacts
from deepfake_core.results.schema import VERDICTS


def verdict_rows(
    entries: Sequence[Entry], judgements: Sequence[Judgement], run: RowFacts
) -> pa.Table:
    """The verdict table of images and their judgements, in order.

    Args:
        entries: rows of the manifest.
        judgements: one per entry.
        run: its facts go into each row.
    """
    count = len(entries)
    columns = {
        "image": [entry["image"] for entry in entries],
        "source": [run.source] * count,
        "etag": [entry["etag"] for entry in entries],
        "bytes": [entry["bytes"] for entry in entries],
        **judged_columns(judgements),
        "model_id": [run.model_id] * count,
        "run_id": [run.run_id] * count,
        "run_started": [run.started] * count,
    }
    return pa.table({name: columns[name] for name in VERDICTS.names}, schema=VERDICTS)
