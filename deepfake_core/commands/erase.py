"""``deepfake erase``: remove what is kept about an image."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from deepfake_core.commands.terminal import (
    DONE,
    FAILED,
    add_json,
    add_key,
    add_wait,
    check_output,
    complain,
    results_of,
    say,
    tell,
)

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
    add_wait(parser)
    add_key(parser)
    add_json(parser)
    parser.set_defaults(command=_erase)


def _erase(parsed: argparse.Namespace) -> int:
    from deepfake_core.operations.erasure import erase

    check_output(parsed.output)
    unread: list[str] = []
    counts = erase(
        results_of(parsed),
        parsed.sha256,
        wait_seconds=60 * parsed.wait,
        on_unread=unread.append,
        say=say,
    )
    removed = [f"  {count} {WORDS[kind]}" for kind, count in counts.items() if count]
    words = ["erased:", *removed, ADVICE] if removed else ["nothing was kept about it"]
    content = {"sha256": parsed.sha256.strip().lower(), **counts, "unread": unread}
    tell(content if parsed.json else None, "\n".join(words))
    for message in unread:
        complain(f"this may still hold the image: {message}; then erase again", FAILED)
    return FAILED if unread else DONE
