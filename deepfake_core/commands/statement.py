"""``deepfake statement``."""

from __future__ import annotations

import argparse
import datetime as dt
from typing import TYPE_CHECKING

from deepfake_core.commands.terminal import DONE, add_json, add_output, check_output, tell
from deepfake_core.errors import UsageError

if TYPE_CHECKING:
    from deepfake_core.commands.terminal import Commands


def add(commands: Commands) -> None:
    """Add ``statement``."""
    parser = commands.add_parser(
        "statement", help="count what was scanned, flagged, reviewed and overturned in a period"
    )
    for name, meaning in (("--from", "first day, UTC"), ("--to", "last day, included")):
        parser.add_argument(
            name, required=True, metavar="DATE", dest=f"{name[2:]}_day", help=meaning
        )
    add_output(parser)
    add_json(parser)
    parser.set_defaults(command=_statement)


def _statement(parsed: argparse.Namespace) -> int:
    from deepfake_core.reporting.statement import make_statement, statement_markdown

    check_output(parsed.output)
    begins, ends = _day(parsed.from_day, "--from"), _day(parsed.to_day, "--to")
    statement = make_statement(parsed.output, begins, ends)
    tell(statement.model_dump(mode="json") if parsed.json else None, statement_markdown(statement))
    return DONE


def _day(text: str, option: str) -> dt.date:
    try:
        return dt.date.fromisoformat(text)
    except ValueError as error:
        raise UsageError(f"{option} {text}: give a day such as 2026-11-24") from error
