"""The looks at a face: a quick one at each, and a slow, exact one at those it cannot clear."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import CancelledError
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from deepfake_core.engines.engine import Engine
from deepfake_core.models.bundle import Curve
from deepfake_core.models.decision import Calibration, calibrate
from deepfake_core.records import Float32Array, UInt8Array

BoolArray = npt.NDArray[np.bool_]
Stopping = Callable[[], bool]


def never() -> bool:
    """Somebody waits for the answer to its end."""
    return False


@dataclass(frozen=True, slots=True)
class Scored:
    """What the looks said of some faces, in their order.

    Attributes:
        first: float32[N], logits of the first look; positive means fake.
        second: float32[N], of the second look; NaN where it was not taken.
        went_on: bool[N], which faces were given it.
        scores: float32[N] in [0, 1], calibrated from the looks that were taken; NaN where one of
            them gave no number.
    """

    first: Float32Array
    second: Float32Array
    went_on: BoolArray
    scores: Float32Array


class SecondLook:
    """The slow look, loaded when the first face needs it."""

    def __init__(
        self,
        model_id: str,
        open_engine: Callable[[], Engine],
        *,
        line: float,
        calibration: Calibration,
    ) -> None:
        """Say who goes on, and how both looks make one score.

        Args:
            model_id: ``name@version+hash8``.
            open_engine: loads the network.
            line: faces whose first score is at least this go on; 0 sends all.
            calibration: of the logit ``second + first_weight * first``.
        """
        self.model_id, self.line, self.calibration = model_id, line, calibration
        self._engine = _Lazy(open_engine)

    def logits(self, crops: UInt8Array, stopping: Stopping = never) -> Float32Array:
        """The logits of faces, which it looks at one by one, for each takes a good while.

        Args:
            crops: uint8[N, size, size, 3].
            stopping: whether nobody waits for them any more; asked before each face.

        Returns:
            float32[N].

        Raises:
            CancelledError: nobody waits for them any more.
        """
        logits = np.empty(len(crops), np.float32)
        for at in range(len(crops)):
            if stopping():
                raise CancelledError
            logits[at] = self._engine.get().logits(crops[at : at + 1])[0]
        return logits

    def scores(
        self, first: Float32Array, second: Float32Array, sizes: npt.ArrayLike
    ) -> Float32Array:
        """The calibrated scores of faces that were given both looks."""
        return calibrate(self.joined(first, second), self.calibration, sizes)

    def joined(self, first: Float32Array, second: Float32Array) -> Float32Array:
        """float32[N]: the logits of both looks as one, before calibration."""
        return second + np.float32(self.calibration.first_weight) * first


@dataclass(slots=True)
class _Lazy:
    """An engine that is opened once, by whoever needs it first."""

    open: Callable[[], Engine]
    engine: Engine | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)

    def get(self) -> Engine:
        with self.lock:
            if self.engine is None:
                self.engine = self.open()
            return self.engine


class Looks:
    """A first look and perhaps a second one; several threads may look at once."""

    def __init__(self, engine: Engine, curve: Curve, second: SecondLook | None = None) -> None:
        """Join the engine of the first look, its calibration, and the second look."""
        self.engine, self.curve, self.second = engine, curve, second

    def joined(self, crops: UInt8Array, *, both: bool) -> Float32Array:
        """What the score of faces is made of: float32[N] of uint8[N, size, size, 3].

        Args:
            crops: the faces.
            both: whether their scores are made of both looks, or of the first alone.
        """
        first = self.engine.logits(crops)
        if not both or self.second is None:
            return first
        return self.second.joined(first, self.second.logits(crops))

    def look(
        self,
        crops: UInt8Array,
        sizes: npt.ArrayLike,
        *,
        both: bool = False,
        stopping: Stopping = never,
    ) -> Scored:
        """Look at faces.

        Args:
            crops: uint8[N, size, size, 3].
            sizes: float[N], sides of the crops in pixels of their pictures.
            both: whether all of them are given the second look, if there is one.
            stopping: whether nobody waits for what it says any more.

        Raises:
            CancelledError: nobody waits any more.
        """
        sizes = np.asarray(sizes, np.float32)
        first = self.engine.logits(crops)
        scores = calibrate(first, self.curve.calibration, sizes)
        second, went_on = np.full(len(first), np.nan, np.float32), np.zeros(len(first), bool)
        if self.second is not None:
            went_on = scores >= np.float32(0.0 if both else self.second.line)
            on = np.flatnonzero(went_on)
            if len(on):
                second[on] = self.second.logits(crops[on], stopping)
                scores[on] = self.second.scores(first[on], second[on], sizes[on])
        return Scored(first, second, went_on, scores)
