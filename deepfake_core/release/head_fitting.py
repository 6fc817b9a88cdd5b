"""Fit a second look's head to new faces, without leaving the head that it had.

The new head is the old one and a linear function of the same features. Of all such functions that
explain the new faces it is the one of least norm (ridge): what the features of a few hundred faces
do not speak of stays as it was. How much the norm counts is chosen by predicting the faces of
groups that were left out, and "not at all" is one of the choices.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from deepfake_core.engines.clip_head import ClipHead
from deepfake_core.records import Float32Array

# What the norm weighs, as a multiple of the features' mean square: from nearly held to nearly free.
STRENGTHS = (1.0, 0.3, 0.1, 0.03, 0.01, 0.003, 0.001, 0.0003, 0.0001)
FOLDS = 5
# A constant feature, so large that the bias is hardly held.
CONSTANT = 100.0
NEWTON_STEPS, SMALLEST_GAIN = 50, 1e-9


@dataclass(frozen=True, slots=True)
class HeadFaces:
    """Faces to fit a head on; N views of fewer images.

    Attributes:
        features: float32[N, F], of the tower.
        fake: bool[N].
        images: N names; views of one image weigh together what another image does.
        groups: N group ids, which stay in one fold.
    """

    features: Float32Array
    fake: np.ndarray
    images: Sequence[str]
    groups: Sequence[str]


@dataclass(frozen=True, slots=True)
class FittedHead:
    """A head, and how it came about.

    Attributes:
        head: the new one.
        strength: what the norm weighed; None where nothing bettered the old head.
        losses: mean cross-entropy on the folds that were left out, by strength.
        unchanged: the same of the old head.
    """

    head: ClipHead
    strength: float | None
    losses: dict[float, float]
    unchanged: float


def fit_head(head: ClipHead, faces: HeadFaces) -> FittedHead:
    """Fit a head near another one.

    Args:
        head: the one that it starts from.
        faces: of both classes, in at least two groups.

    Returns:
        The new head; the old one where no new one predicts left-out groups better.
    """
    before = head.logits(faces.features).astype(np.float64)
    v = head.normalised(faces.features)
    products = v @ v.T
    scale = float(np.trace(products)) / len(v)
    kernel = products.astype(np.float64) / scale + CONSTANT
    problem = _Problem(kernel, before, faces.fake, _weights(faces))
    folds = _folds(faces.groups)
    losses = {strength: problem.left_out_loss(folds, strength) for strength in STRENGTHS}
    unchanged = problem.loss(before, problem.weights)
    best = min(losses, key=lambda strength: losses[strength])
    if losses[best] >= unchanged:
        return FittedHead(head, None, losses, unchanged)
    duals = problem.solve(np.arange(len(v)), best)
    linear = (duals.astype(np.float32) @ v) / np.float32(scale)
    moved = head.moved(linear, CONSTANT * float(duals.sum()))
    return FittedHead(moved, best, losses, unchanged)


@dataclass(frozen=True, slots=True)
class _Problem:
    """Logistic regression with an offset, by its dual: what it adds is ``kernel @ duals``.

    Attributes:
        kernel: float64[N, N].
        before: float64[N], logits that are added to.
        fake: bool[N].
        weights: float64[N], one half of all for each class.
    """

    kernel: np.ndarray
    before: np.ndarray
    fake: np.ndarray
    weights: np.ndarray

    def loss(self, logits: np.ndarray, weights: np.ndarray) -> float:
        """Cross-entropy, weighted."""
        return float((weights * (np.logaddexp(0, logits) - self.fake * logits)).sum())

    def left_out_loss(self, folds: np.ndarray, strength: float) -> float:
        """The loss where each fold is predicted from the others."""
        logits = self.before.copy()
        for fold in np.unique(folds):
            rows, others = np.flatnonzero(folds == fold), np.flatnonzero(folds != fold)
            duals = self.solve(others, strength)
            logits[rows] += self.kernel[np.ix_(rows, others)] @ duals
        return self.loss(logits, self.weights)

    def solve(self, rows: np.ndarray, strength: float) -> np.ndarray:
        """The duals of some rows, by Newton's method; a step that makes it worse is halved.

        What is least is the loss and ``strength / 2`` times the squared norm of what is added.
        """
        part = _Problem(
            self.kernel[np.ix_(rows, rows)],
            self.before[rows],
            self.fake[rows],
            self.weights[rows] / self.weights[rows].sum(),
        )
        duals = np.zeros(len(rows))
        for _ in range(NEWTON_STEPS):
            step, value = part.newton_step(duals, strength), part.objective(duals, strength)
            while (gained := value - part.objective(duals + step, strength)) < -SMALLEST_GAIN:
                step /= 2
            duals = duals + step
            if gained < SMALLEST_GAIN:
                break
        return duals

    def objective(self, duals: np.ndarray, strength: float) -> float:
        """What is made least."""
        added = self.kernel @ duals
        return self.loss(self.before + added, self.weights) + strength / 2 * float(duals @ added)

    def newton_step(self, duals: np.ndarray, strength: float) -> np.ndarray:
        """From the zero of the gradient's linear approximation."""
        chances = 0.5 * (1 + np.tanh((self.before + self.kernel @ duals) / 2))
        curvature = self.weights * chances * (1 - chances)
        gradient = self.weights * (chances - self.fake) + strength * duals
        hessian = curvature[:, None] * self.kernel
        hessian[np.diag_indices_from(hessian)] += strength
        return -np.linalg.solve(hessian, gradient)


def _weights(faces: HeadFaces) -> np.ndarray:
    """Views of an image share its weight, images that of their class, classes weigh alike."""
    _, which, views = np.unique(np.array(faces.images), return_inverse=True, return_counts=True)
    weights = 1 / views[which]
    for kind in (faces.fake, ~faces.fake):
        weights[kind] *= 0.5 / weights[kind].sum()
    return np.asarray(weights)


def _folds(groups: Sequence[str]) -> np.ndarray:
    """int[N], by a hash of the group."""
    return np.array(
        [
            int(hashlib.sha256(f"fold {group}".encode()).hexdigest()[:8], 16) % FOLDS
            for group in groups
        ]
    )
