"""``deepfake evaluate``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from deepfake_core.commands.plain_words import whole_number
from deepfake_core.commands.terminal import (
    DONE,
    add_json,
    add_reading,
    add_registry,
    reading_of,
    registry_of,
    say,
    tell,
)
from deepfake_core.errors import SourceError

if TYPE_CHECKING:
    from deepfake_core.commands.terminal import Commands
    from deepfake_core.evaluation.document import Counts, Evaluation

SHOWN_WARNINGS = 10


def add(commands: Commands) -> None:
    """Add ``evaluate``."""
    parser = commands.add_parser("evaluate", help="measure a model on a labelled folder")
    parser.add_argument("model", metavar="MODEL", help="NAME or NAME@VERSION")
    parser.add_argument("--data", type=Path, required=True, help="labelled folder")
    parser.add_argument(
        "--set", action="append", default=[], dest="sets", metavar="NAME",
        help="set to evaluate, such as valid; may be repeated; default: all but train",
    )  # fmt: skip
    parser.add_argument(
        "--output", type=Path, help="folder of the report; default: reports/evaluations/MODEL"
    )
    parser.add_argument(
        "--leave-one-out", action="store_true",
        help="estimate the accuracy on a new generator from three sources or more",
    )  # fmt: skip
    parser.add_argument(
        "--trained-source", action="append", default=[], dest="trained_sources", metavar="NAME",
        help="source of fakes that the model was trained on; may be repeated",
    )  # fmt: skip
    parser.add_argument(
        "--one-class", action="append", default=[], metavar="NAME",
        help="set whose classes differ in more than the label; may be repeated",
    )  # fmt: skip
    parser.add_argument(
        "--tiers", action=argparse.BooleanOptionalAction, default=True,
        help="whether compressed, shrunk and blurred copies are measured too",
    )  # fmt: skip
    parser.add_argument(
        "--one-class-tiers", action="store_true",
        help="likewise for sets that are judged class by class",
    )  # fmt: skip
    parser.add_argument(
        "--explanations", type=whole_number, default=0, metavar="N",
        help="explain N fakes, and count how often the area that is named matters",
    )  # fmt: skip
    parser.add_argument("--precision", default="fp32", help="auto, fp32, bf16 or int8")
    add_reading(parser)
    add_registry(parser)
    add_json(parser)
    parser.set_defaults(command=_evaluate)


def _evaluate(parsed: argparse.Namespace) -> int:
    from deepfake_core.evaluation.config import EvaluateConfig
    from deepfake_core.evaluation.measurement import evaluate
    from deepfake_core.evaluation.report import render
    from deepfake_core.models.registry import find_model

    bundle = find_model(parsed.model, registry_of(parsed))
    if not parsed.data.is_dir():
        raise SourceError(f"there is no folder {parsed.data}; name a labelled folder with --data")
    parsed.reading = reading_of(parsed)
    chosen = {name: getattr(parsed, name) for name in EvaluateConfig.model_fields}
    evaluation = evaluate(bundle, parsed.data, config=EvaluateConfig(**chosen), say=say)
    folder = f"{evaluation['name']}@{evaluation['version']}"
    output = parsed.output or Path("reports") / "evaluations" / folder
    paths = {name: str(path) for name, path in render(evaluation, bundle, output).items()}
    tell({**evaluation, **paths} if parsed.json else None, in_words(evaluation, paths["report"]))
    return DONE


def _of_all(counts: Counts) -> str:
    """One figure for everything that was judged."""
    return (
        f"all {counts['images']:,} images: {100 * counts['right_share']:.1f} % are labelled as "
        f"they are ({counts['right_real']:,} of {counts['real']:,} real, "
        f"{counts['right_fake']:,} of {counts['fake']:,} fake), {counts['wrong']:,} wrong, "
        f"{counts['uncertain']:,} uncertain"
    )


def _to_quote(name: str) -> str:
    """Which figures say what to expect of other images."""
    from deepfake_core.evaluation.partition import CHOSEN, REPORT, TRAIN

    if name.endswith(REPORT):
        whole = name.removesuffix(REPORT)
        return (
            f"may be quoted: {name}, the half of {whole} on which nothing was chosen; not all of "
            f"{whole}, and not {whole}{CHOSEN}"
        )
    if name == TRAIN or name.endswith(CHOSEN):
        return f"may be quoted: nothing; the model was trained or tuned on {name}"
    return f"may be quoted: {name}, if none of its images was used to make the model"


def in_words(evaluation: Evaluation, report: str) -> str:
    """A few lines for a person: what is wrong first."""
    from deepfake_core.evaluation.report import headline

    lines = [headline(evaluation), _of_all(evaluation["all"]), _to_quote(evaluation["headline"])]
    for name, measured in evaluation["sets"].items():
        figures = measured["figures"]
        if "auc" in figures:
            lines.append(
                f"{name}: AUC {figures['auc']:.4f}, balanced accuracy "
                f"{figures['balanced_accuracy']:.4f}, fakes found at 1 % false alarms "
                f"{figures['tpr_at_1_percent_fpr']:.4f}, ECE {figures['ece']:.4f}, "
                f"decided {figures['decided_share']:.4f}"
            )
        else:
            labels = ", ".join(f"{count} {label}" for label, count in figures["labels"].items())
            lines.append(f"{name}: {figures['images']} images of one class: {labels}")
    if evaluation["leave_one_out"]:
        expected = evaluation["leave_one_out"]["expected"]["balanced_accuracy"]
        lines.append(
            f"a new generator: balanced accuracy {expected['mean']:.4f} expected, "
            f"{expected['worst']:.4f} at worst"
        )
    explained = evaluation["explanations"]
    if explained and explained["all"]["images"]:
        shares = explained["all"]
        lines.append(
            f"explanations: {shares['shown']:.3f} of {shares['images']} fakes pass the test, "
            f"{explained['shown_by_chance']:.3f} would by chance"
        )
    lines += [f"note: {warning}" for warning in evaluation["warnings"][:SHOWN_WARNINGS]]
    if evaluation["failures"]:
        lines.append(f"{len(evaluation['failures'])} images could not be judged, see the report")
    return "\n".join([*lines, f"report: {report}"])
