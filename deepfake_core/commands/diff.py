"""``deepfake diff``."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from deepfake_core.commands.plain_words import whole_number
from deepfake_core.commands.terminal import (
    DONE,
    add_json,
    add_output,
    add_registry,
    registry_of,
    say,
    tell,
)

if TYPE_CHECKING:
    from pathlib import Path

    from deepfake_core.commands.terminal import Commands
    from deepfake_core.inference.classifier import Classifier
    from deepfake_core.operations.model_difference import Difference

EXAMPLES, TOLD_EVERY = 20, 200


def add(commands: Commands) -> None:
    """Add ``diff``."""
    parser = commands.add_parser(
        "diff", help="show which labels change between two models on the same pictures"
    )
    parser.add_argument("model_a", metavar="MODEL_A", help="NAME or NAME@VERSION, the one before")
    parser.add_argument("model_b", metavar="MODEL_B", help="the one after")
    parser.add_argument(
        "--data", required=True, metavar="DIR|RUN_ID", help="folder or URL of pictures, or a run"
    )
    parser.add_argument(
        "--examples", type=whole_number, default=EXAMPLES, metavar="N", help="pictures shown (20)"
    )
    parser.add_argument("--precision", default="auto", help="auto, fp32, bf16 or int8")
    parser.add_argument(
        "--second-look", choices=("auto", "off", "all"), default="auto",
        help="which faces are given a second look (auto)",
    )  # fmt: skip
    add_output(parser)
    add_registry(parser)
    add_json(parser)
    parser.set_defaults(command=_diff)


def _diff(parsed: argparse.Namespace) -> int:
    from deepfake_core.operations.model_difference import compare_models, pictures_of

    registry = registry_of(parsed)
    first = _open(parsed.model_a, parsed, registry)
    second = _open(parsed.model_b, parsed, registry)
    source, images = pictures_of(parsed.data, parsed.output)
    difference = compare_models(source, images, first=first, second=second, told=_told)
    models = first.bundle.model_id, second.bundle.model_id
    examples = max(0, parsed.examples)
    result = {
        "models": models,
        "images": difference.images,
        "flipped": len(difference.flips),
        "reversed": sum(flip.reversed for flip in difference.flips),
        "mean_score_change": difference.mean_score_change,
        "by": [{"from": a, "to": b, "images": n} for (a, b), n in sorted(difference.by.items())],
        "examples": [
            {"image": flip.image, "from": flip.before, "to": flip.after,
             "score_from": flip.score_before, "score_to": flip.score_after}
            for flip in difference.flips[:examples]
        ],
    }  # fmt: skip
    tell(result if parsed.json else None, _in_words(difference, models, examples))
    return DONE


def _open(reference: str, parsed: argparse.Namespace, registry: Path) -> Classifier:
    from deepfake_core.inference.opening import Choice, choose_networks, open_classifier
    from deepfake_core.models.registry import find_model

    bundle = find_model(reference, registry)
    return open_classifier(
        choose_networks(
            bundle,
            Choice(precision=parsed.precision, second_look=parsed.second_look),
            registry=registry,
        )
    )


def _told(done: int, of: int) -> None:
    if done % TOLD_EVERY < 16 or done == of:
        say(f"{done:,} of {of:,} pictures judged by both")


def _in_words(difference: Difference, models: tuple[str, str], examples: int) -> str:
    from deepfake_core.rendering.evidence import label_words
    from deepfake_core.rendering.text import one_line, score_text, share_text

    def score(value: float | None) -> str:
        return "-" if value is None else score_text(value)

    reversals = sum(flip.reversed for flip in difference.flips)
    lines = [
        f"{models[0]} to {models[1]}",
        f"another label: {share_text(len(difference.flips), difference.images)}",
        f"from flagged to nothing found, or back: {share_text(reversals, difference.images)}",
        *(
            f"  {count:,} {label_words(before)} to {label_words(after)}"
            for (before, after), count in sorted(difference.by.items(), key=lambda item: -item[1])
            if before != after
        ),
    ]
    if difference.mean_score_change is not None:
        lines.append(f"scores moved by {difference.mean_score_change:.3f} on average")
    lines += [
        f"  {score(flip.score_before)} {label_words(flip.before)} to "
        f"{score(flip.score_after)} {label_words(flip.after)}  {one_line(flip.image)}"
        for flip in difference.flips[:examples]
    ]
    if len(difference.flips) > examples:
        lines.append(f"  and {len(difference.flips) - examples:,} more; --examples shows more")
    return "\n".join(lines)
