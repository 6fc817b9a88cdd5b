"""``deepfake retrain``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from deepfake_core.commands.terminal import DONE, add_json, say, tell

if TYPE_CHECKING:
    from deepfake_core.commands.terminal import Commands


def add(commands: Commands) -> None:
    """Add ``retrain``."""
    parser = commands.add_parser("retrain", help="train a new version on labelled folders")
    parser.add_argument("--data", type=Path, required=True, help="folder with train/ and valid/")
    parser.add_argument("--config", type=Path, help="recipe as JSON, see models/recipe.json")
    parser.add_argument("--work", type=Path, required=True, help="folder of the training's state")
    parser.add_argument("--name", default="resnet50", help="name of the model")
    parser.add_argument("--backbone", type=Path, help="Keras weights of ResNet50 to start from")
    parser.add_argument(
        "--teacher", type=Path, action="append", default=[], help="ONNX classifier to distil"
    )
    add_json(parser)
    parser.set_defaults(command=_retrain)


def _retrain(parsed: argparse.Namespace) -> int:
    from deepfake_core.retrain import read_recipe, retrain

    bundle = retrain(
        read_recipe(parsed.config),
        parsed.data,
        work=parsed.work,
        name=parsed.name,
        backbone=parsed.backbone,
        teachers=tuple(parsed.teacher),
        say=say,
    )
    content = {"model_id": bundle.model_id, "figures": bundle.description.figures}
    tell(content if parsed.json else None, f"{bundle.model_id} is in {bundle.folder}")
    return DONE
