"""``deepfake repair``."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from typing import TYPE_CHECKING

from deepfake_core.commands.terminal import (
    DONE,
    add_json,
    add_key,
    add_output,
    add_registry,
    add_wait,
    check_output,
    registry_of,
    results_of,
    say,
    tell,
)

if TYPE_CHECKING:
    from deepfake_core.commands.terminal import Commands
    from deepfake_core.scanning.repair import Repaired


def add(commands: Commands) -> None:
    """Add ``repair``."""
    parser = commands.add_parser(
        "repair", help="mend damaged results from intact ones, and set aside what is lost"
    )
    add_output(parser)
    add_registry(parser)
    add_wait(parser)
    add_key(parser)
    add_json(parser)
    parser.set_defaults(command=_repair)


def _repair(parsed: argparse.Namespace) -> int:
    from deepfake_core.scanning.repair import repair

    check_output(parsed.output)
    done = repair(
        results_of(parsed), registry=registry_of(parsed), wait_seconds=60 * parsed.wait, say=say
    )
    tell(asdict(done) if parsed.json else None, _in_words(done))
    return DONE


def _in_words(done: Repaired) -> str:
    lines = [f"set aside in damaged/: {path}" for path in done.set_aside]
    lines += [f"made again: {path}" for path in done.mended]
    lines += [f"lost: {message}" for message in done.lost]
    lines += [f"note: {message}" for message in done.notes]
    if done.images is not None:
        lines.append(f"latest.parquet: {done.images} images")
    return "\n".join(lines or ["nothing is damaged"])
