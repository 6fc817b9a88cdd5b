"""The plots of an evaluation as SVG, drawn from its plain numbers."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import TYPE_CHECKING

from deepfake_core.errors import UsageError
from deepfake_core.evaluation.document import Evaluation, Histogram, Reliability, Roc
from deepfake_core.models.figures import Figures, value_of
from deepfake_core.rendering.figure_names import short_name

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

REAL, FAKE, OTHER = "#3a9d8f", "#d1495b", "#7d8794"
LINES = ("#1f5fa8", "#d1495b", "#3a9d8f", "#e0a030", "#7b4fa3", "#5b636e")
INSET_FPR = 0.1
TIER_MEASURES = ("auc", "balanced_accuracy", "tpr_at_5_percent_fpr")
CLASS_MEASURES = ("fpr_at_fake", "tpr_at_fake", "decided_share")


def draw_plots(evaluation: Evaluation) -> dict[str, str]:
    """All plots of an evaluation: SVG by name.

    Raises:
        UsageError: Matplotlib is not installed.
    """
    try:
        import matplotlib as mpl
    except ImportError as error:
        raise UsageError(
            f"the plots need a library that is not installed ({error.name}); "
            "install deepfake-verification with its extra: train"
        ) from error
    sets = evaluation["sets"]
    headline = sets[evaluation["headline"]]
    # Fixed ids and no date: the same evaluation gives the same file.
    with mpl.rc_context({"svg.hashsalt": "evaluation", "font.size": 9, "axes.axisbelow": True}):
        curves = {name: measured["roc"] for name, measured in sets.items() if "roc" in measured}
        plots = {"histogram": _histogram(headline["histogram"], evaluation["thresholds"])}
        if curves:
            plots["roc"] = _roc(curves)
        if "reliability" in headline:
            plots["reliability"] = _reliability(headline["reliability"])
        if len(headline["tiers"]) > 1:
            plots["tiers"] = _tiers(headline["tiers"])
    return plots


def _axes(width: float, height: float) -> tuple[Figure, Axes]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.add_subplot()
    axes.grid(color="#dcdfe3", linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _svg(figure: Figure) -> str:
    stream = io.StringIO()
    figure.savefig(stream, format="svg", metadata={"Date": None})
    return stream.getvalue()


def _roc(curves: Mapping[str, Roc]) -> str:
    """All sets with both classes, with the low false positive rates enlarged."""
    figure, axes = _axes(5.4, 4.6)
    inset = axes.inset_axes((0.42, 0.12, 0.55, 0.55))
    inset.grid(color="#dcdfe3", linewidth=0.6)
    for index, (name, curve) in enumerate(curves.items()):
        colour, style = LINES[index % len(LINES)], "-" if index < len(LINES) else "--"
        for where in (axes, inset):
            where.plot(curve["fpr"], curve["tpr"], style, color=colour, label=name, linewidth=1.4)
    inset.set(xlim=(0, INSET_FPR), ylim=(0, 1.01))
    inset.set_title("up to 10 % false alarms", fontsize=8)
    for percent in (0.01, 0.05):
        inset.axvline(percent, color=OTHER, linewidth=0.8, linestyle=":")
    axes.plot([0, 1], [0, 1], color=OTHER, linewidth=0.8, linestyle=":")
    axes.set(xlim=(0, 1), ylim=(0, 1.01), xlabel="reals flagged", ylabel="fakes found")
    figure.legend(loc="outside upper center", ncols=2, frameon=False)
    return _svg(figure)


def _reliability(bins: Reliability) -> str:
    """Share of fakes over mean score; the size of a point is its number of images."""
    figure, axes = _axes(4.4, 4.2)
    most = max(bins["images"])
    areas = [12 + 150 * count / most for count in bins["images"]]
    axes.plot([0, 1], [0, 1], color=OTHER, linewidth=0.8, linestyle=":", label="ideal")
    axes.plot(bins["score"], bins["fake"], color=LINES[0], linewidth=1)
    axes.scatter(bins["score"], bins["fake"], areas, color=LINES[0], alpha=0.8)
    axes.set(
        xlim=(0, 1), ylim=(0, 1.02), xlabel="mean score", ylabel="share of fakes (classes alike)"
    )
    axes.legend(frameon=False)
    return _svg(figure)


def _histogram(histogram: Histogram, thresholds: Mapping[str, float]) -> str:
    """Shares of each class over the score, with the uncertain band."""
    figure, axes = _axes(5.4, 3.4)
    edges = histogram["edges"]
    axes.axvspan(
        thresholds["real_below"], thresholds["fake_from"], color="#e0a030", alpha=0.15, lw=0,
        label="uncertain",
    )  # fmt: skip
    for name, counts in histogram["counts"].items():
        shares = [count / sum(counts) for count in counts]
        axes.stairs(
            shares, edges, fill=True, alpha=0.55, color=FAKE if name == "fake" else REAL, label=name
        )
    axes.set(xlim=(0, 1), xlabel="score", ylabel="share of the class")
    axes.set_yscale("symlog", linthresh=0.01)
    axes.set_yticks([0, 0.01, 0.1, 1], ["0", "1 %", "10 %", "100 %"])
    axes.legend(frameon=False, ncols=3, loc="upper center")
    return _svg(figure)


def _tiers(tiers: Mapping[str, Figures]) -> str:
    """Figures by degradation with their intervals."""
    figure, axes = _axes(7.2, 3.6)
    first = next(iter(tiers.values()))
    measures = TIER_MEASURES if "auc" in first else CLASS_MEASURES
    shown = [name for name in measures if name in first]
    for index, name in enumerate(shown):
        values = [value_of(tier, name) or 0.0 for tier in tiers.values()]
        bounds = [
            tier["intervals"][name] or [value] * 2
            for tier, value in zip(tiers.values(), values, strict=True)
        ]
        errors = [
            [max(0, value - low) for value, (low, _) in zip(values, bounds, strict=True)],
            [max(0, high - value) for value, (_, high) in zip(values, bounds, strict=True)],
        ]
        places = [place + 0.18 * (index - 1) for place in range(len(tiers))]
        axes.errorbar(
            places,
            values,
            errors,
            fmt="o",
            color=LINES[index],
            label=short_name(name),
            capsize=2,
            ms=4,
        )
    axes.set_xticks(range(len(tiers)), list(tiers), rotation=30, ha="right")
    figure.legend(loc="outside upper center", ncols=3, frameon=False)
    return _svg(figure)
