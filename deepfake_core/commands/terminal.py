"""What all commands share: exit statuses, ``--json``, and how results and complaints are told."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from deepfake_core.commands.plain_words import number
from deepfake_core.errors import UsageError
from deepfake_core.models import registry

if TYPE_CHECKING:
    from deepfake_core.datasets.reading import Reading
    from deepfake_core.results.store import Results

    Commands = argparse._SubParsersAction[argparse.ArgumentParser]

# One of these is below each output that something was written to.
ANY_RESULTS = ("runs/", "verdicts/", "feedback/", "latest.parquet")
DONE, FAILED, WRONG_USAGE, INTERRUPTED = 0, 1, 2, 130


def add_json(parser: argparse.ArgumentParser) -> None:
    """Add ``--json``."""
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def add_registry(parser: argparse.ArgumentParser) -> None:
    """Add ``--registry``, by default that of the project."""
    parser.add_argument(
        "--registry",
        type=Path,
        metavar="DIR",
        help="folder of models (that of the project)",
    )


def add_reading(parser: argparse.ArgumentParser) -> None:
    """Add ``--classes`` and ``--columns``, see `deepfake_core.datasets.reading.Reading`."""
    parser.add_argument(
        "--classes", action="append", default=[], metavar="real=NAME,fake=NAME",
        help="folders or labels of the classes, where their names do not say it; "
        "several with commas: real=NAME,NAME,fake=NAME",
    )  # fmt: skip
    parser.add_argument(
        "--columns", action="append", default=[], metavar="path=NAME,label=NAME",
        help="columns of manifest.csv, where they are called otherwise",
    )  # fmt: skip


def reading_of(parsed: argparse.Namespace) -> Reading:
    """What ``--classes`` and ``--columns`` say."""
    from deepfake_core.datasets.reading import parse_reading

    return parse_reading(parsed.classes, parsed.columns)


def registry_of(parsed: argparse.Namespace) -> Path:
    """The registry that ``--registry`` names, or that of the project."""
    return parsed.registry or registry.DEFAULT_REGISTRY


def tell(content: Mapping[str, object] | None, words: str) -> None:
    """Print the result on standard output: as one JSON object, or in words without one."""
    show(words if content is None else json.dumps(content, default=str), sys.stdout)


def say(line: str) -> None:
    """Print a line of progress on standard error."""
    show(line, sys.stderr)


def complain(message: str, status: int) -> int:
    """Print one line on standard error; returns the exit status."""
    say(f"deepfake: {' '.join(message.split())}")
    return status


def show(text: str, stream: TextIO) -> None:
    """Print; what nobody reads any more is dropped, and the work goes on."""
    try:
        print(text, file=stream, flush=True)
    except BrokenPipeError:
        _close_quietly(stream)


@contextlib.contextmanager
def pipes_may_close() -> Iterator[None]:
    """What reads the output, such as ``head``, may have enough before all is printed."""
    try:
        yield
    finally:
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except BrokenPipeError:
                _close_quietly(stream)


def _close_quietly(stream: TextIO) -> None:
    """Let the interpreter find nothing to complain of when it flushes the stream at its end."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


def resumed(words: Sequence[str], option: str, value: str) -> str:
    """The command that goes on where this one stopped: its words with one more option."""
    kept: list[str] = []
    left = iter(words)
    for word in left:
        if word == option:
            next(left, None)
        elif not word.startswith(f"{option}="):
            kept.append(word)
    return shlex.join(["deepfake", *kept, option, value])


def add_output(parser: argparse.ArgumentParser) -> None:
    """Add ``--output``, the folder of results."""
    parser.add_argument("--output", default="reports", help="folder of the results")


def check_output(output: str) -> None:
    """Raise UsageError where a local folder of results is missing, or holds something else.

    Who mistypes the folder must not be told that nothing is kept there, or that all is well.
    """
    if "://" in output:
        return
    if not Path(output).is_dir():
        raise UsageError(f"there is no folder {output}; name the folder of the results")
    if not any((Path(output) / name).exists() for name in ANY_RESULTS):
        raise UsageError(
            f"there are no results in {output}: no {', '.join(ANY_RESULTS)}; "
            "scan first, or name another folder with --output"
        )


def add_wait(parser: argparse.ArgumentParser) -> None:
    """Add ``--wait``, for what needs an output alone."""
    parser.add_argument(
        "--wait",
        type=number,
        default=0,
        metavar="MINUTES",
        help="wait so long for scans of the output to end (0: refuse while one is going on)",
    )


def add_key(parser: argparse.ArgumentParser) -> None:
    """Add ``--sign-with``, the key by which the lists of a run's files are signed."""
    parser.add_argument(
        "--sign-with",
        metavar="KEY.pem",
        help="sign what is noted of rewritten files with this Ed25519 private key",
    )


def results_of(parsed: argparse.Namespace) -> Results:
    """The results below ``--output``, signed as ``--sign-with`` says."""
    from deepfake_core.results.signing import open_signer
    from deepfake_core.results.store import Results
    from deepfake_core.storage.opening import open_storage

    signer = open_signer(parsed.sign_with) if parsed.sign_with else None
    return Results(open_storage(parsed.output), signer)
