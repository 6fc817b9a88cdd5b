"""What a retraining shows on Prefect's pages; keys are lower-case letters, digits and dashes."""

import base64
import json
from pathlib import Path
from typing import cast
from uuid import UUID

import httpx
from prefect.artifacts import (
    create_image_artifact,
    create_markdown_artifact,
    create_progress_artifact,
    create_table_artifact,
    update_progress_artifact,
)

from deepfake_core.events import Facts
from deepfake_core.models.registry_log import GateRecord
from deepfake_core.retraining.retrain import GATE_FILE
from deepfake_core.retraining.run import RetrainResult
from flows.artifacts import place_of

CURVES_KEY, MODEL_KEY, HISTORY_KEY = "retrain-curves", "retrain-model", "retrain-history"
GATE_KEY, SUMMARY_KEY, PROGRESS_KEY = "retrain-gate", "retrain-summary", "retrain-progress"
STEPS_BETWEEN_UPDATES = 50
FIGURES = ("images", "auc", "balanced_accuracy", "tpr_at_1_percent_fpr", "fpr_at_fake",
           "decided_share", "ece")  # fmt: skip


def show_training(result: RetrainResult) -> None:
    """Show a finished retraining: curves, network, log, gate, and where the reports are."""
    folder = Path(result["folder"])
    curves, model, history = folder / "curves.png", folder / "model.txt", folder / "history.csv"
    if curves.is_file():
        picture = base64.b64encode(curves.read_bytes()).decode()
        create_image_artifact(
            f"data:image/png;base64,{picture}", key=CURVES_KEY, description="Learning curves."
        )
    if model.is_file():
        create_markdown_artifact(
            f"```text\n{model.read_text()}\n```", key=MODEL_KEY, description="The network."
        )
    if history.is_file():
        create_markdown_artifact(place_of("history.csv", str(history.absolute())), key=HISTORY_KEY)
    gate: GateRecord = json.loads((folder / GATE_FILE).read_text())
    create_table_artifact(gate_rows(gate), key=GATE_KEY, description=outcome_of(result))
    create_markdown_artifact(summary_of(result), key=SUMMARY_KEY, description=outcome_of(result))


def outcome_of(result: RetrainResult) -> str:
    """The outcome in one sentence."""
    if not result["passed"]:
        return f"{result['model_id']} was refused: {'; '.join(result['reasons'])}"
    became = "is current now" if result["promoted"] else "was registered and not promoted"
    return f"{result['model_id']} passed the gate and {became}"


def summary_of(result: RetrainResult) -> str:
    """The figures on what was only reported on, and the reports, as markdown."""
    figures = result["figures"]["report"]
    lines = [f"| {name} | {figures.get(name):g} |" for name in FIGURES if name in figures]
    table = "\n".join(["| figure | value |", "| --- | --- |", *lines])
    reports = [("Evaluation", result["report"]), ("Data checks", result["data_report"])]
    links = [f"- {place_of(name, str(Path(path).absolute()))}" for name, path in reports]
    notes = [f"- {note}" for note in (*result["reasons"], *result["notes"])]
    return "\n\n".join([outcome_of(result), table, "\n".join(links), "\n".join(notes)])


def gate_rows(gate: GateRecord) -> list[dict[str, str | float | None]]:
    """Every test of the gate as a row for people."""
    return [
        {
            "images": row["images"],
            "measure": row["measure"],
            "candidate": round(row["candidate"], 4),
            "current": None if row["current"] is None else round(row["current"], 4),
            "at worst": None if row["bound"] is None else round(row["bound"], 4),
            "limit": row["limit"],
            "passed": row["passed"],
        }
        for row in gate["table"]
    ]


class ShownTraining:
    """A progress bar of the training's steps on the run's page."""

    def __init__(self) -> None:
        """Show nothing yet."""
        self._bar: UUID | None = None

    def __call__(self, event: str, facts: Facts) -> None:
        """Take one event of a retraining."""
        if event == "started" and facts["steps"]:
            text = f"Of {facts['steps']} training steps."
            done = 100 * facts["step"] / facts["steps"]
            # Its type allows for a coroutine, which only asynchronous flows are given.
            bar = create_progress_artifact(done, key=PROGRESS_KEY, description=text)
            self._bar = cast(UUID, bar)
        elif self._bar is not None and event == "trained":
            if facts["step"] % STEPS_BETWEEN_UPDATES and facts["step"] != facts["steps"]:
                return
            try:
                update_progress_artifact(self._bar, 100 * facts["step"] / facts["steps"])
            except httpx.HTTPError:
                # Hours of training must not fail because a bar could not be moved.
                self._bar = None
