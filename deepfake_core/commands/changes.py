"""``deepfake changes``."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from deepfake_core.commands.plain_words import whole_number
from deepfake_core.commands.terminal import DONE, add_json, check_output, tell
from deepfake_core.errors import UsageError

if TYPE_CHECKING:
    from deepfake_core.commands.terminal import Commands
    from deepfake_core.reporting.changes import LabelComparison


def add(commands: Commands) -> None:
    """Add ``changes``."""
    parser = commands.add_parser(
        "changes", help="compare the labels of two runs, or of two models, image by image"
    )
    what = "a RUN_ID, or a model as NAME@VERSION (its newest verdict of each image)"
    parser.add_argument("before", metavar="BEFORE", help=what)
    parser.add_argument("after", metavar="AFTER", help="likewise")
    parser.add_argument("--output", default="reports", help="folder of the results")
    parser.add_argument(
        "--show", type=whole_number, default=100, metavar="N", help="name at most N images (100)"
    )
    add_json(parser)
    parser.set_defaults(command=_changes)


def _changes(parsed: argparse.Namespace) -> int:
    from deepfake_core.reporting.changes import compare_labels
    from deepfake_core.results.store import Results
    from deepfake_core.storage.opening import open_storage

    if parsed.show < 0:
        raise UsageError(f"--show {parsed.show}: give a number from 0 on")
    check_output(parsed.output)
    results = Results(open_storage(parsed.output))
    comparison = compare_labels(results, parsed.before, parsed.after, shown=parsed.show)
    tell(comparison.as_json() if parsed.json else None, _in_words(comparison))
    return DONE


def _in_words(comparison: LabelComparison) -> str:
    """A line per kind of change and per image."""
    from deepfake_core.rendering.text import one_line, score_text

    changes = comparison.changes
    lines = [
        f"{changes.compared} images have a label in both; {changes.flipped} of them another",
        *(f"{count.images} from {count.before} to {count.after}" for count in changes.by),
        *(
            f"  {image.before} -> {image.after} ({score_text(image.score)}) {one_line(image.image)}"
            for image in changes.images
        ),
    ]
    if changes.flipped > len(changes.images):
        lines.append(f"  and {changes.flipped - len(changes.images)} more; see --show")
    for count, words in (
        (comparison.other_content, "not compared: their bytes changed in between"),
        (comparison.only_before, f"only in {comparison.before['name']}"),
        (comparison.only_after, f"only in {comparison.after['name']}"),
    ):
        lines += [f"{count} {words}"] if count else []
    return "\n".join(lines)
