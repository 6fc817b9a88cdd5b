"""``deepfake export``."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from deepfake_core.commands.terminal import DONE, add_output, check_output

if TYPE_CHECKING:
    from deepfake_core.commands.terminal import Commands


def add(commands: Commands) -> None:
    """Add ``export``."""
    parser = commands.add_parser("export", help="print a finished run's rows as text")
    parser.add_argument("run_id", metavar="RUN_ID", help="the run")
    parser.add_argument(
        "--format",
        choices=("csv", "jsonl", "events"),
        default="csv",
        help="csv for spreadsheets, jsonl with an object for each row, or events with an object "
        "for each flagged image",
    )
    add_output(parser)
    parser.set_defaults(command=_export)


def _export(parsed: argparse.Namespace) -> int:
    from deepfake_core.reporting.export import export

    check_output(parsed.output)
    lines = export(parsed.run_id, parsed.output, kind=parsed.format)
    # A file name can hold what the terminal's encoding lacks; the bytes are always UTF-8.
    try:
        for line in lines:
            sys.stdout.buffer.write(line.encode("utf-8", "backslashreplace"))
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        # What reads it, such as `head`, has enough.
        pass
    return DONE
