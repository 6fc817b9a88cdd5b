"""``deepfake report`` and ``deepfake latest``: what can be made again from a finished run."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from deepfake_core.commands.terminal import (
    DONE,
    FAILED,
    add_json,
    add_key,
    add_output,
    check_output,
    complain,
    results_of,
    say,
    tell,
)

if TYPE_CHECKING:
    from deepfake_core.commands.terminal import Commands


def add(commands: Commands) -> None:
    """Add ``report`` and ``latest``."""
    _add_report(commands)
    latest = commands.add_parser("latest", help="rebuild latest.parquet from verdicts/")
    add_output(latest)
    latest.set_defaults(command=_latest)


def _add_report(commands: Commands) -> None:
    parser = commands.add_parser("report", help="render a finished run's report again")
    parser.add_argument("run_id", metavar="RUN_ID", help="the run")
    add_output(parser)
    parser.add_argument(
        "--thumbnails",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="whether the report shows small pictures",
    )
    add_key(parser)
    add_json(parser)
    parser.set_defaults(command=_report)


def _report(parsed: argparse.Namespace) -> int:
    from deepfake_core.reporting.run_report import report_again

    check_output(parsed.output)
    address = report_again(parsed.run_id, results_of(parsed), thumbnails=parsed.thumbnails)
    tell({"report": address} if parsed.json else None, f"report: {address}")
    return DONE


def _latest(parsed: argparse.Namespace) -> int:
    from deepfake_core.results.store import Results
    from deepfake_core.storage.opening import open_storage
    from deepfake_core.storage.output_lock import beside_others

    check_output(parsed.output)
    results = Results(open_storage(parsed.output))
    damaged: list[str] = []
    with beside_others(results.storage, "a rebuild of latest.parquet", say=say):
        rows = results.rebuild_latest(lambda error: damaged.append(str(error)))
    tell(None, f"latest.parquet: {rows} images")
    for message in damaged:
        complain(f"left out: {message}", FAILED)
    return FAILED if damaged else DONE
