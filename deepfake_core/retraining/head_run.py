"""The steps of fitting a new head of a second look, from labelled faces to a promoted version."""

from __future__ import annotations

from typing import cast

import numpy as np

from deepfake_core.models.figures import Figures
from deepfake_core.models.registry_log import GateRecord
from deepfake_core.models.second_look import SECOND, SecondBundle
from deepfake_core.release.head_release import change_table, figures_of
from deepfake_core.release.head_scoring import HeadLogits
from deepfake_core.retraining.config import HeadConfig
from deepfake_core.retraining.head import (
    Setting,
    complete,
    fit_near,
    gate_head,
    open_setting,
    score_both,
)
from deepfake_core.retraining.run import Outcome, Run
from deepfake_core.retraining.steps import Step, check_data

REPORT_FILE = "head.md"


def fit_head_of(run: Run, config: HeadConfig, do: Step) -> Outcome:
    """Fit, evaluate, register, gate and pair a new head; promote it if it is better.

    Args:
        run: the retraining.
        config: of the head.
        do: does each step.

    Raises:
        DeepfakeError: as the steps raise it; what is current stays so.
    """
    inspection = do("check the data", lambda: check_data(run))
    setting = do("split by group", lambda: open_setting(run, config, inspection))
    head = do("fit", lambda: fit_near(setting))
    both = do("evaluate", lambda: score_both(setting, head))
    made = do("calibrate and export", lambda: complete(setting, head, both))
    why = run.config.why
    look = do("register", lambda: SECOND.add(made, why=why, registry=run.registry))
    passed = inspection.shortcut_passed
    gate = do("gate", lambda: gate_head(setting, look, both, shortcut_passed=passed))
    promoted = do("promote", lambda: _promote(setting, look, gate))
    return {
        "model_id": look.model_id,
        "passed": gate["passed"],
        "promoted": promoted,
        "reasons": list(gate["reasons"]),
        "notes": list(gate["notes"]),
        "figures": {"report": _figures(both[1])},
        "report": _report(setting, look, both),
    }


def _promote(setting: Setting, look: SecondBundle, gate: GateRecord) -> bool:
    """Make the version current if it passed and this is wanted; whether it was done."""
    run = setting.run
    if not (gate["passed"] and run.config.promote):
        return False
    why = run.config.why or f"retraining {run.run_id} passed the gate"
    SECOND.promote(look, why=why, registry=run.registry)
    return True


def _figures(new: HeadLogits) -> Figures:
    """Of the images as they are."""
    reported = np.array([image.reported for image in new.images])
    clean = HeadLogits(new.images, {new.fastest: {"clean": new.logits[new.fastest]["clean"]}})
    figures = figures_of(clean, new.fastest, reported)
    names = {"faces": "images", "auc": "auc", "tpr_at_1_percent_fpr": "tpr_at_1_percent_fpr"}
    return cast(Figures, {name: figures[key] for key, name in names.items()})


def _report(setting: Setting, look: SecondBundle, both: tuple[HeadLogits, HeadLogits]) -> str:
    """Both heads side by side, as markdown; its path."""
    path = setting.run.report / REPORT_FILE
    title = f"# {look.model_id}, fitted from {setting.before.model_id}\n\n"
    path.write_text(title + change_table(both))
    return str(path)
