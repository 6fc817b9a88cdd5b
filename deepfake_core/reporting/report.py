"""The report of a run: one HTML file that needs nothing else."""

from __future__ import annotations

import base64
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from deepfake_core.records import Label
from deepfake_core.rendering.evidence import SCALE
from deepfake_core.rendering.figure_intervals import figure_interval
from deepfake_core.rendering.figure_names import AS_NUMBERS, COUNTED, plain_name, set_name
from deepfake_core.rendering.html import template
from deepfake_core.rendering.text import NOT_PROOF, line_text, one_line, percent
from deepfake_core.reporting.changes import in_words
from deepfake_core.reporting.credentials import credential_words
from deepfake_core.reporting.findings import blind_spot, link_to_original
from deepfake_core.reporting.markdown import (
    FAILURE_WORDS,
    REASON_WORDS,
    SKIP_WORDS,
    headline,
    warned,
    warning_title,
)
from deepfake_core.reporting.prior import worth_words
from deepfake_core.reporting.summary_record import Summary
from deepfake_core.reporting.suspicion import canary_words

# Rows that a person has before them at once.
PAGE = 100
# The histogram's drawing area, in units of its view box.
LEFT, TOP, WIDTH, HEIGHT = 58, 54, 490, 190
# How far apart the lines of its axis are, so that their numbers do not touch.
TICK_GAP = 18

# The figures of a model that the report shows.
SHOWN = (
    *("tpr_at_fake", "fpr_at_fake", "fakes_called_real", "decided_share", "balanced_accuracy"),
    *("auc", "ece", "images", "real", "fake"),
)
# The thresholds in the histogram: name, words, and how high the words stand.
LINES = (("real_below", "nothing found below", 36), ("fake_from", "flagged from", 14))
STAGES: Mapping[str, str] = {
    "read_seconds": "reading",
    "decode_seconds": "decoding",
    "infer_seconds": "the network",
    "commit_seconds": "writing",
}


def render(summary: Summary, *, thumbnails: Mapping[str, bytes]) -> str:
    """Render the report of a summary.

    Args:
        summary: what `deepfake_core.reporting.summary.summarise` made.
        thumbnails: JPEG bytes by image; one that is missing is shown as a placeholder, and
            where there are none at all the galleries become tables.

    Returns:
        HTML that loads nothing from anywhere and runs no script.
    """
    pictures = {
        image: "data:image/jpeg;base64," + base64.b64encode(data).decode()
        for image, data in thumbnails.items()
    }
    text = template("report.html.j2").render(
        summary=summary,
        pictures=pictures,
        headline=headline(summary),
        canaries=canary_words(summary.canaries),
        blind_spot=blind_spot(summary.card.figures),
        credential_words=credential_words(summary.credentials) if summary.credentials else "",
        scale=SCALE,
        worth=worth_words(summary.flag_worth) if summary.flag_worth else None,
        pages=_pages(summary),
        not_proof=NOT_PROOF,
        failure_words=FAILURE_WORDS,
        skip_words=SKIP_WORDS,
        reason_words=REASON_WORDS,
        unlike=warning_title(summary),
        warned=[one_line(sentence) for sentence in warned(summary)],
        source_words=[one_line(sentence) for sentence in in_words(summary)],
        histogram=_histogram(summary),
        figures=_figures(summary.card.figures),
        stages=_stages(summary.timings),
    )
    # Unpaired surrogates in a file name were spelled out; elsewhere they must not break a write.
    return text.encode("utf-8", "replace").decode()


def _pages(summary: Summary) -> list[dict[str, object]]:
    """The flagged images in pages, each with where its original can be opened."""
    rows = [
        {"row": row, "link": link_to_original(summary.source, row.image)} for row in summary.flagged
    ]
    return [
        {
            "first": start + 1,
            "last": min(start + PAGE, len(rows)),
            "rows": rows[start : start + PAGE],
        }
        for start in range(0, len(rows), PAGE)
    ]


