"""``deepfake strangers``: could a model tell that a face is unlike those it was made with?"""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from deepfake_core.commands.plain_words import count
from deepfake_core.commands.terminal import DONE, add_json, add_registry, registry_of, say, tell
from deepfake_core.errors import UsageError

if TYPE_CHECKING:
    from deepfake_core.commands.terminal import Commands
    from deepfake_core.evaluation.strangers import Family, Strangers


def add(commands: Commands) -> None:
    """Add ``strangers``."""
    parser = commands.add_parser(
        "strangers", help="measure how well unfamiliar faces can be told, family by family"
    )
    parser.add_argument("model", metavar="MODEL", help="NAME or NAME@VERSION")
    parser.add_argument(
        "--data", type=Path, required=True, metavar="DIR",
        help="labelled folder of familiar faces, with a set train",
    )  # fmt: skip
    parser.add_argument(
        "--strangers", type=Path, required=True, metavar="DIR",
        help="folder that holds a folder of pictures for each family",
    )  # fmt: skip
    parser.add_argument(
        "--most", type=count, default=1000, metavar="N",
        help="pictures of each family and of each part of the labelled folder (1000)",
    )  # fmt: skip
    parser.add_argument(
        "--second", action="store_true", help="ask the current second look in place of the model"
    )
    add_registry(parser)
    add_json(parser)
    parser.set_defaults(command=_strangers)


def _strangers(parsed: argparse.Namespace) -> int:
    from deepfake_core.evaluation.strangers import measure_strangers, open_seer
    from deepfake_core.models.registry import find_model
    from deepfake_core.models.second_look import find_second

    registry = registry_of(parsed)
    second = find_second(None, registry) if parsed.second else None
    if parsed.second and second is None:
        raise UsageError(f"there is no second look in {registry}; leave out --second")
    seer = open_seer(find_model(parsed.model, registry), second, registry=registry)
    found = measure_strangers(seer, parsed.data, parsed.strangers, most=parsed.most, say=say)
    tell(asdict(found) if parsed.json else None, in_words(found))
    return DONE


def in_words(found: Strangers) -> str:
    """The table as text: the families that a test would miss are named."""
    from deepfake_core.evaluation.strangers import LEAST_AUC, LOSS, TOGETHER

    lost = ", ".join(f"{name} {refused}" for name, refused in found.lost.items())
    lines = [
        f"{found.model_id}: {found.learnt:,} faces learnt, {found.compared:,} compared with, "
        f"strangers told from {found.familiar:,} others",
        f"refused of these at {LOSS:.0%}: {lost}",
        *(_family(family) for family in found.families),
    ]
    blind = [
        one.name for one in found.families if one.faces and one.depths[TOGETHER].auc < LEAST_AUC
    ]
    lines.append(f"blind (AUC below {LEAST_AUC}) for: {', '.join(blind) or 'none of them'}")
    return "\n".join(lines)


def _family(family: Family) -> str:
    told = "; ".join(
        f"{name} AUC {one.auc:.2f} ({one.auc_interval[0]:.2f} to {one.auc_interval[1]:.2f}), "
        f"{one.refused / family.faces:.0%} refused"
        for name, one in family.depths.items()
    )
    return f"{family.name}: {family.faces} faces in {family.pictures} pictures; {told}"
