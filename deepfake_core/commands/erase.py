"""``deepfake erase``: remove what is kept about an image."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from deepfake_core.commands.terminal import DONE, add_json, tell
from deepfake_core.errors import UsageError

if TYPE_CHECKING:
    from deepfake_core.commands.terminal import Commands

WORDS = {
    "verdicts": "rows of published verdicts",
    "latest": "rows of latest.parquet",
    "parts": "rows of parts",
    "listed": "rows of manifests",
    "reports": "reports rendered again without it",
    "answers": "answers of people",
    "images": "images given with consent",
}
ADVICE = (
    "The file at its source was not touched: remove it there, too, or the next scan judges it "
    "again. Copies that were made of the results, and old versions in a bucket that keeps them, "
    "are not reached."
)


def add(commands: Commands) -> None:
    """Add ``erase``."""
    parser = commands.add_parser(
        "erase", help="remove what is kept about an image: rows, reports, feedback"
    )
    parser.add_argument("sha256", metavar="SHA256", help="the sha256 of the image's bytes")
    parser.add_argument("--output", default="reports", help="folder of the results")
    add_json(parser)
    parser.set_defaults(command=_erase)


def _erase(parsed: argparse.Namespace) -> int:
    from deepfake_core.operations.erasure import erase

    if "://" not in parsed.output and not Path(parsed.output).is_dir():
        raise UsageError(f"there is no folder {parsed.output}; name the folder of the results")
    counts = erase(parsed.output, parsed.sha256)
    removed = [f"  {count} {WORDS[kind]}" for kind, count in counts.items() if count]
    words = ["erased:", *removed, ADVICE] if removed else ["nothing was kept about it"]
    content = {"sha256": parsed.sha256.strip().lower(), **counts}
    tell(content if parsed.json else None, "\n".join(words))
    return DONE
