"""The report of an evaluation: one HTML file that needs nothing else, its numbers, and a card."""

from __future__ import annotations

import base64
import json
from pathlib import Path

from deepfake_core.errors import OutputError
from deepfake_core.evaluation.document import Evaluation, Mistake
from deepfake_core.evaluation.plots import draw_plots
from deepfake_core.evaluation.tables import build_tables
from deepfake_core.files import write_whole
from deepfake_core.images.thumbnails import thumbnail
from deepfake_core.models.bundle import CARD_FILE, Bundle
from deepfake_core.models.card import card
from deepfake_core.models.figures import Figures
from deepfake_core.rendering.html import template
from deepfake_core.rendering.text import NOT_PROOF, percent

REPORT_FILE, NUMBERS_FILE = "report.html", "evaluation.json"
GALLERY = 12


def render(evaluation: Evaluation, bundle: Bundle, folder: Path) -> dict[str, Path]:
    """Write the report, the numbers and the model card with the new figures.

    Args:
        evaluation: what `evaluate` gave.
        bundle: the model that was evaluated; it is not changed.
        folder: where the three files go; earlier ones are replaced.

    Returns:
        The paths of ``report``, ``numbers`` and ``card``.

    Raises:
        OutputError: the folder cannot be written.
    """
    files = {
        "numbers": (NUMBERS_FILE, json.dumps(evaluation, indent=1) + "\n"),
        "card": (CARD_FILE, evaluated_card(evaluation, bundle)),
        "report": (REPORT_FILE, render_html(evaluation)),
    }
    paths: dict[str, Path] = {}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, (file, text) in files.items():
            paths[name] = folder / file
            write_whole(paths[name], text.encode("utf-8", "replace"))
    except OSError as error:
        raise OutputError(f"cannot write the report into {folder}: {error.strerror}") from error
    return paths


def evaluated_card(evaluation: Evaluation, bundle: Bundle) -> str:
    """The model's card with the figures of an evaluation beside those it was registered with."""
    place = Path(evaluation["data"]).resolve().name
    measured: dict[str, Figures] = {}
    for name, report in evaluation["sets"].items():
        measured[f"{place}/{name}"] = {**report["figures"], "people": report["people"]}
        for tier, degraded in report["tiers"].items():
            if tier != "clean":
                measured[f"{place}/{name}_{tier}"] = degraded
    description = bundle.description
    figures = {**description.figures, **measured}
    return card(description.model_copy(update={"figures": figures}))


def render_html(evaluation: Evaluation) -> str:
    """HTML that loads nothing from anywhere and runs no script."""
    mistakes = _mistakes(evaluation)
    root = Path(evaluation["data"])
    pictures = {
        row["image"]: _data_uri("image/jpeg", picture)
        for rows in mistakes.values()
        for row in rows
        if (picture := _thumbnail(root / row["image"])) is not None
    }
    plots = {
        name: _data_uri("image/svg+xml", svg.encode())
        for name, svg in draw_plots(evaluation).items()
    }
    return template("evaluation.html.j2").render(
        evaluation=evaluation,
        headline=headline(evaluation),
        first=evaluation["sets"][evaluation["headline"]],
        not_proof=NOT_PROOF,
        tables=build_tables(evaluation),
        plots=plots,
        mistakes=mistakes,
        pictures=pictures,
    )


def headline(evaluation: Evaluation) -> str:
    """What the model gets wrong, in one sentence, from the set to quote."""
    name = evaluation["headline"]
    figures = evaluation["sets"][name]["figures"]
    parts = []
    if "fpr_at_fake" in figures:
        share = percent(figures["fpr_at_fake"])
        parts.append(f"of {figures['real']:,} photographs {share} were labelled fake")
    if "fakes_called_real" in figures:
        share = percent(figures["fakes_called_real"])
        parts.append(f"of {figures['fake']:,} generated faces {share} were labelled real")
    undecided = percent(1 - figures["decided_share"])
    return f"On {name}, {' and '.join(parts)}; {undecided} are left uncertain."


def _mistakes(evaluation: Evaluation) -> dict[str, list[Mistake]]:
    """The worst mistakes over all sets, by true class."""
    worst: dict[str, list[Mistake]] = {}
    for kind, sign in (("real", -1), ("fake", 1)):
        rows: dict[str, Mistake] = {
            row["image"]: {**row, "set": name}
            for name, measured in evaluation["sets"].items()
            for row in measured["mistakes"][kind]
        }
        worst[kind] = sorted(rows.values(), key=lambda row: sign * row["score"])[:GALLERY]
    return worst


def _thumbnail(path: Path) -> bytes | None:
    try:
        return thumbnail(path.read_bytes())
    except OSError:
        return None


def _data_uri(kind: str, data: bytes) -> str:
    return f"data:{kind};base64," + base64.b64encode(data).decode()
