"""Which pictures of a scan a reviewer sees, and in which order."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from deepfake_core.records import DECIDED, Label
from deepfake_core.reporting.findings import declares_generated
from deepfake_core.reporting.review_estimates import random_order

# How many pictures of each label the random share offers; more of it can be had by going on.
RANDOM_SHARE: Mapping[str, int] = {Label.FAKE: 60, Label.UNCERTAIN: 30, Label.REAL: 60}
# A photograph that is flagged costs so many times what a fake does that is missed.
COST_OF_ACCUSING = 5.0
# Of four pictures one is of the random share.
COSTLY_BETWEEN = 3
MOST = 2000

COSTLY, RANDOM, HIGHEST = "costliest errors first", "random share only", "highest scores first"
ORDERS = (COSTLY, RANDOM, HIGHEST)
DECLARED, CAMERA, SILENT = "declares itself generated", "names a camera", "says nothing"
CLAIMS = (DECLARED, CAMERA, SILENT)


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which pictures are wanted; what is empty filters nothing.

    Attributes:
        labels: labels.
        folder: the beginning of the path.
        reasons: reasons of a label.
        claims: of `CLAIMS`.
        order: of `ORDERS`.
    """

    labels: tuple[str, ...] = ()
    folder: str = ""
    reasons: tuple[str, ...] = ()
    claims: tuple[str, ...] = ()
    order: str = COSTLY


@dataclass(frozen=True, slots=True)
class Reviewable:
    """A scan as it is reviewed.

    Attributes:
        run_id: the scan.
        judged: its rows with a score, each content once.
        ordered: the sha256 of each label's pictures, in the random order of the run.
    """

    run_id: str
    judged: pa.Table
    ordered: Mapping[str, Sequence[str]]


def reviewable(rows: pa.Table, run_id: str) -> Reviewable:
    """What can be reviewed of a scan's rows."""
    labels = [str(label) for label in DECIDED]
    judged = rows.filter(pc.is_in(rows["label"], pa.array(labels)))
    _, first = np.unique(judged["sha256"].to_numpy(), return_index=True)
    judged = judged.take(pa.array(np.sort(first)))
    ordered = {
        label: random_order(
            judged.filter(pc.equal(judged["label"], label))["sha256"].to_pylist(), run_id
        )
        for label in labels
    }
    return Reviewable(run_id, judged, ordered)


def queue(scan: Reviewable, wanted: Wanted) -> list[int]:
    """The positions of the pictures that are shown, in their order; at most 2,000.

    Args:
        scan: what can be reviewed.
        wanted: filters and order. The random share knows no filter: it speaks for the whole run.
    """
    judged = scan.judged
    share = _random_share(scan)
    if wanted.order == RANDOM:
        return share
    kept = np.flatnonzero(_mask(judged, wanted))
    weight = scores = judged["score"].to_numpy()
    if wanted.order == COSTLY:
        weight = expected_cost(scores, judged["label"].to_pylist())
    ordered: list[int] = kept[np.argsort(-weight[kept], kind="stable")].tolist()
    filtered = wanted.labels or wanted.folder or wanted.reasons or wanted.claims
    if wanted.order == COSTLY and not filtered:
        ordered = list(dict.fromkeys(_between(ordered, share)))
    return ordered[:MOST]


def expected_cost(
    scores: npt.NDArray[np.float32], labels: Sequence[str]
) -> npt.NDArray[np.float64]:
    """What the error costs that a label may be, weighed by how likely it is.

    Args:
        scores: float32[N] in [0, 1], calibrated.
        labels: of the same pictures.

    Returns:
        float64[N]; an uncertain picture costs what the likelier of both errors would.
    """
    fake = scores.astype(np.float64)
    accused, missed = COST_OF_ACCUSING * (1 - fake), fake
    called = np.array(labels)
    return np.where(
        called == Label.FAKE,
        accused,
        np.where(called == Label.REAL, missed, np.maximum(missed, 1 - fake)),
    )


def _random_share(scan: Reviewable) -> list[int]:
    """The random share of all labels, taken in turn, so that each grows evenly."""
    heads = [those[: RANDOM_SHARE[label]] for label, those in scan.ordered.items()]
    longest = max(map(len, heads), default=0)
    turn = [head[at] for at in range(longest) for head in heads if at < len(head)]
    places: list[int] = pc.index_in(
        pa.array(turn, pa.string()), scan.judged["sha256"].combine_chunks()
    ).to_pylist()
    return places


def _between(ordered: Sequence[int], share: Sequence[int]) -> Iterator[int]:
    """One of the random share after every three others; what is in both comes once."""
    rest = iter(share)
    for at, position in enumerate(ordered):
        yield position
        if at % COSTLY_BETWEEN == COSTLY_BETWEEN - 1:
            yield from (nearest for nearest in [next(rest, None)] if nearest is not None)
    yield from rest


def _mask(judged: pa.Table, wanted: Wanted) -> npt.NDArray[np.bool_]:
    keep = np.ones(judged.num_rows, bool)
    if wanted.labels:
        keep &= pc.is_in(judged["label"], pa.array(wanted.labels)).to_numpy()
    if wanted.reasons:
        keep &= pc.is_in(judged["reason"], pa.array(wanted.reasons)).to_numpy()
    if wanted.folder:
        keep &= pc.starts_with(judged["image"], wanted.folder).to_numpy()
    if wanted.claims:
        keep &= _claims(judged, wanted.claims)
    return keep


def _claims(judged: pa.Table, claims: Sequence[str]) -> npt.NDArray[np.bool_]:
    declared = declares_generated(judged)
    silent = pc.is_null(judged["provenance"]).to_numpy()
    has = {DECLARED: declared, SILENT: silent, CAMERA: _names_camera(judged)}
    together: npt.NDArray[np.bool_] = np.any([has[claim] for claim in claims], axis=0)
    return together


def _names_camera(judged: pa.Table) -> npt.NDArray[np.bool_]:
    claims = judged["provenance"].combine_chunks()
    camera = pc.equal(pc.struct_field(pc.list_flatten(claims), "kind"), "camera")
    named = np.zeros(judged.num_rows, bool)
    named[pc.list_parent_indices(claims).to_numpy()[camera.to_numpy(zero_copy_only=False)]] = True
    return named
