"""Complete a second look: a calibration for each precision, what qualifies, and its card."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from deepfake_core.evaluation.metrics import tpr_at_fpr
from deepfake_core.models.bundle import CARD_FILE, Precision
from deepfake_core.models.decision import Calibration, Thresholds, calibrate
from deepfake_core.models.qualification import PrecisionRecord
from deepfake_core.models.second_look import LookDescription, SecondBundle, write_second
from deepfake_core.ranking import auc
from deepfake_core.records import Float32Array
from deepfake_core.release.calibration import choose_calibration, choose_thresholds
from deepfake_core.release.pairing import MAX_FPR, MAX_MISS
from deepfake_core.release.precision_agreement import Answers, Truth, agreement

FP32: Precision = "fp32"


def complete_second(
    folder: Path,
    told: LookDescription,
    logits: Mapping[Precision, Float32Array],
    truth: Truth,
    families: np.ndarray,
) -> SecondBundle:
    """Write the description and the card of a second look whose weights are in a folder.

    Args:
        folder: has the weights.
        told: name, shape, finder, origin and terms; what is measured is filled in.
        logits: float32[N] by precision, fp32 among them.
        truth: of the faces, none of which it was trained on.
        families: N names, for the figures.
    """
    exact, curves = logits[FP32], {name: _curve(scored, truth) for name, scored in logits.items()}
    agreements = {
        name: agreement(_answers(exact, curves[FP32]), _answers(scored, curves[name]), truth, name)
        for name, scored in logits.items()
        if name != FP32
    }
    complete = told.model_copy(
        update={
            "calibrations": {name: curve for name, (curve, _) in curves.items()},
            "precisions": (
                FP32,
                *(name for name, scored in agreements.items() if scored.qualified),
            ),
            "qualification": {name: scored.as_json() for name, scored in agreements.items()},
            "figures": {
                name: figures_alone(scored, truth, families) for name, scored in logits.items()
            },
        }
    )
    (folder / CARD_FILE).write_text(second_card(complete))
    return write_second(folder, complete)


def _curve(logits: Float32Array, truth: Truth) -> tuple[Calibration, Thresholds]:
    rows = np.flatnonzero(truth.labelled)
    some, fake = logits[rows], truth.fake[rows]
    calibration = choose_calibration(some, fake, [truth.groups[row] for row in rows.tolist()])
    scores = calibrate(some, calibration)
    return calibration, choose_thresholds(scores, fake, max_fpr=MAX_FPR, max_miss=MAX_MISS)


def _answers(logits: Float32Array, curve: tuple[Calibration, Thresholds]) -> Answers:
    calibration, thresholds = curve
    return Answers(calibrate(logits, calibration), thresholds)


def figures_alone(logits: Float32Array, truth: Truth, families: np.ndarray) -> dict[str, object]:
    """AUC of all labelled faces; by family, the share above the cut of 1 % of the photographs."""
    rows, fake = truth.labelled, truth.fake
    reals = np.sort(logits[rows & ~fake])[::-1]
    cut = reals[int(np.floor(0.01 * len(reals)))]
    return {
        "faces": int(rows.sum()),
        "auc": round(auc(logits[rows], fake[rows]), 4),
        "tpr_at_1_percent_fpr": round(tpr_at_fpr(logits[rows], fake[rows], 0.01), 4),
        "above_the_cut": {
            str(name): [int((logits[families == name] > cut).sum()), int((families == name).sum())]
            for name in np.unique(families)
        },
    }


def second_card(told: LookDescription, precisions: Sequence[str] | None = None) -> str:
    """The card as markdown; failures first.

    Args:
        told: what it describes.
        precisions: a line for each precision that was held against fp32; by default what the
            qualification says.
    """
    if precisions is None:
        precisions = [_precision(name, record) for name, record in told.qualification.items()]
    exact = told.figures[FP32]
    rows = [f"| {name} | {above} of {of} |" for name, (above, of) in exact["above_the_cut"].items()]
    parts = [
        "---\nlicense: other\nlibrary_name: openvino\npipeline_tag: image-classification\n"
        "tags: [deepfake-detection, faces]\n---\n",
        f"# {told.name}@{told.version}\n",
        "A second look: it judges the faces that a first look cannot clear.\n",
        "## What it gets wrong, and must not be used for\n",
        "\n".join(f"- {limit}" for limit in told.limits) + "\n",
        f"## Where it comes from\n\n{told.origin}\n",
        f"## What it was trained on\n\n{told.trained_on}\n",
        "## What was measured\n",
        f"On {exact['faces']:,} aligned faces that it was not trained on, at fp32: AUC "
        f"{exact['auc']}, {exact['tpr_at_1_percent_fpr']:.1%} of the fakes found at 1 % false "
        "alarms. By family, the faces above that cut:\n",
        "\n".join(["| family | above the cut |", "|---|---|", *rows]) + "\n",
        "Scores hold where fakes and photographs are equally frequent.\n",
        f"## Precisions\n\nMeasured on {told.processors}, against fp32.\n",
        *precisions,
    ]
    return "\n".join(parts)


def _precision(name: str, record: PrecisionRecord) -> str:
    low, high = record["auc_loss_interval"]
    verdict = "it qualifies" if record["qualified"] else "not used: " + "; ".join(record["reasons"])
    return (
        f"- {name}: of {record['faces']:,} labels {record['changed']} change (at most "
        f"{record['changed_at_most']:.2%}, 95 %), {record['flips']} from fake to real or back; AUC "
        f"loss {record['auc_loss']:.4f} ({low:.4f} to {high:.4f}); largest difference of a score "
        f"{record['largest_difference']:.3f}; {verdict}.\n"
    )
