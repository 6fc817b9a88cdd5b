"""A second look's head in plain NumPy, for fitting another one on features that are kept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy.special import erf

from deepfake_core.errors import ModelError
from deepfake_core.records import Float32Array


@dataclass(frozen=True, slots=True)
class ClipHead:
    """The arithmetic of `build_clip_graph` after the tower.

    Attributes:
        arrays: those named ``head/...``, as they are stored.
    """

    arrays: Mapping[str, np.ndarray]

    def normalised(self, features: Float32Array) -> Float32Array:
        """What both of its paths take: float32[N, F]."""
        return (features - self._get("head/mean")) / self._get("head/deviation")

    def logits(self, features: Float32Array) -> Float32Array:
        """Score features.

        Args:
            features: float32[N, F], as `ClipEngine.features` gives them.

        Returns:
            float32[N]; positive means fake.

        Raises:
            ModelError: an array is missing.
        """
        v = self.normalised(features)
        kernel = self._get("head/hidden/kernel") * self._get("head/hidden/scale")[:, None]
        hidden = v @ kernel.T + self._get("head/hidden/bias")
        hidden *= 0.5 * (1 + erf(hidden / np.float32(np.sqrt(2))))
        linear = v @ self._get("head/linear/kernel")
        return np.asarray(linear + hidden @ self._get("head/out/kernel") + self._get("head/bias"))

    def moved(self, linear: Float32Array, bias: float) -> ClipHead:
        """A head whose logits differ by ``normalised(features) @ linear + bias``."""
        changed = {
            "head/linear/kernel": self._get("head/linear/kernel") + linear.astype(np.float32),
            "head/bias": self._get("head/bias") + np.float32(bias),
        }
        return ClipHead({**self.arrays, **changed})

    def _get(self, key: str) -> Float32Array:
        if key not in self.arrays:
            raise ModelError(f"the head lacks {key}; it is not one of a second look")
        return np.asarray(self.arrays[key], np.float32)
