"""How the faster precisions of a model compare with fp32, as its bundle records it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict


class PrecisionRecord(TypedDict, total=False):
    """A precision against fp32, see `deepfake_core.release.precision_agreement.Agreement`.

    Attributes:
        emulated: of bf16: whether its rounding was emulated.
        shipped: of int8: whether this way to it is the one in the bundle.
        labels_changed: of earlier bundles, which were tested by their accuracy at one threshold.
        images_for_flips: likewise, of how many.
    """

    faces: int
    flips: int
    changed: int
    changed_at_most: float
    largest_difference: float
    labelled: int
    auc_loss: float
    auc_loss_interval: Sequence[float | None]
    reasons: Sequence[str]
    qualified: bool
    emulated: bool
    shipped: bool
    labels_changed: int
    images_for_flips: int


class Qualification(TypedDict, total=False):
    """The precisions that were tried; int8 in several ways, by name."""

    int8: dict[str, PrecisionRecord]
    bf16: PrecisionRecord
