"""The tables of an evaluation's report: rows of headings with cells of value and interval."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from deepfake_core.evaluation.document import Evaluation, SetReport, SourceKind, Unseen
from deepfake_core.models.figures import Gap
from deepfake_core.rendering.figure_intervals import figure_interval
from deepfake_core.rendering.figure_names import AS_NUMBERS, COUNTED, short_name
from deepfake_core.rendering.text import percent

ALL = (
    *("real", "fake", "auc", "average_precision", "balanced_accuracy", "tpr_at_1_percent_fpr"),
    *("tpr_at_5_percent_fpr", "fpr_at_fake", "tpr_at_fake", "fakes_called_real"),
    *("decided_share", "ece", "brier"),
)
SHORT = (
    "real", "fake", "auc", "balanced_accuracy", "tpr_at_5_percent_fpr", "fpr_at_fake",
    "tpr_at_fake", "fakes_called_real", "decided_share",
)  # fmt: skip
SEEN = {True: "trained on", False: "never seen", None: "not known"}

Cell = tuple[str, str]


def build_tables(evaluation: Evaluation) -> dict[str, object]:
    """Tables by name; each has ``columns`` and ``rows`` of a heading and cells."""
    sets = evaluation["sets"]
    return {
        "sets": table([(name, measured["figures"]) for name, measured in sets.items()], ALL),
        "confusion": confusion(sets[evaluation["headline"]]["figures"]),
        "tiers": {
            name: table(list(measured["tiers"].items()), ALL)
            for name, measured in sets.items()
            if len(measured["tiers"]) > 1
        },
        "novelty": table(
            [
                (f"{name}: fakes of sources {novelty}", figures)
                for name, measured in sets.items()
                for novelty, figures in measured["novelty"].items()
            ]
        ),
        "sources": table(_sources(sets)),
        "sizes": table(
            [
                (f"{name}: {size['size']}", size)
                for name, part in sets.items()
                for size in part["sizes"]
            ]
        ),
        "unseen": _unseen(evaluation["leave_one_out"]),
        "people": _people(sets),
    }


def table(
    rows: Sequence[tuple[str, Mapping[str, object]]], columns: Sequence[str] = SHORT
) -> dict[str, object]:
    """Figures as text; a column that no row has is left out."""
    used = [name for name in columns if any(name in figures for _, figures in rows)]
    return {
        "columns": [short_name(name) for name in used],
        "rows": [
            {"heading": heading, "cells": [cell(name, figures) for name in used]}
            for heading, figures in rows
        ],
    }


def cell(name: str, figures: Mapping[str, object]) -> Cell:
    """One figure and its interval; each is empty where there is none."""
    return shown(name, figures.get(name)), interval(name, figure_interval(figures, name))


def shown(name: str, value: object) -> str:
    """A figure for people."""
    if not isinstance(value, int | float):
        return ""
    if name in COUNTED:
        return f"{value:,}"
    return f"{value:.3f}" if name in AS_NUMBERS else percent(value)


def interval(name: str, bounds: Iterable[float] | None) -> str:
    """An interval for people; empty without one."""
    if bounds is None:
        return ""
    low, high = (shown(name, bound) for bound in bounds)
    return f"{low.removesuffix(' %')} to {high}"


def confusion(figures: Mapping[str, object]) -> list[dict[str, object]]:
    """A row per true class with the shares of the three labels."""
    rows = {
        "real": ("reals_called_real", "reals_uncertain", "fpr_at_fake"),
        "fake": ("fakes_called_real", "fakes_uncertain", "tpr_at_fake"),
    }
    return [
        {"heading": f"{figures[kind]:,} {kind}", "cells": [cell(name, figures) for name in names]}
        for kind, names in rows.items()
        if names[0] in figures
    ]


def _sources(sets: Mapping[str, SetReport]) -> list[tuple[str, Mapping[str, object]]]:
    return [
        (f"{name}: {row['class']}, {row['source']}{_seen(row)}", row)
        for name, measured in sets.items()
        for row in measured["sources"]
    ]


def _seen(row: SourceKind) -> str:
    return f" ({SEEN[row['seen']]})" if row["class"] == "fake" else ""


def _unseen(unseen: Unseen | None) -> dict[str, object] | None:
    """Heads without and with each source, side by side."""
    if unseen is None:
        return None
    names = ("balanced_accuracy", "auc", "tpr_at_5_percent_fpr")
    rows = [
        {
            "heading": f"{row['source']} (network: {SEEN[row['seen']]})",
            "cells": [cell(name, head) for name in names for head in (row["without"], row["with"])],
        }
        for row in unseen["sources"]
    ]
    columns = [f"{short_name(name)}, {way} it" for name in names for way in ("without", "with")]
    return {"columns": columns, "rows": rows}


def _people(sets: Mapping[str, SetReport]) -> list[dict[str, object]]:
    """A table per set and column of people, with its gaps in words."""
    tables: list[dict[str, object]] = []
    for name, report in sets.items():
        for column, measured in report["people"].items():
            rows = list(measured["groups"].items())
            gaps = [gap_words(rate, gap) for rate, gap in measured["gaps"].items()]
            content = table(rows, ("real", "fake", "fpr_at_fake", "tpr_at_fake"))
            tables.append({"set": name, "column": column, "table": content, "gaps": gaps})
    return tables


def gap_words(rate: str, gap: Gap | None) -> str:
    """A gap between groups of people as a sentence."""
    if gap is None:
        return f"{short_name(rate)}: fewer than two groups have enough images to be compared."
    points = f"{100 * gap['gap']:.1f} points"
    low, high = (f"{100 * bound:.1f}" for bound in gap["interval"])
    if not gap["found"]:
        return (
            f"{short_name(rate)}: no gap was found; the largest difference, {points} between "
            f"{gap['highest']} and {gap['lowest']} (interval {low} to {high}), is what chance "
            f"gives (p = {gap['p_value']:.3f})."
        )
    return (
        f"{short_name(rate)}: {gap['highest']} has {points} more than {gap['lowest']} "
        f"(interval {low} to {high}, p = {gap['p_value']:.4f})."
    )
