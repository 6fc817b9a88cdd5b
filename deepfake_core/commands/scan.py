"""``deepfake scan``."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin

from deepfake_core.commands.plain_words import moment
from deepfake_core.commands.terminal import (
    DONE,
    INTERRUPTED,
    add_json,
    add_registry,
    complain,
    registry_of,
    resumed,
    say,
    tell,
)
from deepfake_core.errors import DeepfakeError, UsageError
from deepfake_core.events import Facts
from deepfake_core.records import DECIDED
from deepfake_core.results.manifest import EXCLUDED, KNOWN, OLD
from deepfake_core.scanning.config import ScanConfig

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

    from deepfake_core.commands.terminal import Commands
    from deepfake_core.scanning.result import ScanResult


# Why an image is left out, in the words of the result.
METAVARS = {
    "output": "DIR", "model": "NAME[@VERSION]", "run_id": "ID", "policy": "FILE", "since": "DATE",
    "trust_list": "FILE", "sign_with": "KEY.pem", "prior": "SHARE",
}  # fmt: skip
WORDS = {EXCLUDED: "left out by --include or --exclude", OLD: "older than --since"}


def add(commands: Commands) -> None:
    """Add ``scan``; its options are the fields of `ScanConfig`."""
    parser = commands.add_parser(
        "scan", help="judge the images of a folder or bucket, or one image"
    )
    for name, field in ScanConfig.model_fields.items():
        if name == "source":
            parser.add_argument("source", metavar="SOURCE", help=field.description)
        else:
            _add_option(parser, name, field)
    parser.add_argument(
        "--cluster",
        metavar="ADDRESS",
        help="judge on a Dask cluster: its scheduler, such as tcp://host:8786, or local:N for N "
        "workers on this machine",
    )
    add_registry(parser)
    add_json(parser)
    parser.set_defaults(command=_scan)


def _add_option(parser: argparse.ArgumentParser, name: str, field: FieldInfo) -> None:
    """Add an option with its choices and its default in the help."""
    flag = f"--{name.replace('_', '-')}"
    described: dict[str, Any] = {"dest": name, "default": argparse.SUPPRESS}
    shown = str(field.default)
    choices = _choices(field.annotation)
    if field.annotation is bool:
        # The default of those that can be switched off is to be seen, too.
        described["action"] = argparse.BooleanOptionalAction if field.default else "store_true"
        shown = "on" if field.default else "off"
    elif field.default == ():
        described |= {"action": "append", "metavar": "GLOB"}
    elif choices:
        described["metavar"] = "{" + ",".join(choices) + "}"
    else:
        described["metavar"] = METAVARS.get(name, "N")
    default = "" if field.default in (None, ()) else f" (default: {shown})"
    help_text = f"{field.description}{default}".replace("%", "%%")
    parser.add_argument(flag, help=help_text, **described)


def _choices(annotation: object) -> list[str]:
    """What a literal type allows, in a union with none as well."""
    parts = (annotation, *get_args(annotation))
    return [str(value) for part in parts if get_origin(part) is Literal for value in get_args(part)]


def _scan(parsed: argparse.Namespace) -> int:
    from deepfake_core.commands.progress import Progress
    from deepfake_core.scanning.dask.executor import open_executor
    from deepfake_core.scanning.scan import Execution, scan

    given = {key: value for key, value in vars(parsed).items() if key in ScanConfig.model_fields}
    progress = Progress()
    run_id = None

    def notify(event: str, facts: Facts) -> None:
        nonlocal run_id
        run_id = facts.get("run_id", run_id)
        progress(event, facts)

    if "since" in given:
        given["since"] = moment(given["since"])
    try:
        config, registry = ScanConfig(**given), registry_of(parsed)
        with open_executor(parsed.cluster) as executor:
            result = scan(config, notify=notify, registry=registry, execution=Execution(executor))
    except KeyboardInterrupt:
        progress.close()
        advice = f"; continue with: {resumed(parsed.words, '--run-id', run_id)}" if run_id else ""
        return complain(f"interrupted; what was committed is kept{advice}", INTERRUPTED)
    except UsageError:
        raise
    except DeepfakeError:
        progress.close()
        if run_id:
            say(f"to continue: {resumed(parsed.words, '--run-id', run_id)}")
        raise
    finally:
        progress.close()
    tell(dict(result) if parsed.json else None, _in_words(result))
    return DONE


def _in_words(result: ScanResult) -> str:
    """A few lines for a person."""
    from deepfake_core.rendering.evidence import label_words
    from deepfake_core.reporting.changes import source_words
    from deepfake_core.results.run_record import TagCounts

    of_source = {
        "new": result["new"],
        "backlog": result["backlog"],
        "left": result["left"],
        "gone": result["gone"],
        "renamed": result["renamed"],
    }
    if not result["judged"] + result["not_applicable"] + result["failed"]:
        tidings = [*source_words({**of_source, "left": 0}), *_warnings(result)]
        return "\n".join([_nothing_judged(result), *tidings, f"report: {result['report']}"])
    tidings = source_words(of_source)
    if result["flipped"]:
        tidings.append(f"{result['flipped']} have another label than before; see the report.")
    if result["tags"]:
        tidings.append(f"{TagCounts.model_validate(result['tags']).words}.")
    tidings += _warnings(result)
    labels = {label: count for label, count in result["labels"].items() if label in DECIDED}
    refused = result["not_applicable"]
    lines = [
        f"{result['listed']} listed = {result['judged']} judged"
        + (f" + {refused} not applicable" if refused else "")
        + f" + {result['failed']} failed + {result['skipped']} skipped",
        ", ".join(f"{count} {label_words(label)}" for label, count in labels.items()),
        *(f"{count} {reason}" for reason, count in sorted(result["reasons"].items())),
        *(f"failed: {count} {code}" for code, count in sorted(result["failures"].items())),
        *tidings,
        f"model: {result['model_id']} at {result['precision']}",
        f"verdicts: {result['verdicts']}",
        f"report: {result['report']}",
    ]
    return "\n".join(lines)


def _nothing_judged(result: ScanResult) -> str:
    """Why no image was judged, and what is known of those that are."""
    if result["left"]:
        return f"there was no time: {result['left']} images wait for the next scan"
    reasons = result["skipped_reasons"]
    known, flagged = reasons.get(KNOWN, 0), result["known_flagged"]
    words = []
    if known:
        earlier = f", {flagged} of them flagged earlier" if flagged is not None else ""
        words.append(f"{known} known{earlier}")
    words += [f"{count} {WORDS[name]}" for name, count in reasons.items() if name in WORDS]
    heading = "nothing new" if known else "nothing to judge"
    return f"{heading}: {', '.join(words)}"


def _warnings(result: ScanResult) -> list[str]:
    """What the run warns of."""
    from deepfake_core.reporting.markdown import OF_GLOBS
    from deepfake_core.reporting.suspicion import CANARIES
    from deepfake_core.scanning.result import unlisted_words

    leads = {CANARIES: "Suspect run"}
    unlisted = [f"warning: {words}" for words in unlisted_words(result["unlisted_folders"])]
    return unlisted + [
        f"warning: {warning['words']}"
        if warning.get("measure") in OF_GLOBS
        else f"{leads.get(str(warning['measure']), 'Unlike the last runs')}: {warning['words']}."
        for warning in result["warnings"]
    ]
