"""The command ``deepfake``."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from deepfake_core import __version__
from deepfake_core.config import RUN_ID_PATTERN, ScanConfig
from deepfake_core.errors import DeepfakeError, UsageError
from deepfake_core.records import Json

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]

Command = Callable[[argparse.Namespace], int]
DONE, FAILED, WRONG_USAGE, INTERRUPTED = 0, 1, 2, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit status: 0 done, 1 failed, 2 wrong usage."""
    parsed = build_parser().parse_args(arguments)
    command: Command = parsed.command
    try:
        return command(parsed)
    except ValidationError as error:
        first = error.errors()[0]
        option = "--" + str(first["loc"][0]).replace("_", "-") if first["loc"] else "options"
        return _complain(f"{option}: {first['msg']}, found {first['input']!r}", WRONG_USAGE)
    except UsageError as error:
        return _complain(str(error), WRONG_USAGE)
    except DeepfakeError as error:
        return _complain(str(error), FAILED)
    except KeyboardInterrupt:
        return _complain("interrupted; what was committed is kept", INTERRUPTED)


def build_parser() -> argparse.ArgumentParser:
    """The parser of all commands; the options of a scan are the fields of `ScanConfig`."""
    parser = argparse.ArgumentParser(
        prog="deepfake", description="Say which faces in a folder of images were generated."
    )
    parser.add_argument("--version", action="version", version=f"deepfake {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_scan(commands)
    _add_report(commands)
    _add_retrain(commands)
    _add_models(commands)
    latest = commands.add_parser("latest", help="rebuild latest.parquet from verdicts/")
    latest.add_argument("--output", default="reports", help="folder of the results")
    latest.set_defaults(command=_latest)
    return parser


def _add_scan(commands: Commands) -> None:
    parser = commands.add_parser("scan", help="judge the images of a folder or bucket")
    for name, field in ScanConfig.model_fields.items():
        flag = f"--{name.replace('_', '-')}"
        described: dict[str, Any] = {"help": field.description, "dest": name}
        if name == "source":
            parser.add_argument("source", metavar="SOURCE", help=field.description)
        elif field.annotation is bool:
            action = argparse.BooleanOptionalAction if field.default else "store_true"
            parser.add_argument(flag, action=action, default=field.default, **described)
        else:
            parser.add_argument(flag, default=argparse.SUPPRESS, **described)
    _add_json(parser)
    parser.set_defaults(command=_scan)


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
    _add_json(parser)
    parser.set_defaults(command=_report)


def _add_retrain(commands: Commands) -> None:
    parser = commands.add_parser("retrain", help="train a new version on labelled folders")
    parser.add_argument("--data", type=Path, required=True, help="folder with train/ and valid/")
    parser.add_argument("--config", type=Path, help="recipe as JSON, see models/recipe.json")
    parser.add_argument("--work", type=Path, required=True, help="folder of the training's state")
    parser.add_argument("--name", default="resnet50", help="name of the model")
    parser.add_argument("--backbone", type=Path, help="Keras weights of ResNet50 to start from")
    parser.add_argument(
        "--teacher", type=Path, action="append", default=[], help="ONNX classifier to distil"
    )
    _add_json(parser)
    parser.set_defaults(command=_retrain)


def _add_models(commands: Commands) -> None:
    parser = commands.add_parser("models", help="list the models, or show one")
    parser.add_argument("action", nargs="?", choices=("list", "show"), default="list")
    parser.add_argument("name", nargs="?", metavar="NAME", help="NAME or NAME@VERSION to show")
    _add_json(parser)
    parser.set_defaults(command=_models)


def _add_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def _scan(parsed: argparse.Namespace) -> int:
    from deepfake_core.progress import Progress
    from deepfake_core.scan import scan

    given = {key: value for key, value in vars(parsed).items() if key in ScanConfig.model_fields}
    progress = Progress()
    run_id = None

    def notify(event: str, facts: Json) -> None:
        nonlocal run_id
        run_id = facts.get("run_id", run_id)
        progress(event, facts)

    try:
        result = scan(ScanConfig(**given), notify=notify)
    except KeyboardInterrupt:
        advice = f"; continue with --run-id {run_id}" if run_id else ""
        return _complain(f"interrupted; what was committed is kept{advice}", INTERRUPTED)
    finally:
        progress.close()
    _print(result if parsed.json else None, _in_words(result))
    return DONE


def _in_words(result: Json) -> str:
    """A few lines for a person."""
    if not result["judged"] + result["failed"]:
        heading = f"nothing new: all {result['listed']} images are known or out of scope"
        return f"{heading}\nreport: {result['report']}"
    labels = ", ".join(f"{count} {label}" for label, count in result["labels"].items())
    lines = [
        f"{result['listed']} listed = {result['judged']} judged + {result['failed']} failed"
        f" + {result['skipped']} skipped",
        f"labels: {labels}",
        *(f"failed: {count} {code}" for code, count in sorted(result["failures"].items())),
        f"model: {result['model_id']} at {result['precision']}",
        f"verdicts: {result['verdicts']}",
        f"report: {result['report']}",
    ]
    return "\n".join(lines)


def _report(parsed: argparse.Namespace) -> int:
    import re

    from deepfake_core.scan import report_again

    if not re.match(RUN_ID_PATTERN, parsed.run_id):
        raise UsageError(f"{parsed.run_id!r} is no run id; it has letters, digits, '.', '_', '-'")
    address = report_again(parsed.run_id, parsed.output, thumbnails=parsed.thumbnails)
    _print({"report": address} if parsed.json else None, f"report: {address}")
    return DONE


def _retrain(parsed: argparse.Namespace) -> int:
    from deepfake_core.retrain import read_recipe, retrain

    bundle = retrain(
        read_recipe(parsed.config),
        parsed.data,
        work=parsed.work,
        name=parsed.name,
        backbone=parsed.backbone,
        teachers=tuple(parsed.teacher),
        say=lambda line: print(line, file=sys.stderr, flush=True),
    )
    content = {"model_id": bundle.model_id, "figures": bundle.description.figures}
    _print(content if parsed.json else None, f"{bundle.model_id} is in {bundle.folder}")
    return DONE


def _models(parsed: argparse.Namespace) -> int:
    from deepfake_core.registry import current_version, find_model, list_models

    if parsed.action == "show":
        if not parsed.name:
            raise UsageError("deepfake models show needs a NAME or NAME@VERSION")
        bundle = find_model(parsed.name)
        content = {"model_id": bundle.model_id, **bundle.description.model_dump(mode="json")}
        card = bundle.folder / "card.md"
        _print(content if parsed.json else None, card.read_text() if card.is_file() else "no card")
        return DONE
    models = {
        name: {"versions": versions, "current": current_version(name)}
        for name, versions in list_models().items()
    }
    lines = [f"{n}: versions {m['versions']}, current {m['current']}" for n, m in models.items()]
    _print(models if parsed.json else None, "\n".join(lines) or "no models")
    return DONE


def _latest(parsed: argparse.Namespace) -> int:
    from deepfake_core.results import Results
    from deepfake_core.storage import open_storage

    if "://" not in parsed.output and not Path(parsed.output).is_dir():
        raise UsageError(f"there is no folder {parsed.output}; name the folder of the results")
    rows = Results(open_storage(parsed.output)).rebuild_latest()
    print(f"latest.parquet: {rows} images")
    return DONE


def _print(content: Json | None, words: str) -> None:
    print(words if content is None else json.dumps(content, default=str))


def _complain(message: str, status: int) -> int:
    print(f"deepfake: {' '.join(message.split())}", file=sys.stderr)
    return status


if __name__ == "__main__":
    sys.exit(main())
