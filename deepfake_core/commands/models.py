"""``deepfake models``: what is in the registry."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from deepfake_core.commands.terminal import DONE, add_json, tell
from deepfake_core.errors import UsageError

if TYPE_CHECKING:
    from deepfake_core.commands.terminal import Commands


def add(commands: Commands) -> None:
    """Add ``models``."""
    parser = commands.add_parser("models", help="list the models, or show one")
    parser.add_argument("action", nargs="?", choices=("list", "show"), default="list")
    parser.add_argument("name", nargs="?", metavar="NAME", help="NAME or NAME@VERSION to show")
    add_json(parser)
    parser.set_defaults(command=_models)


def _models(parsed: argparse.Namespace) -> int:
    from deepfake_core.registry import current_version, find_model, list_models

    if parsed.action == "show":
        if not parsed.name:
            raise UsageError("deepfake models show needs a NAME or NAME@VERSION")
        bundle = find_model(parsed.name)
        content = {"model_id": bundle.model_id, **bundle.description.model_dump(mode="json")}
        card = bundle.folder / "card.md"
        tell(content if parsed.json else None, card.read_text() if card.is_file() else "no card")
        return DONE
    models = {
        name: {"versions": versions, "current": current_version(name)}
        for name, versions in list_models().items()
    }
    lines = [f"{n}: versions {m['versions']}, current {m['current']}" for n, m in models.items()]
    tell(models if parsed.json else None, "\n".join(lines) or "no models")
    return DONE
