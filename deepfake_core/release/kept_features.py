"""What a second look's tower says of faces, kept on disk by the faces' pixels.

The tower is nearly all that a new head costs and never changes, so no face goes through it twice:
not when a run goes on after a stop, nor when a few examples are added and a head is fitted again.
"""

from __future__ import annotations

import hashlib
import io
from pathlib import Path

import numpy as np

from deepfake_core.engines.clip_engine import ClipEngine, open_tower
from deepfake_core.engines.clip_head import ClipHead
from deepfake_core.files import write_whole
from deepfake_core.models.bundle import Precision
from deepfake_core.models.second_look import HEAD_FILE, TOWER_FILE, SecondBundle
from deepfake_core.records import Float32Array, UInt8Array


class KeptTower:
    """A tower whose answers are kept; several threads may ask at once."""

    def __init__(self, tower: ClipEngine, folder: Path) -> None:
        """Take a tower and the folder of its answers, one file for each face."""
        self._tower, self._folder = tower, folder
        self.precision, self.lanes = tower.precision, tower.lanes

    def features(self, pixels: UInt8Array) -> Float32Array:
        """See `ClipEngine.features`."""
        return np.stack([self._of(face) for face in pixels])

    def _of(self, face: UInt8Array) -> Float32Array:
        path = self._folder / f"{hashlib.sha256(face.tobytes()).hexdigest()[:32]}.npy"
        if path.exists():
            return np.asarray(np.load(path, allow_pickle=False), np.float32)
        answer: Float32Array = self._tower.features(face[None])[0]
        stream = io.BytesIO()
        np.save(stream, answer, allow_pickle=False)
        write_whole(path, stream.getvalue())
        return answer


def open_kept_tower(look: SecondBundle, precision: Precision, home: Path) -> KeptTower:
    """A second look's tower; what it answers is kept below a folder, apart by tower and precision.

    Args:
        look: the second look; all that share its tower and shape share the answers.
        precision: one of `second_precisions`.
        home: the folder.
    """
    told = look.description
    tower = f"{told.files[TOWER_FILE]} {told.shape.model_dump_json()}"
    folder = home / f"{hashlib.sha256(tower.encode()).hexdigest()[:12]}-{precision}"
    folder.mkdir(parents=True, exist_ok=True)
    return KeptTower(open_tower(look, precision), folder)


class KeptLook:
    """A tower whose answers are kept, and a head: an `Engine`."""

    def __init__(self, tower: KeptTower, head: ClipHead) -> None:
        """Take both."""
        self._tower, self._head = tower, head
        self.precision: Precision = tower.precision
        self.lanes = tower.lanes

    def logits(self, pixels: UInt8Array) -> Float32Array:
        """See `deepfake_core.engines.engine.Engine.logits`."""
        if not len(pixels):
            return np.empty(0, np.float32)
        return self._head.logits(self._tower.features(pixels))


def head_of(look: SecondBundle) -> ClipHead:
    """The head of a second look, to be moved."""
    return ClipHead(look.arrays(HEAD_FILE))
