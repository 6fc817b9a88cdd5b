"""``deepfake retrain``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from deepfake_core.commands.library_noise import without_notices
from deepfake_core.commands.plain_words import number, whole_number
from deepfake_core.commands.retrain_progress import RetrainProgress
from deepfake_core.commands.terminal import (
    DONE,
    FAILED,
    INTERRUPTED,
    add_json,
    add_reading,
    add_registry,
    complain,
    reading_of,
    registry_of,
    say,
    tell,
)
from deepfake_core.errors import UsageError
from deepfake_core.retraining.config import HeadConfig, RetrainConfig, read_recipe

if TYPE_CHECKING:
    from deepfake_core.commands.terminal import Commands
    from deepfake_core.retraining.run import RetrainResult

FIELDS, HEAD = RetrainConfig.model_fields, HeadConfig.model_fields
FOR_NETWORKS = ("start", "teacher", "unlabelled", "feedback")
SHOWN = ("auc", "tpr_at_1_percent_fpr", "fpr_at_fake", "decided_share", "ece")


def add(commands: Commands) -> None:
    """Add ``retrain``; most options are fields of `RetrainConfig`."""
    parser = commands.add_parser(
        "retrain",
        help="train a new version on labelled folders; it becomes current if it is no worse",
        description="Check the data, train, calibrate, evaluate, and promote a new version if it "
        "passes the gate. Exit status 0: it passed; 1: it was refused.",
    )
    parser.add_argument("--data", required=True, metavar="DIR", help=FIELDS["data"].description)
    parser.add_argument("--config", type=Path, metavar="FILE", help="recipe as JSON")
    parser.add_argument("--start", help="in place of the recipe's start: none, imagenet, a file "
                        "of weights, or NAME[@VERSION]")  # fmt: skip
    for name in ("name", "unlabelled", "feedback", "output", "work", "run_id", "why"):
        parser.add_argument(
            f"--{name.replace('_', '-')}",
            default=FIELDS[name].default,
            help=FIELDS[name].description,
        )
    parser.add_argument(
        "--teacher", action="append", default=[], metavar="ONNX",
        help="classifier to distil; may be repeated",
    )  # fmt: skip
    parser.add_argument(
        "--head",
        metavar="NAME[@VERSION]",
        help="fit a new head of this second look, and no network",
    )
    parser.add_argument(
        "--views", type=whole_number, help=f"with --head: {HEAD['views'].description}"
    )
    parser.add_argument("--features", metavar="DIR", help="with --head: folder in which what the "
                        "tower says of each face is kept for the next fit")  # fmt: skip
    parser.add_argument(
        "--max-shortcut-auc", type=number, default=0.75, help=FIELDS["max_shortcut_auc"].description
    )
    parser.add_argument(
        "--allow-shortcuts", action="store_true", help=FIELDS["allow_shortcuts"].description
    )
    parser.add_argument(
        "--no-promote", action="store_true", help="only register a version that passes the gate"
    )
    add_reading(parser)
    add_registry(parser)
    add_json(parser)
    parser.set_defaults(command=_retrain)


def _retrain(parsed: argparse.Namespace) -> int:
    from deepfake_core.retraining.retrain import retrain

    folder, config = registry_of(parsed), _config(parsed)
    progress = RetrainProgress(words=parsed.words)
    try:
        with without_notices():
            progress.stream = sys.stderr
            result = retrain(config, registry=folder, notify=progress)
    except KeyboardInterrupt:
        advice = f"; continue with: {progress.resume}" if progress.resume else ""
        return complain(f"interrupted; what was done is kept{advice}", INTERRUPTED)
    finally:
        progress.close()
    tell(result if parsed.json else None, _words(result))
    if result["passed"]:
        return DONE
    for reason in result["reasons"] if parsed.json else ():
        say(f"refused: {reason}")
    return complain(f"{result['model_id']} did not pass the gate, and is not current", FAILED)


def _config(parsed: argparse.Namespace) -> RetrainConfig:
    recipe = read_recipe(parsed.config)
    if parsed.start:
        training = recipe.training.model_copy(update={"start": parsed.start})
        recipe = recipe.model_copy(update={"training": training})
    same = set(FIELDS) & set(vars(parsed)) - {"head"}
    given = {name: getattr(parsed, name) for name in same}
    return RetrainConfig(
        **given,
        reading=reading_of(parsed),
        recipe=recipe,
        head=_head(parsed),
        teachers=tuple(parsed.teacher),
        promote=not parsed.no_promote,
    )


def _head(parsed: argparse.Namespace) -> HeadConfig | None:
    """What is said of a new head, if one is wanted; of a network nothing may be said then."""
    if parsed.head is None:
        if parsed.views is not None or parsed.features is not None:
            raise UsageError("--views and --features are for a new head; name one with --head")
        return None
    useless = [name for name in FOR_NETWORKS if getattr(parsed, name)]
    if useless:
        named = ", ".join(f"--{name}" for name in useless)
        raise UsageError(f"{named}: not with --head, which trains no network")
    given = {"views": parsed.views, "features": parsed.features}
    return HeadConfig(
        look=parsed.head, **{name: value for name, value in given.items() if value is not None}
    )


def _words(result: RetrainResult) -> str:
    figures = result["figures"]["report"]
    shown = ", ".join(f"{name} {figures.get(name):.4f}" for name in SHOWN if name in figures)
    outcome = "it is current now" if result["promoted"] else "it is not current"
    return "\n".join(
        [
            f"{result['model_id']}: {outcome}",
            f"on {figures['images']} images that chose nothing: {shown}",
            *(f"refused: {reason}" for reason in result["reasons"]),
            *(f"note: {note}" for note in result["notes"]),
            f"report: {result['report']}",
        ]
    )
