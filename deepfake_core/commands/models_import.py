"""``deepfake models import``: bring your own detector."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from deepfake_core.commands.plain_words import whole_number
from deepfake_core.commands.terminal import DONE, FAILED, add_registry, registry_of, say, tell
from deepfake_core.errors import UsageError
from deepfake_core.models.onnx_spec import OnnxSpec

if TYPE_CHECKING:
    from deepfake_core.commands.terminal import Commands
    from deepfake_core.models.bundle import Bundle
    from deepfake_core.release.gate import GateResult

SHOWN = ("auc", "tpr_at_1_percent_fpr", "fpr_at_fake", "decided_share", "ece")


def add_import(actions: Commands) -> None:
    """Add ``import`` to the actions of ``models``; most options are fields of `OnnxSpec`."""
    parser = actions.add_parser(
        "import", help="take an ONNX image classifier with one or two outputs as a model"
    )
    parser.add_argument("file", type=Path, metavar="FILE.onnx", help="the network")
    parser.add_argument("--name", required=True, help="name that the model gets")
    parser.add_argument(
        "--data", type=Path, required=True, metavar="DIR", help="labelled folder to judge it by"
    )
    _add_spec(parser)
    parser.add_argument(
        "--one-class",
        action="append",
        default=[],
        metavar="SET",
        help="set of DIR whose classes differ in more than the label: reported class by class",
    )
    parser.add_argument("--trained-on", help="images it learnt from and their terms, for the card")
    parser.add_argument(
        "--allow-shortcuts",
        action="store_true",
        help="also where a file's size or format tells the classes of DIR apart",
    )
    parser.add_argument(
        "--int8",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="try ways to int8, which takes minutes",
    )
    add_registry(parser)
    parser.add_argument(
        "--json", action="store_true", default=argparse.SUPPRESS, help="print one JSON object"
    )
    parser.set_defaults(command=_import)


def _add_spec(parser: argparse.ArgumentParser) -> None:
    """Add the options that say what an ONNX file does not."""
    fields = OnnxSpec.model_fields
    parser.add_argument("--size", type=whole_number, help=fields["size"].description)
    for name in ("mean", "scale"):
        parser.add_argument(
            f"--{name}", metavar="N[,N,N]", type=_triple, help=fields[name].description
        )
    for name, choices in (
        ("colours", ("RGB", "BGR")),
        ("layout", ("auto", "NHWC", "NCHW")),
        ("positive", ("fake", "real")),
        ("output_kind", ("auto", "logit", "probability")),
    ):
        flag, words = f"--{name.replace('_', '-')}", fields[name].description
        parser.add_argument(flag, choices=choices, help=f"{words} ({choices[0]})")
    parser.add_argument(
        "--fake-output",
        type=whole_number,
        choices=(0, 1),
        help=f"{fields['fake_output'].description} (0)",
    )


def _triple(text: str) -> tuple[float, ...]:
    """One number for all channels, or three with commas."""
    numbers = tuple(float(part) for part in text.split(","))
    return numbers * 3 if len(numbers) == 1 else numbers


def _import(parsed: argparse.Namespace) -> int:
    from deepfake_core.release.gate_config import GateConfig
    from deepfake_core.release.onnx_import import Foreign, import_model

    given = {name: getattr(parsed, name) for name in OnnxSpec.model_fields}
    spec = OnnxSpec(**{name: value for name, value in given.items() if value is not None})
    one_class = tuple(parsed.one_class)
    foreign = Foreign(parsed.file, spec, parsed.name, one_class=one_class, int8=parsed.int8)
    if parsed.trained_on:
        foreign = replace(foreign, trained_on=parsed.trained_on)
    folder = registry_of(parsed)
    if not folder.is_dir():
        raise UsageError(f"there is no folder {folder} for models; make it, or name another")
    gate = GateConfig(require_shortcut_audit=not parsed.allow_shortcuts)
    bundle, result = import_model(foreign, parsed.data, registry=folder, gate=gate, say=say)
    tell(_facts(bundle, result) if parsed.json else None, _words(bundle, result))
    return DONE if result.passed else FAILED


def _facts(bundle: Bundle, result: GateResult) -> dict[str, object]:
    return {
        "model_id": bundle.model_id,
        "folder": str(bundle.folder),
        "precisions": bundle.description.precisions,
        "figures": bundle.description.figures,
        "gate": result.as_json(),
    }


def _words(bundle: Bundle, result: GateResult) -> str:
    name, version = bundle.description.name, bundle.description.version
    report = bundle.description.figures["report"]
    figures = ", ".join(f"{key} {report[key]:.3f}" for key in SHOWN)
    lines = [
        f"{bundle.model_id} is in {bundle.folder}",
        f"on {report['images']} images that chose nothing: {figures}",
        f"precisions: {', '.join(bundle.description.precisions)}",
        *(f"note: {note}" for note in result.notes),
        *(f"refused: {reason}" for reason in result.reasons),
    ]
    if result.passed:
        lines.append(f"it passed the gate; run it with --model {name}")
    else:
        lines.append(f"it is not current; run it all the same with --model {name}@{version}")
    return "\n".join(lines)
