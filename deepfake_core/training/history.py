"""How a training went: its log as a table, its curves as a picture, its network as text."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from deepfake_core.events import TrainingRow
from deepfake_core.files import written_beside
from deepfake_core.ranking import auc
from deepfake_core.records import Float32Array

if TYPE_CHECKING:
    import keras

HISTORY_FILE = "history.csv"
CURVES_FILE = "curves.png"
SUMMARY_FILE = "model.txt"
MEASURES = ("accuracy", "auc", "precision", "recall")
COLUMNS = ("step", "seconds", "loss", "learning_rate", "wait_share", *MEASURES)


def validation_figures(logits: Float32Array, fake: np.ndarray) -> TrainingRow:
    """Accuracy, AUC, and precision and recall of fakes where a logit above 0 means fake.

    Args:
        logits: float32[N].
        fake: bool[N], with both classes.
    """
    called = logits > 0
    hits = int((called & fake).sum())
    return {
        "accuracy": float((called == fake).mean()),
        "auc": auc(logits, fake),
        "precision": hits / max(1, int(called.sum())),
        "recall": hits / int(fake.sum()),
    }


def write_history(work: Path, history: Sequence[TrainingRow]) -> None:
    """Write ``history.csv`` and, with Matplotlib, ``curves.png`` in place of the last ones."""
    text = io.StringIO()
    table = csv.DictWriter(text, COLUMNS, restval="", lineterminator="\n")
    table.writeheader()
    table.writerows(
        {key: round(value, 6) if isinstance(value, float) else value for key, value in row.items()}
        for row in history
    )
    _put(work / HISTORY_FILE, text.getvalue().encode())
    # A machine that only trains, such as one with a GPU, may lack what draws.
    if history and find_spec("matplotlib"):
        _put(work / CURVES_FILE, draw_curves(history))


def draw_curves(history: Sequence[TrainingRow]) -> bytes:
    """Loss, learning rate and validation figures over the steps, as a PNG."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 4), layout="constrained")
    axes = figure.subplots(1, 3)
    for axis, names in zip(axes, (("loss",), MEASURES, ("learning_rate",)), strict=True):
        for name in names:
            rows = [row for row in history if name in row]
            axis.plot([row["step"] for row in rows], [row.get(name) for row in rows], label=name)
        axis.set_xlabel("step")
        axis.set_title(", ".join(names).replace("_", " "))
        axis.grid(visible=True, alpha=0.3)
    if any("auc" in row for row in history):
        axes[1].legend()
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=100)
    return stream.getvalue()


def write_summary(work: Path, model: keras.Model) -> None:
    """Write ``model.txt``: the network's layers, shapes and numbers of weights."""
    lines: list[str] = []
    model.summary(print_fn=lines.append, line_length=80, show_trainable=True)
    _put(work / SUMMARY_FILE, ("\n".join(lines) + "\n").encode())


def _put(path: Path, content: bytes) -> None:
    with written_beside(path, "make room and start again") as stream:
        stream.write(content)
