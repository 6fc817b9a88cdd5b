"""The command ``deepfake``."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence

from pydantic import ValidationError

from deepfake_core import __version__
from deepfake_core.commands import (
    app,
    calibrate,
    changes,
    dataset,
    diff,
    erase,
    evaluate,
    export,
    models,
    pair,
    plan,
    redecide,
    repair,
    report,
    retention,
    retrain,
    scan,
    serve,
    statement,
    strangers,
    trend,
    verify_run,
)
from deepfake_core.commands.extras import check_needs, missing_extra
from deepfake_core.commands.plain_words import wrong_setting
from deepfake_core.commands.terminal import (
    FAILED,
    INTERRUPTED,
    WRONG_USAGE,
    complain,
    pipes_may_close,
)
from deepfake_core.errors import DeepfakeError, UsageError

Command = Callable[[argparse.Namespace], int]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit status: 0 done, 1 failed, 2 wrong usage."""
    # Only its errors are for people; whoever wants to see more has set it.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with pipes_may_close():
        return _run(arguments)


def _run(arguments: Sequence[str] | None) -> int:
    parsed = build_parser().parse_args(arguments)
    parsed.words = list(sys.argv[1:] if arguments is None else arguments)
    command: Command = parsed.command
    try:
        check_needs(parsed.subcommand)
        return command(parsed)
    except ModuleNotFoundError as error:
        missing = missing_extra(parsed.subcommand, error)
        if missing is None:
            raise
        return complain(str(missing), WRONG_USAGE)
    except ValidationError as error:
        return complain(wrong_setting(error), WRONG_USAGE)
    except UsageError as error:
        return complain(str(error), WRONG_USAGE)
    except DeepfakeError as error:
        return complain(str(error), FAILED)
    except KeyboardInterrupt:
        return complain("interrupted; what was committed is kept", INTERRUPTED)


def build_parser() -> argparse.ArgumentParser:
    """The parser of all commands."""
    parser = argparse.ArgumentParser(
        prog="deepfake", description="Say which faces in a folder of images were generated."
    )
    parser.add_argument("--version", action="version", version=f"deepfake {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND", dest="subcommand")
    for module in (scan, app, report, redecide, changes, dataset, retrain, evaluate, models, pair):
        module.add(commands)
    for module in (serve, plan, erase, retention, trend, export, statement, verify_run, repair):
        module.add(commands)
    calibrate.add(commands)
    diff.add(commands)
    strangers.add(commands)
    return parser


if __name__ == "__main__":
    sys.exit(main())
