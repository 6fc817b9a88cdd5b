"""From judgements to the columns that they fill in a verdict."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from deepfake_core.inference.judgement import JudgedFace, Judgement
from deepfake_core.provenance.claims import as_rows


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


def _faces(faces: Sequence[JudgedFace] | None) -> list[dict[str, object]] | None:
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
