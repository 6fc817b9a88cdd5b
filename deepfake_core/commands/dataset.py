"""``deepfake dataset``."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from deepfake_core.commands.terminal import (
    DONE,
    FAILED,
    add_json,
    add_reading,
    complain,
    reading_of,
    say,
    tell,
)

if TYPE_CHECKING:
    from deepfake_core.commands.terminal import Commands
    from deepfake_core.datasets.checks.document import ShortcutFacts
    from deepfake_core.datasets.checks.inspection import Inspection


def add(commands: Commands) -> None:
    """Add ``dataset``."""
    parser = commands.add_parser("dataset", help="check a labelled folder before learning from it")
    parser.add_argument(
        "folder",
        metavar="DIR",
        type=Path,
        help="folder with real/ and fake/, with sets such as train/ that have them, "
        "or with a manifest.csv (path,label[,group_id])",
    )
    parser.add_argument("--within", default="", metavar="SET", help="only this set, such as train")
    parser.add_argument("--output", help="folder of the report (reports/datasets/NAME of DIR)")
    parser.add_argument(
        "--max-shortcut-auc",
        type=_auc,
        default=0.75,
        metavar="AUC",
        help="how well the files may tell the classes apart, 0.5 to 1 (%(default)s)",
    )
    parser.add_argument(
        "--allow-shortcuts", action="store_true", help="exit with 0 although shortcuts were found"
    )
    add_reading(parser)
    add_json(parser)
    parser.set_defaults(command=_dataset)


def _auc(text: str) -> float:
    value = float(text)
    if not 0.5 <= value <= 1:
        raise argparse.ArgumentTypeError(f"expected 0.5 to 1, found {text}")
    return value


def _dataset(parsed: argparse.Namespace) -> int:
    from deepfake_core.datasets.checks.inspection import inspect
    from deepfake_core.datasets.checks.report import render

    inspection = inspect(
        parsed.folder,
        within=parsed.within,
        reading=reading_of(parsed),
        max_shortcut_auc=parsed.max_shortcut_auc,
        say=say,
    )
    folder = parsed.output or str(Path("reports") / "datasets" / parsed.folder.resolve().name)
    report = render(inspection, folder)
    for warning in inspection.warnings:
        say(f"warning: {warning}")
    tell(
        {**inspection.facts, "report": report} if parsed.json else None, _words(inspection, report)
    )
    reasons = inspection.reasons(allow_shortcuts=parsed.allow_shortcuts)
    for reason in reasons:
        complain(reason, FAILED)
    return FAILED if reasons else DONE


def _words(inspection: Inspection, report: str) -> str:
    lines = [
        f"{name or 'images'}: {facts['counts']['real']:,} real, {facts['counts']['fake']:,} fake, "
        f"{facts['groups']:,} groups, {_strongest(facts['shortcuts'])}"
        for name, facts in inspection.facts["sets"].items()
    ]
    return "\n".join([*lines, f"report: {report}"])


def _strongest(shortcuts: Mapping[str, ShortcutFacts]) -> str:
    if not shortcuts:
        return "too few for the shortcut audit"
    name = max(shortcuts, key=lambda feature: shortcuts[feature]["auc"])
    return f"strongest shortcut {name} (AUC {shortcuts[name]['auc']:.3f})"
