"""``deepfake retention``."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from deepfake_core.commands.plain_words import whole_number
from deepfake_core.commands.terminal import (
    DONE,
    add_json,
    add_key,
    add_output,
    add_wait,
    check_output,
    results_of,
    tell,
)
from deepfake_core.errors import UsageError

if TYPE_CHECKING:
    from deepfake_core.commands.terminal import Commands
    from deepfake_core.operations.retention import Removed


def add(commands: Commands) -> None:
    """Add ``retention``."""
    parser = commands.add_parser(
        "retention", help="remove the working files of old runs, and old verdicts if asked"
    )
    add_output(parser)
    parser.add_argument(
        "--keep-days",
        type=whole_number,
        required=True,
        metavar="N",
        help="days after which a run is old",
    )
    parser.add_argument(
        "--verdicts",
        action="store_true",
        help="remove old verdicts, too; images that no verdict is left of are judged again",
    )
    parser.add_argument("--dry-run", action="store_true", help="tell, and remove nothing")
    add_wait(parser)
    add_key(parser)
    add_json(parser)
    parser.set_defaults(command=_retention)


def _retention(parsed: argparse.Namespace) -> int:
    from deepfake_core.operations.retention import days_ago, retain

    check_output(parsed.output)
    if parsed.keep_days < 1:
        raise UsageError(f"--keep-days: found {parsed.keep_days}; give a number from 1 on")
    before = days_ago(parsed.keep_days)
    removed = retain(
        results_of(parsed),
        before=before,
        verdicts=parsed.verdicts,
        dry_run=parsed.dry_run,
        wait_seconds=60 * parsed.wait,
    )
    content = {**removed.as_json(), "dry_run": parsed.dry_run}
    tell(content if parsed.json else None, _in_words(removed, dry_run=parsed.dry_run))
    return DONE


def _in_words(removed: Removed, *, dry_run: bool) -> str:
    verb = "would remove" if dry_run else "removed"
    lines = [
        f"{verb}, of runs before {removed.before}, {removed.bytes / 1e6:,.1f} MB:",
        f"  {removed.parts} parts and {removed.manifests} manifests of {removed.runs}"
        " finished runs",
        f"  {removed.verdicts} files of verdicts",
    ]
    if removed.forgotten:
        lines.append(
            f"{removed.forgotten} images have no verdict any more: the next scan judges those"
            " that are still there"
        )
    if removed.kept_runs:
        names = ", ".join(removed.kept_runs)
        lines.append(f"kept, since they are not finished or their verdicts are missing: {names}")
    lines += [f"damaged: {message}" for message in removed.damaged]
    return "\n".join(lines)
