"""From judgements to the rows of the verdict table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from deepfake_core.inference.judgement import JudgedFace, Judgement
from deepfake_core.provenance.claims import as_rows
from deepfake_core.records import Json
from deepfake_core.results.run_record import RowFacts
from deepfake_core.results.schema import VERDICTS


def verdict_rows(
    entries: Sequence[Json], judgements: Sequence[Judgement], run: RowFacts
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


def judged_columns(judgements: Sequence[Judgement]) -> dict[str, list[Any]]:
    """The columns that a judgement fills, by name."""
    failures = [judgement.failure for judgement in judgements]
    return {
        "status": ["failed" if failure else "ok" for failure in failures],
        "failure": [failure and str(failure.code) for failure in failures],
        "detail": [(failure and failure.detail) or None for failure in failures],
        "label": [judgement.label and str(judgement.label) for judgement in judgements],
        "reason": [judgement.reason and str(judgement.reason) for judgement in judgements],
        "faces": [_faces(judgement.faces) for judgement in judgements],
        "provenance": [as_rows(judgement.provenance) for judgement in judgements],
        **{
            name: [getattr(judgement, name) for judgement in judgements]
            for name in (
                *("sha256", "format", "width", "height", "logit", "score", "faces_found"),
                *("second_model_id", "score_low", "score_high"),
            )
        },
    }


def _faces(faces: Sequence[JudgedFace] | None) -> list[Json] | None:
    if faces is None:
        return None
    names = (
        *("x", "y", "width", "height", "size", "roll", "found"),
        *("logit", "second_logit", "score"),
    )
    return [
        {**{name: getattr(face, name) for name in names}, "label": str(face.label)}
        for face in faces
    ]
