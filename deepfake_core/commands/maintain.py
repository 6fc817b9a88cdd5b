"""``deepfake retention`` and ``deepfake trend``: looking after results, and over them."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from deepfake_core.commands.terminal import DONE, add_json, tell
from deepfake_core.errors import OutputError, UsageError, reason
from deepfake_core.records import Json

if TYPE_CHECKING:
    from deepfake_core.commands.terminal import Commands

KINDS = ("png", "svg")


def add(commands: Commands) -> None:
    """Add ``retention`` and ``trend``."""
    parser = commands.add_parser(
        "retention", help="remove the working files of old runs, and old verdicts if asked"
    )
    _add_output(parser)
    parser.add_argument(
        "--keep-days", type=int, required=True, metavar="N", help="days after which a run is old"
    )
    parser.add_argument(
        "--verdicts",
        action="store_true",
        help="remove old verdicts, too; images that no verdict is left of are judged anew",
    )
    parser.add_argument("--dry-run", action="store_true", help="tell, and remove nothing")
    add_json(parser)
    parser.set_defaults(command=_retention)
    parser = commands.add_parser("trend", help="draw what was found week by week")
    _add_output(parser)
    parser.add_argument(
        "--to",
        default="trend.png",
        metavar="FILE",
        help="the picture, .png or .svg; the numbers go beside it as .csv",
    )
    add_json(parser)
    parser.set_defaults(command=_trend)


def _add_output(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--output", default="reports", help="folder of the results")


def _check_output(output: str) -> None:
    if "://" not in output and not Path(output).is_dir():
        raise UsageError(f"there is no folder {output}; name the folder of the results")


def _retention(parsed: argparse.Namespace) -> int:
    from deepfake_core.retention import days_ago, retain

    _check_output(parsed.output)
    if parsed.keep_days < 1:
        raise UsageError(f"--keep-days: found {parsed.keep_days}; give a number from 1 on")
    before = days_ago(parsed.keep_days)
    removed = retain(parsed.output, before=before, verdicts=parsed.verdicts, dry_run=parsed.dry_run)
    removed["dry_run"] = parsed.dry_run
    tell(removed if parsed.json else None, _in_words(removed))
    return DONE


def _in_words(removed: Json) -> str:
    verb = "would remove" if removed["dry_run"] else "removed"
    lines = [
        f"{verb}, of runs before {removed['before']}, {removed['bytes'] / 1e6:,.1f} MB:",
        f"  {removed['parts']} parts and {removed['manifests']} manifests of {removed['runs']}"
        " finished runs",
        f"  {removed['verdicts']} files of verdicts",
    ]
    if removed["forgotten"]:
        lines.append(
            f"{removed['forgotten']} images have no verdict any more: the next scan judges those"
            " that are still there"
        )
    if removed["kept_runs"]:
        names = ", ".join(removed["kept_runs"])
        lines.append(f"kept, since they are not finished or their verdicts are missing: {names}")
    return "\n".join(lines)


def _trend(parsed: argparse.Namespace) -> int:
    from deepfake_core.trend import draw, weekly

    _check_output(parsed.output)
    picture = Path(parsed.to)
    kind = picture.suffix.removeprefix(".").lower()
    if kind not in KINDS:
        raise UsageError(f"--to: found {parsed.to}; give a name that ends in .png or .svg")
    weeks = weekly(parsed.output)
    table = picture.with_suffix(".csv")
    try:
        picture.write_bytes(draw(weeks, kind=kind))
        weeks.to_csv(table, index=False)
    except OSError as error:
        raise OutputError(f"cannot write {picture}: {reason(error)}; give another --to") from error
    content = {"picture": str(picture), "table": str(table), "weeks": len(weeks)}
    tell(content if parsed.json else None, f"{picture} and {table}: {len(weeks)} weeks")
    return DONE
