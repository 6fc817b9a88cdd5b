"""How well scores put fakes above real ones."""

from __future__ import annotations

import numpy as np


def auc(scores: np.ndarray, fake: np.ndarray) -> float:
    """Area under the ROC curve: how often a fake scores above a real one, ties count half.

    Args:
        scores: [N], of any type that can be ordered.
        fake: bool[N].

    Returns:
        0 to 1; NaN where a class is missing.

    Examples:
        >>> auc(np.array([0.9, 0.5, 0.5, 0.1]), np.array([True, True, False, False]))
        0.875
    """
    return rank_auc(np.unique(scores, return_inverse=True)[1], fake)


def rank_auc(ranks: np.ndarray, fake: np.ndarray, weights: np.ndarray | None = None) -> float:
    """The same from the ranks of the scores, equal scores having one rank.

    Args:
        ranks: int64[N] from 0.
        fake: bool[N].
        weights: [N], how often each image counts; once by default.

    Returns:
        0 to 1; NaN where a class weighs nothing.
    """
    weights = np.ones(len(fake)) if weights is None else weights
    fakes, reals = (np.bincount(ranks, weights * rows) for rows in (fake, ~fake))
    return float(auc_of_counts(fakes, reals))


def auc_of_counts(fakes: np.ndarray, reals: np.ndarray) -> np.ndarray:
    """The same from how many fakes and real ones have each score.

    Args:
        fakes: float64[..., K] by score, the lowest first.
        reals: likewise.

    Returns:
        float64[...].
    """
    below = np.cumsum(reals, axis=-1) - reals
    pairs = fakes.sum(axis=-1) * reals.sum(axis=-1)
    with np.errstate(invalid="ignore"):
        above = (fakes * (below + reals / 2)).sum(axis=-1)
        return np.asarray(above / np.where(pairs, pairs, np.nan))
