"""The model card: what a model was trained on, what was measured, what it must not be used for."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import cast

from deepfake_core.models.bundle import Description
from deepfake_core.models.figures import Figures, Gap, value_of
from deepfake_core.models.qualification import PrecisionRecord, Qualification
from deepfake_core.rendering.evidence import SCALE
from deepfake_core.rendering.figure_intervals import figure_interval
from deepfake_core.rendering.figure_names import short_name
from deepfake_core.rendering.text import as_markdown, line_text, without_pictures

COLUMNS = (
    *("images", "auc", "balanced_accuracy", "tpr_at_1_percent_fpr", "tpr_at_5_percent_fpr"),
    *("fpr_at_fake", "tpr_at_fake", "fakes_called_real", "decided_share", "ece"),
)
# Figures of the model index by their names at Hugging Face.
INDEXED = {
    "auc": "roc_auc",
    "average_precision": "average_precision",
    "balanced_accuracy": "balanced_accuracy",
    "brier": "brier_score",
}


_PLAIN = re.compile(r"[\w .,@+/-]+")


def card(description: Description) -> str:
    """The card as markdown with the front matter of the Hugging Face format; failures first."""
    figures: Mapping[str, Figures] = description.figures
    both = {name: measured for name, measured in figures.items() if "auc" in measured}
    single = {name: measured for name, measured in figures.items() if "auc" not in measured}
    parts = [
        _front_matter(description, both),
        f"# {description.name}@{description.version}\n",
        "## What it gets wrong, and must not be used for\n",
        "\n".join(f"- {without_pictures(limit)}" for limit in description.limits) + "\n",
        _misses(both),
        _fairness(figures),
        f"## What it was trained on\n\n{without_pictures(description.trained_on)}\n",
        "## What was measured\n",
        "`report` are the validation images on which neither calibration nor thresholds were "
        "chosen; precisions are qualified on them. The sets `report_…` are the same images after "
        "a degradation. In brackets 95 % intervals: bootstrap over groups, and never "
        "narrower than the exact one of the counts.\n",
        _table(both),
        _single(single),
        _decision(description),
        "## Precisions\n",
        _precisions(description),
    ]
    return "\n".join(part for part in parts if part)


def _front_matter(description: Description, both: Mapping[str, Figures]) -> str:
    """What Hugging Face reads: tags, and the figures as a model index."""
    lines = [
        "---", "license: other",
        f"library_name: {'openvino' if description.architecture is None else 'keras'}",
        "pipeline_tag: image-classification",
        "tags: [deepfake-detection, faces]",
    ]  # fmt: skip
    if both:
        lines += ["model-index:", f"- name: {description.name}", "  results:"]
    for name, measured in both.items():
        # A JSON string is a YAML string, whatever is in it.
        quoted = json.dumps(name)
        lines += [
            "  - task: {type: image-classification}",
            f"    dataset: {{type: {quoted}, name: {quoted}}}",
            "    metrics:",
            *(
                f"    - {{type: {kind}, value: {measured.get(key)}}}"
                for key, kind in INDEXED.items()
                if key in measured
            ),
        ]
    return "\n".join([*lines, "---\n"])


def _name(name: str) -> str:
    """A set's name, which comes from somebody's folders or list: text, whatever is in it."""
    return f"`{name}`" if _PLAIN.fullmatch(name) else as_markdown(name)


def _fairness(figures: Mapping[str, Figures]) -> str:
    """The gaps between groups of people, or that none were measured."""
    lines = [
        f"- {_name(name)}, {as_markdown(column)}: {_gap(rate, gap)}"
        for name, figures_of in figures.items()
        for column, measured in (figures_of.get("people") or {}).items()
        for rate, gap in measured["gaps"].items()
    ]
    if not lines:
        return "Fairness was not measured: the data names no groups of people.\n"
    return "Differences between groups of people:\n\n" + "\n".join(lines) + "\n"


def _gap(rate: str, gap: Gap | None) -> str:
    if gap is None:
        return f"{short_name(rate)}: too few images to compare groups"
    low, high = gap["interval"]
    words = "a gap of" if gap["found"] else "no gap beyond chance; the largest difference is"
    return (
        f"{short_name(rate)}: {words} {gap['gap']:.3f} [{low:.3f}, {high:.3f}] between "
        f"{as_markdown(gap['highest'])} and {as_markdown(gap['lowest'])}"
    )


def _percent(value: float) -> str:
    return f"{100 * value:.1f} %"


def _misses(both: Mapping[str, Figures]) -> str:
    clean = both.get("report")
    if not clean:
        return ""
    worst = min(both, key=lambda name: both[name]["auc"])
    return (
        f"Of {clean['real']} photographs in `report`, {_percent(clean['fpr_at_fake'])} were "
        f"labelled fake; of {clean['fake']} generated faces, "
        f"{_percent(clean['fakes_called_real'])} were "
        f"labelled real. It was weakest on {_name(worst)} (AUC {both[worst]['auc']:.3f}).\n"
    )


def _table(both: Mapping[str, Figures]) -> str:
    lines = [
        "| set | " + " | ".join(map(short_name, COLUMNS)) + " |",
        "|---" * (len(COLUMNS) + 1) + "|",
    ]
    for name, measured in both.items():
        cells = [str(measured["images"])]
        for key in COLUMNS[1:]:
            bounds = figure_interval(measured, key)
            between = " [{:.3f}, {:.3f}]".format(*bounds) if bounds else ""
            cells.append(f"{value_of(measured, key):.3f}{between}")
        lines.append(f"| {_name(name)} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _single(single: Mapping[str, Figures]) -> str:
    if not single:
        return ""
    lines = ["Sets that hold one class only:\n", "| set | images | labels |", "|---|---|---|"]
    for name, measured in single.items():
        labels = ", ".join(f"{count} {label}" for label, count in measured["labels"].items())
        lines.append(f"| {_name(name)} | {measured['images']} | {labels} |")
    return "\n".join(lines) + "\n"


def _decision(description: Description) -> str:
    curve, limits = description.calibration, description.thresholds
    return (
        "## Score and label\n\n"
        f"score = 1 / (1 + exp(-(logit - {curve.offset:.4f}) / {curve.temperature:.4f})); "
        f"`real` below {line_text(limits.real_below)}, `fake` from {line_text(limits.fake_from)}, "
        "`uncertain` between them. `real` is a name in data: it means that nothing was found, not "
        "that a picture is authentic. The score is calibrated for a share of fakes of "
        f"{100 * description.prior:g} %: where fakes are rarer it is too high.\n\n"
        f"{SCALE}\n"
    )


def _loss(value: float, bounds: Sequence[float | None]) -> str:
    """A loss with its interval, which has no bounds where there are too few groups."""
    known = [bound for bound in bounds if bound is not None and math.isfinite(bound)]
    if len(known) < 2:
        return f"{value:.4f} [too few groups]"
    return f"{value:.4f} [{known[0]:.4f}, {known[1]:.4f}]"


def _precisions(description: Description) -> str:
    trials: dict[str, PrecisionRecord] = {}
    tried = cast(Qualification, description.qualification)
    if "bf16" in tried:
        trials["bf16, emulated" if tried["bf16"]["emulated"] else "bf16"] = tried["bf16"]
    for way, trial in tried.get("int8", {}).items():
        trials[f"int8, {way}" + (" (ships)" if trial["shipped"] else "")] = trial
    if not trials:
        return "fp32 only.\n"
    lines = [
        f"Qualified: {', '.join(description.precisions)}. Each has calibration and thresholds of "
        "its own and was asked the same faces as fp32; flips are labels that went from fake to "
        "real or back. In brackets a paired 95 % bootstrap interval over groups.\n",
        "| precision | AUC lost | labels changed | at most | flips | qualified |",
        "|---|---|---|---|---|---|",
    ]
    return "\n".join([*lines, *(_trial(name, trial) for name, trial in trials.items())]) + "\n"


def _trial(name: str, trial: PrecisionRecord) -> str:
    """A row of the table of precisions."""
    qualified = "yes" if trial["qualified"] else "no"
    if "auc_loss" not in trial:
        # Bundles of before were tested by their accuracy at one threshold.
        changed = f"{trial['labels_changed']} of {trial['images_for_flips']}"
        return f"| {name} | not measured | {changed} | | {trial['flips']} | {qualified} |"
    lost = _loss(trial["auc_loss"], trial["auc_loss_interval"])
    return (
        f"| {name} | {lost} | {trial['changed']} of "
        f"{trial['faces']} | {trial['changed_at_most']:.1%} | {trial['flips']} | {qualified} |"
    )
