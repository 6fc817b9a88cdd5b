"""New labels from stored scores, for faces and for images."""

from typing import Any

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from deepfake_core.models.decision import Thresholds, decide, strongest
from deepfake_core.operations.relabelling import judged_faces, relabelled
from deepfake_core.records import Label
from deepfake_core.results.schema import VERDICTS

LOOSE = pa.schema([field.with_nullable(True) for field in VERDICTS])
SCORES = st.floats(0, 1, width=32)
FACES = st.none() | st.lists(st.none() | SCORES, max_size=5)


def row_of(scores: list[float | None] | None) -> dict[str, Any]:
    """An image of faces with these scores, or one that was judged whole."""
    if scores is None:
        return {"score": 0.5, "label": "uncertain", "faces": None}
    faces = [{"score": score, "label": "not_applicable"} for score in scores]
    judged = [score for score in scores if score is not None]
    if not judged:
        return {"score": None, "label": "not_applicable", "reason": "no_face", "faces": faces}
    return {"score": max(judged), "label": "real", "faces": faces}


def table_of(rows: list[dict[str, Any]]) -> pa.Table:
    return pa.Table.from_pylist(rows, schema=LOOSE)


@settings(max_examples=60, deadline=None)
@given(images=st.lists(FACES, max_size=6), ends=st.tuples(SCORES, SCORES))
def test_an_image_is_what_its_strongest_face_is(
    images: list[list[float | None] | None], ends: tuple[float, float]
):
    thresholds = Thresholds(real_below=min(ends), fake_from=max(ends))
    rows = table_of([row_of(scores) for scores in images])
    columns = relabelled(rows, thresholds)
    labels, faces = columns["label"].to_pylist(), columns["faces"].to_pylist()
    for scores, label, listed in zip(images, labels, faces, strict=True):
        if scores is None:
            assert listed is None
            continue
        judged = [score for score in scores if score is not None]
        expected = decide(np.array(judged, np.float32), thresholds, max(1, len(judged)))
        told = iter(expected)
        assert [face["label"] for face in listed] == [
            "not_applicable" if score is None else str(next(told)) for score in scores
        ]
        if judged:
            best = strongest(expected, judged)
            assert label == str(expected[best])
        else:
            assert label == "not_applicable"


def test_what_no_score_decides_stays():
    unstable = {"score": 0.9, "label": "uncertain", "reason": "unstable", "faces": None}
    breaks = {"score": 0.9, "score_low": 0.2, "label": "real", "faces": None}
    lasts = {"score": 0.9, "score_low": 0.8, "label": "real", "faces": None}
    failed = {"status": "failed", "label": None, "faces": None}
    rows = table_of([unstable, breaks, lasts, failed])
    columns = relabelled(rows, Thresholds(real_below=0.3, fake_from=0.5))
    assert columns["label"].to_pylist() == ["uncertain", "uncertain", "fake", None]
    assert columns["reason"].to_pylist() == ["unstable", "unstable", None, None]


def test_the_number_of_faces_counts_those_that_were_judged():
    faces = table_of([row_of(None), row_of([]), row_of([None, 0.2]), row_of([0.1, 0.2])])["faces"]
    assert judged_faces(faces.combine_chunks()).tolist() == [1, 1, 1, 2]
    assert Thresholds(real_below=0.1, fake_from=0.5).fake_from_among(3) == 0.75
    assert str(Label.FAKE) == "fake"
