"""``deepfake models``: what is in the registry, and what is current."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from deepfake_core.commands.models_import import add_import
from deepfake_core.commands.terminal import DONE, add_json, say, tell
from deepfake_core.errors import UsageError

if TYPE_CHECKING:
    from deepfake_core.commands.terminal import Commands
    from deepfake_core.models.bundle import Bundle
    from deepfake_core.models.second_look import SecondBundle


DEFAULT_MODEL = "resnet50"


def add(commands: Commands) -> None:
    """Add ``models`` and what can be done with them; alone it lists them."""
    parser = commands.add_parser("models", help="list, show, promote, roll back or import models")
    add_json(parser)
    parser.set_defaults(command=_list, registry=None)
    actions = parser.add_subparsers(metavar="ACTION")
    listed = actions.add_parser("list", help="list the models and their versions")
    listed.set_defaults(command=_list)
    shown = actions.add_parser("show", help="show the card of a model")
    shown.add_argument("name", nargs="?", metavar="NAME", help="NAME or NAME@VERSION")
    shown.set_defaults(command=_show)
    _add_promote(actions)
    back = actions.add_parser("rollback", help="make the version before the current one current")
    back.add_argument("name", nargs="?", default=DEFAULT_MODEL, metavar="NAME", help="(resnet50)")
    back.add_argument("--why", default="", help="reason, for the log")
    back.set_defaults(command=_rollback)
    for action in (listed, shown, back):
        _add_common(action)
    add_import(actions)


def _add_promote(actions: Commands) -> None:
    parser = actions.add_parser(
        "promote", help="make a version current that has passed the gate against what is current"
    )
    parser.add_argument(
        "name", nargs="?", metavar="NAME", help="NAME@VERSION; NAME alone is its newest version"
    )
    parser.add_argument("--why", default="", help="reason, for the log")
    parser.add_argument("--data", type=Path, help="labelled folder: go through the gate on it now")
    parser.add_argument(
        "--force", action="store_true", help="also without having passed; needs --why"
    )
    _add_common(parser)
    parser.set_defaults(command=_promote)


def _add_common(parser: argparse.ArgumentParser) -> None:
    """Allow these after the action too, where their absence must not undo them before."""
    parser.add_argument(
        "--json", action="store_true", default=argparse.SUPPRESS, help="print one JSON object"
    )
    parser.add_argument(
        "--registry",
        type=Path,
        default=argparse.SUPPRESS,
        metavar="DIR",
        help="folder of models (that of the project)",
    )


def _folder(parsed: argparse.Namespace) -> Path:
    from deepfake_core.models import registry

    folder: Path = parsed.registry or registry.DEFAULT_REGISTRY
    if not folder.is_dir():
        raise UsageError(f"there is no folder {folder} for models; name another with --registry")
    return folder


def _list(parsed: argparse.Namespace) -> int:
    from deepfake_core.models import registry
    from deepfake_core.models.second_look import SECOND

    folder = _folder(parsed)
    models: dict[str, object] = {}
    lines: list[str] = []

    def add(
        name: str, kind: str, versions: list[int], current: Bundle | SecondBundle | None
    ) -> None:
        number = current.description.version if current else None
        models[name] = {"kind": kind, "versions": versions, "current": number}
        lines.append(f"{name}: versions {versions}, current {number or 'none'}, a {kind}")

    for name, versions in registry.list_models(folder).items():
        current = registry.find_current(name, folder)
        add(name, "first look", versions, current)
        if current and name == DEFAULT_MODEL:
            lines.insert(0, f"{current.model_id} is current: what is used where none is named")
    for name, versions in SECOND.known(folder).items():
        add(name, "second look", versions, SECOND.find_current(name, folder))
    tell(models if parsed.json else None, "\n".join(lines) or "no models")
    return DONE


def _show(parsed: argparse.Namespace) -> int:
    from deepfake_core.models import registry
    from deepfake_core.models.registry_log import gate_record, read_log
    from deepfake_core.models.second_look import SECOND

    if parsed.name is None:
        raise UsageError("deepfake models show needs a NAME or NAME@VERSION")
    folder, name = _folder(parsed), parsed.name.partition("@")[0]
    model: Bundle | SecondBundle
    current: Bundle | SecondBundle | None
    if name in SECOND.known(folder):
        model, current = SECOND.find(parsed.name, folder), SECOND.find_current(name, folder)
    else:
        model = registry.find_model(parsed.name, folder)
        current = registry.find_current(name, folder)
    content = {
        "model_id": model.model_id,
        **model.description.model_dump(mode="json"),
        "gate": gate_record(model.folder.parent, model.digest),
        "log": read_log(model.folder.parent),
    }
    card = model.folder / "card.md"
    words = f"{model.model_id} is the current version of its name"
    if current is None or current.digest != model.digest:
        now = f"{name}@{current.description.version}" if current else "none"
        words = f"{model.model_id} is not current; {now} is"
    shown = _without_front_matter(card.read_text()) if card.is_file() else "It has no card."
    tell(content if parsed.json else None, f"{words}\n\n{shown}")
    return DONE


def _without_front_matter(card: str) -> str:
    """A card for people: what stands above its title is for machines."""
    parts = card.split("---\n", 2)
    return parts[2].lstrip("\n") if card.startswith("---\n") and len(parts) == 3 else card


def _promote(parsed: argparse.Namespace) -> int:
    from deepfake_core.models import registry
    from deepfake_core.models.second_look import SECOND

    if parsed.name is None:
        raise UsageError("deepfake models promote needs a NAME@VERSION, or a NAME for its newest")
    folder, reference = _folder(parsed), parsed.name
    if reference.partition("@")[0] in SECOND.known(folder):
        return _promote_second(parsed, folder)
    versions = registry.list_models(folder).get(reference)
    bundle = registry.find_model(f"{reference}@{versions[-1]}" if versions else reference, folder)
    if parsed.data is not None:
        from deepfake_core.release.gate import examine_on

        say(f"comparing {bundle.model_id} with the current version on {parsed.data}")
        result = examine_on(bundle, parsed.data, registry=folder)
        for words in (*result.reasons, *result.notes):
            say(words)
    name, version = bundle.description.name, bundle.description.version
    line = registry.promote(name, version, why=parsed.why, force=parsed.force, registry=folder)
    return _told(line, name, as_json=parsed.json)


def _promote_second(parsed: argparse.Namespace, folder: Path) -> int:
    """Promote a second look, which only its own gate can let pass."""
    from deepfake_core.models.second_look import SECOND

    if parsed.data is not None:
        raise UsageError("a second look goes through the gate with: deepfake retrain --head")
    versions = SECOND.known(folder).get(parsed.name)
    look = SECOND.find(f"{parsed.name}@{versions[-1]}" if versions else parsed.name, folder)
    line = SECOND.promote(look, why=parsed.why, force=parsed.force, registry=folder)
    name = look.description.name
    return _told(line, name, as_json=parsed.json)


def _rollback(parsed: argparse.Namespace) -> int:
    from deepfake_core.models.registry import FIRST
    from deepfake_core.models.second_look import SECOND

    folder = _folder(parsed)
    kind = SECOND if parsed.name in SECOND.known(folder) else FIRST
    line = kind.rollback(parsed.name, why=parsed.why, registry=folder)
    return _told(line, parsed.name, as_json=parsed.json)


def _told(line: Mapping[str, object], name: str, *, as_json: bool) -> int:
    words = f"{name}@{line['to']} is current, {name}@{line['from']} was"
    if line["from"] is None:
        words = f"{name}@{line['to']} is current, none was before"
    tell(line if as_json else None, words)
    return DONE
