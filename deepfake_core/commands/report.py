"""``deepfake report`` and ``deepfake latest``: what can be made again from a finished run."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from deepfake_core.commands.terminal import DONE, add_json, tell
from deepfake_core.errors import UsageError

if TYPE_CHECKING:
    from deepfake_core.commands.terminal import Commands


def add(commands: Commands) -> None:
    """Add ``report`` and ``latest``."""
    _add_report(commands)
    latest = commands.add_parser("latest", help="rebuild latest.parquet from verdicts/")
    latest.add_argument("--output", default="reports", help="folder of the results")
    latest.set_defaults(command=_latest)


def _add_report(commands: Commands) -> None:
    parser = commands.add_parser("report", help="render a finished run's report again")
    parser.add_argument("run_id", metavar="RUN_ID", help="the run")
    parser.add_argument("--output", default="reports", help="folder of the results")
    parser.add_argument(
        "--thumbnails",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="whether the report shows small pictures",
    )
    add_json(parser)
    parser.set_defaults(command=_report)


def _report(parsed: argparse.Namespace) -> int:
    from deepfake_core.reporting.run_report import report_again

    address = report_again(parsed.run_id, parsed.output, thumbnails=parsed.thumbnails)
    tell({"report": address} if parsed.json else None, f"report: {address}")
    return DONE


def _latest(parsed: argparse.Namespace) -> int:
    from deepfake_core.results.store import Results
    from deepfake_core.storage.opening import open_storage

    if "://" not in parsed.output and not Path(parsed.output).is_dir():
        raise UsageError(f"there is no folder {parsed.output}; name the folder of the results")
    rows = Results(open_storage(parsed.output)).rebuild_latest()
    print(f"latest.parquet: {rows} images")
    return DONE
