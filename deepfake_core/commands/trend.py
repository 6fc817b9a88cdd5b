"""``deepfake trend``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from deepfake_core.commands.terminal import DONE, add_json, add_output, check_output, say, tell
from deepfake_core.errors import OutputError, UsageError, reason

if TYPE_CHECKING:
    from deepfake_core.commands.terminal import Commands

KINDS = ("png", "svg")


def add(commands: Commands) -> None:
    """Add ``trend``."""
    parser = commands.add_parser("trend", help="draw what was found week by week")
    add_output(parser)
    parser.add_argument(
        "--to",
        metavar="FILE",
        help="the picture, .png or .svg (trend.png in the folder of the results, or here where "
        "that is a bucket); the numbers go beside it as .csv",
    )
    add_json(parser)
    parser.set_defaults(command=_trend)


def _trend(parsed: argparse.Namespace) -> int:
    from deepfake_core.reporting.trend import draw, weekly

    check_output(parsed.output)
    beside = Path() if "://" in parsed.output else Path(parsed.output)
    picture = Path(parsed.to) if parsed.to else beside / "trend.png"
    kind = picture.suffix.removeprefix(".").lower()
    if kind not in KINDS:
        raise UsageError(f"--to: found {parsed.to}; give a name that ends in .png or .svg")
    weeks = weekly(parsed.output, on_damaged=lambda error: say(f"left out: {error}"))
    table = picture.with_suffix(".csv")
    try:
        picture.parent.mkdir(parents=True, exist_ok=True)
        picture.write_bytes(draw(weeks, kind=kind))
        weeks.to_csv(table, index=False)
    except OSError as error:
        raise OutputError(f"cannot write {picture}: {reason(error)}; give another --to") from error
    content = {"picture": str(picture), "table": str(table), "weeks": len(weeks)}
    count = "1 week" if len(weeks) == 1 else f"{len(weeks)} weeks"
    tell(content if parsed.json else None, f"{picture} and {table}: {count}")
    return DONE
