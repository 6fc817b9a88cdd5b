"""``deepfake verify-run``."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from deepfake_core.commands.plain_words import whole_number
from deepfake_core.commands.terminal import (
    DONE,
    FAILED,
    add_json,
    add_output,
    add_registry,
    check_output,
    registry_of,
    results_of,
    tell,
)
from deepfake_core.errors import DamagedFile, UsageError

if TYPE_CHECKING:
    from deepfake_core.commands.terminal import Commands
    from deepfake_core.operations.verification import Verified
    from deepfake_core.scanning.replay import Replayed

SAMPLE = 20


def add(commands: Commands) -> None:
    """Add ``verify-run``."""
    parser = commands.add_parser(
        "verify-run", help="check a run's files by their hashes, and judge some images again"
    )
    parser.add_argument("run_id", metavar="RUN_ID", help="the run")
    parser.add_argument(
        "--sample",
        type=whole_number,
        default=SAMPLE,
        metavar="N",
        help=f"judge so many images again, chosen at random ({SAMPLE}; 0: none)",
    )
    parser.add_argument(
        "--key",
        metavar="KEY.pem",
        help="the public Ed25519 key by which everything must be signed",
    )
    add_output(parser)
    add_registry(parser)
    add_json(parser)
    parser.set_defaults(command=_verify, sign_with=None)


def _verify(parsed: argparse.Namespace) -> int:
    from deepfake_core.operations.verification import verify_files
    from deepfake_core.results.run_ids import check_run_id
    from deepfake_core.results.signing import read_public_key
    from deepfake_core.scanning.replay import Replayed, replay

    check_run_id(parsed.run_id)
    check_output(parsed.output)
    if parsed.sample < 0:
        raise UsageError(f"--sample: found {parsed.sample}; give a number from 0 on")
    key = read_public_key(parsed.key) if parsed.key else None
    results = results_of(parsed)
    verified = verify_files(results, parsed.run_id, key=key)
    again = Replayed()
    try:
        run = results.get_run(parsed.run_id)
        if run is None and not verified.links:
            raise UsageError(f"there is no run {parsed.run_id} in {parsed.output}")
        if run is not None and run.state == "done":
            again = replay(results, run, sample=parsed.sample, registry=registry_of(parsed))
    except DamagedFile as error:
        verified.problems.append(str(error))
    problems = [*verified.problems, *again.problems]
    content: dict[str, object] = {
        "run_id": verified.run_id,
        "files": verified.files,
        "links": verified.links,
        "signed_by": verified.signed_by,
        "judged_again": again.compared,
        "same": again.same,
        "gone": again.gone,
        "problems": problems,
        "notes": [*verified.notes, *again.notes],
    }
    tell(content if parsed.json else None, _in_words(verified, again))
    return FAILED if problems else DONE


def _in_words(verified: Verified, again: Replayed) -> str:
    problems = [*verified.problems, *again.problems]
    lines = [
        f"run {verified.run_id}: {verified.files} files compared with their hashes, in a chain of "
        f"{verified.links} links",
        f"{again.compared} images judged again, {again.same} with the same result",
    ]
    if again.gone:
        lines.append(f"{again.gone} images cannot be read at their source any more")
    lines += [f"not as published: {problem}" for problem in problems]
    lines += [f"note: {note}" for note in (*verified.notes, *again.notes)]
    lines.append("NOT as published" if problems else "all as published")
    return "\n".join(lines)
