"""How far a face is from those of two classes, and how many of them are as far.

The distance is Mahalanobis' to the nearer class. Of some hundreds of channels and faces only the
widest directions can be estimated; the others share one variance (Tipping & Bishop 1999).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from deepfake_core.evaluation.metrics import BoolArray
from deepfake_core.records import Float32Array

Float64Array = npt.NDArray[np.float64]

# 32 to 200 directions differ by at most two points of AUC.
DIRECTIONS = 96
LEAST_SPREAD = 1e-4


@dataclass(frozen=True, slots=True)
class Known:
    """Where the faces of both classes lie.

    Attributes:
        spread: float32[D], what values are divided by.
        means: float32[2, D], of photographs and of fakes, after that.
        directions: float32[D, K], orthonormal.
        variances: float32[K], along the directions.
        rest: the variance along any other direction.
    """

    spread: Float32Array
    means: Float32Array
    directions: Float32Array
    variances: Float32Array
    rest: float

    def distances(self, values: Float32Array) -> Float32Array:
        """Squared distances to both classes: float32[N, 2] of float32[N, D]."""
        distances = [self._distances(values / self.spread - mean) for mean in self.means]
        return np.stack(distances, axis=1)

    def _distances(self, from_mean: Float32Array) -> Float32Array:
        along = (from_mean @ self.directions) ** 2
        others = (from_mean**2).sum(axis=1) - along.sum(axis=1)
        distances = (along / self.variances).sum(axis=1) + others / np.float32(self.rest)
        return np.asarray(distances, np.float32)


def fit_known(values: Float32Array, fake: BoolArray) -> Known:
    """Learn where faces lie.

    Args:
        values: float32[N, D] of faces that the network was trained on.
        fake: bool[N], both classes.
    """
    spread = values.std(axis=0) + np.float32(LEAST_SPREAD)
    scaled = values / spread
    means = np.stack([scaled[~fake].mean(axis=0), scaled[fake].mean(axis=0)])
    left = scaled - means[fake.astype(int)]
    variances, directions = np.linalg.eigh(left.T @ left / len(left))
    kept = min(DIRECTIONS, len(variances) // 2)
    rest = max(float(variances[:-kept].mean()), LEAST_SPREAD)
    widest = np.maximum(variances[-kept:], np.float32(rest))
    return Known(spread, means, directions[:, -kept:], widest, rest)


def familiarity(asked: Float32Array, known: Float32Array, fake: BoolArray) -> Float64Array:
    """The conformal p-value of each face (Vovk et al. 2005), by the class that it fits better.

    Args:
        asked: float32[N, 2], distances to both classes.
        known: float32[M, 2], of faces that were neither trained on nor asked.
        fake: bool[M], their classes.

    Returns:
        float64[N] in (0, 1]. At most a share p of each class's faces lies at or below p.
    """
    familiar = [
        _share_as_far(known[fake == is_fake, at], asked[:, at])
        for at, is_fake in enumerate((False, True))
    ]
    return np.maximum(*familiar)


def _share_as_far(known: Float32Array, asked: Float32Array) -> Float64Array:
    nearer = np.searchsorted(np.sort(known), asked, side="left")
    shares: Float64Array = (1 + len(known) - nearer) / (1 + len(known))
    return shares


def together(asked: Mapping[str, Float64Array], known: Mapping[str, Float64Array]) -> Float64Array:
    """One p-value of those at several depths: how rare their geometric mean is.

    Args:
        asked: float64[N] by depth.
        known: float64[M] by depth, of the same faces that `familiarity` compared with.
    """
    mean_of = {name: np.mean([np.log(distances) for distances in some.values()], axis=0)
               for name, some in (("asked", asked), ("known", known))}  # fmt: skip
    rarer = np.searchsorted(np.sort(mean_of["known"]), mean_of["asked"], side="right")
    shares: Float64Array = (1 + rarer) / (1 + len(mean_of["known"]))
    return shares
