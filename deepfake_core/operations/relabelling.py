"""Labels from stored scores, for images and for each of their faces."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from deepfake_core.models.decision import Thresholds, decide
from deepfake_core.records import DECIDED, Label, Reason
from deepfake_core.results.schema import FACE


def relabelled(rows: pa.Table, thresholds: Thresholds) -> dict[str, pa.Array]:
    """The columns ``label``, ``reason`` and ``faces`` by other thresholds.

    What no score decides stays: rows that are not applicable, and flags that were not stable. A
    new flag whose lowest score under cheap changes lies below the line is not stable either.

    Args:
        rows: verdict rows.
        thresholds: where the labels begin now.
    """
    faces = rows["faces"].combine_chunks()
    judged = judged_faces(faces)
    scores = pc.fill_null(rows["score"], 0.0).to_numpy()
    labels = np.array([str(label) for label in decide(scores, thresholds, judged)], object)
    lines = np.array([thresholds.fake_from_among(int(count)) for count in judged], np.float32)
    lowest = pc.fill_null(rows["score_low"], 1.0).to_numpy()
    breaks = (labels == Label.FAKE) & (lowest < lines)
    labels[breaks] = str(Label.UNCERTAIN)
    before, reasons = rows["label"], rows["reason"]
    kept = pc.fill_null(pc.equal(reasons, Reason.UNSTABLE), False)
    decided = pc.fill_null(pc.is_in(before, pa.array([str(label) for label in DECIDED])), False)
    decided = pc.and_(decided, pc.invert(kept))
    unstable = pc.if_else(pa.array(breaks), str(Reason.UNSTABLE), pa.scalar(None, pa.string()))
    return {
        "label": pc.if_else(decided, pa.array(labels, pa.string()), before),
        "reason": pc.if_else(decided, unstable, reasons),
        "faces": relabelled_faces(faces, judged, thresholds),
    }


def judged_faces(faces: pa.ListArray) -> np.ndarray:
    """int64[N]: how many faces of each image were judged, 1 where it was judged whole."""
    parents = pc.list_parent_indices(faces).to_numpy()
    has_score = pc.is_valid(faces.flatten().field("score")).to_numpy(zero_copy_only=False)
    return np.maximum(1, np.bincount(parents[has_score], minlength=len(faces)))


def relabelled_faces(
    faces: pa.ListArray, judged: np.ndarray, thresholds: Thresholds
) -> pa.ListArray:
    """The faces with their labels by other thresholds; those that were not judged keep theirs.

    Args:
        faces: the column.
        judged: int64[N], see `judged_faces`.
        thresholds: where the labels begin now.
    """
    values, parents = faces.flatten(), pc.list_parent_indices(faces).to_numpy()
    scores = values.field("score")
    decided = decide(pc.fill_null(scores, 0.0).to_numpy(), thresholds, judged[parents])
    labels = pc.if_else(
        pc.is_valid(scores),
        pa.array([str(label) for label in decided], pa.string()),
        values.field("label"),
    )
    fields = [labels if field.name == "label" else values.field(field.name) for field in FACE]
    struct = pa.StructArray.from_arrays(fields, fields=list(FACE))
    lengths = pc.fill_null(pc.list_value_length(faces), 0).to_numpy()
    offsets = pa.array(np.concatenate([[0], np.cumsum(lengths)]), pa.int32())
    mask = pc.is_null(faces)
    return pa.ListArray.from_arrays(offsets, struct, type=faces.type, mask=mask)
