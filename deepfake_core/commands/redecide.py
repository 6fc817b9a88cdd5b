"""``deepfake redecide``."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from pydantic import ValidationError

from deepfake_core.commands.terminal import DONE, add_json, add_key, check_output, results_of, tell
from deepfake_core.errors import UsageError

if TYPE_CHECKING:
    from deepfake_core.commands.terminal import Commands
    from deepfake_core.models.decision import Thresholds
    from deepfake_core.operations.redecision import RedecisionResult


def add(commands: Commands) -> None:
    """Add ``redecide``."""
    parser = commands.add_parser(
        "redecide", help="give a finished run's images new labels, from its stored scores"
    )
    parser.add_argument("run_id", metavar="RUN_ID", help="the run")
    parser.add_argument(
        "--thresholds",
        required=True,
        metavar="REAL_BELOW,FAKE_FROM",
        help="scores below the first are real, from the second on fake, such as 0.3,0.8",
    )
    parser.add_argument("--output", default="reports", help="folder of the results")
    add_key(parser)
    add_json(parser)
    parser.set_defaults(command=_redecide)


def _redecide(parsed: argparse.Namespace) -> int:
    thresholds = _thresholds(parsed.thresholds)

    from deepfake_core.operations.redecision import redecide

    check_output(parsed.output)
    result = redecide(parsed.run_id, thresholds, output=results_of(parsed))
    tell(dict(result) if parsed.json else None, _in_words(result))
    return DONE


def _thresholds(text: str) -> Thresholds:
    from deepfake_core.models.decision import Thresholds

    advice = "give two numbers from 0 to 1, the lower first, such as --thresholds 0.3,0.8"
    try:
        real_below, fake_from = (float(number) for number in text.split(","))
        return Thresholds(real_below=real_below, fake_from=fake_from)
    except ValidationError as error:
        problem = error.errors()[0]["msg"].removeprefix("Value error, ")
        raise UsageError(f"--thresholds {text}: {problem}; {advice}") from error
    except ValueError as error:
        raise UsageError(f"--thresholds {text}: that is not a pair of numbers; {advice}") from error


def _in_words(result: RedecisionResult) -> str:
    """A few lines for a person."""
    from deepfake_core.rendering.evidence import label_words

    labels = ", ".join(f"{n} {label_words(label)}" for label, n in result["labels"].items() if n)
    return "\n".join(
        [
            f"run {result['run_id']}: the labels of run {result['redecided_from']}, decided again",
            labels,
            *(
                f"changed: {row['images']} from {row['from']} to {row['to']}"
                for row in result["changes"] or [{"images": 0, "from": "any", "to": "another"}]
            ),
            f"verdicts: {result['verdicts']}",
            f"report: {result['report']}",
        ]
    )