def _histogram(summary: Summary) -> Mapping[str, object]:
    """Places and sizes of the histogram's parts; heights are logarithmic."""
    counts, edges = summary.histogram.counts, summary.histogram.edges
    thresholds = summary.thresholds.model_dump() if summary.thresholds else {}
    highest = math.log10(1 + max(1, *counts))

    def height(count: int) -> float:
        return round(HEIGHT * math.log10(1 + count) / highest, 2)

    bars = [
        {
            "x": round(LEFT + WIDTH * low, 2),
            "width": round(WIDTH * (high - low) - 1, 2),
            "height": height(count),
            "words": f"{low:.3f} to {high:.3f}: {count:,}",
            "zone": _zone((low + high) / 2, thresholds),
        }
        for low, high, count in zip(edges[:-1], edges[1:], counts, strict=True)
        if count
    ]
    return {
        "left": LEFT,
        "top": TOP,
        "right": LEFT + WIDTH,
        "bottom": TOP + HEIGHT,
        "bars": bars,
        "ticks": [
            {"y": TOP + HEIGHT - height(tick), "words": f"{tick:,}"}
            for tick in _ticks(counts, height)
        ],
        "scores": [{"x": LEFT + WIDTH * at / 4, "words": f"{at / 4:g}"} for at in range(5)],
        "thresholds": [
            {
                "x": round(LEFT + WIDTH * thresholds[name], 2),
                "y": y,
                "words": f"{title} {line_text(thresholds[name])}",
                # The words stay inside the drawing whichever half the line is in.
                "anchor": "end" if thresholds[name] > 0.5 else "start",
            }
            for name, title, y in LINES
            if name in thresholds
        ],
    }


def _ticks(counts: Sequence[int], height: Callable[[int], float]) -> list[int]:
    """The counts that the axis names: round ones, as many as can be read."""
    highest = max(1, *counts)
    powers = [10**digits for digits in range(12)]
    # Where there is room, more is named between them, and single images where they are few.
    wanted = [
        *powers,
        *(5 * power for power in powers),
        *(2 * power for power in powers),
        *range(3, 10),
    ]
    chosen = [0]
    for tick in wanted:
        far = all(abs(height(tick) - height(other)) >= TICK_GAP for other in chosen)
        if tick <= highest and far:
            chosen.append(tick)
    return sorted(chosen)


def _zone(score: float, thresholds: Mapping[str, float]) -> str:
    if not thresholds:
        return "uncertain"
    if score >= thresholds["fake_from"]:
        return "fake"
    return "real" if score < thresholds["real_below"] else "uncertain"


def _figures(figures: Mapping[str, Any]) -> Mapping[str, object]:
    """The model's figures as a table: a row per data set, a column per measure."""
    sets = {
        name: _one_class(measured)
        for name, measured in figures.items()
        if isinstance(measured, Mapping)
    }
    measures = [
        name for name in SHOWN if any(measured.get(name) is not None for measured in sets.values())
    ]
    rows = [
        {"set": set_name(name), "cells": [_figure(measure, measured) for measure in measures]}
        for name, measured in sets.items()
    ]
    return {"measures": [plain_name(name) for name in measures], "rows": rows} if measures else {}


def _one_class(measured: Mapping[str, Any]) -> Mapping[str, Any]:
    """Turn the labels' counts of a set with one class only into the same measures."""
    labels, images = measured.get("labels"), measured.get("images")
    if not labels or not images:
        return measured
    shares = {label: count / images for label, count in labels.items()}
    decided = {"decided_share": 1 - shares.get(Label.UNCERTAIN, 0.0)}
    if not measured.get("fake"):
        return {**measured, **decided, "fpr_at_fake": shares.get(Label.FAKE, 0.0)}
    called = {"fakes_called_real": shares.get(Label.REAL, 0.0)}
    return {**measured, **decided, **called, "tpr_at_fake": shares.get(Label.FAKE, 0.0)}


def _figure(name: str, measured: Mapping[str, Any]) -> tuple[str, str]:
    """One measure and its interval; each is empty where it is missing."""
    value, bounds = measured.get(name), figure_interval(measured, name)
    if value is None:
        return "", ""
    if name in COUNTED:
        return f"{value:,}", ""
    show = "{:.3f}".format if name in AS_NUMBERS else percent
    if not bounds:
        return show(value), ""
    return show(value), f"{show(bounds[0]).removesuffix(' %')} to {show(bounds[1])}"


def _stages(timings: Mapping[str, float]) -> list[Mapping[str, object]]:
    """Where the threads' time went."""
    total = sum(timings.get(name, 0.0) for name in STAGES)
    if total <= 0:
        return []
    return [
        {"name": name.partition("_")[0], "words": title, "seconds": timings[name]}
        | {"share": timings[name] / total}
        for name, title in STAGES.items()
        if name in timings
    ]
