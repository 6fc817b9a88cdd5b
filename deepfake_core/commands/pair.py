"""``deepfake pair``: let a second look judge what a first one cannot clear."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from deepfake_core.commands.terminal import DONE, add_json, add_registry, registry_of, say, tell
from deepfake_core.errors import UsageError
from deepfake_core.models.bundle import Precision
from deepfake_core.records import Json

if TYPE_CHECKING:
    from deepfake_core.commands.terminal import Commands
    from deepfake_core.models.pair import Pair, Share


def add(commands: Commands) -> None:
    """Add ``pair``."""
    parser = commands.add_parser(
        "pair", help="choose which faces of a model go on to the second look, and what both say"
    )
    parser.add_argument("model", metavar="MODEL", help="the first look: NAME or NAME@VERSION")
    parser.add_argument(
        "--second", metavar="NAME[@VERSION]", help="the second look (the current one)"
    )
    parser.add_argument(
        "--data", type=Path, required=True, metavar="DIR", help="labelled folder to judge by"
    )
    parser.add_argument(
        "--precision",
        action="append",
        choices=get_args(Precision),
        default=[],
        help="of the second look, may be repeated (the fastest of this processor)",
    )
    parser.add_argument(
        "--aside",
        action="append",
        default=[],
        metavar="SET",
        help="a set of DIR that is no task of the looks, such as face swaps: it is reported on "
        "and chooses nothing; may be repeated",
    )
    add_registry(parser)
    add_json(parser)
    parser.set_defaults(command=_pair)


def _pair(parsed: argparse.Namespace) -> int:
    from deepfake_core.models.canaries import read_canaries
    from deepfake_core.models.registry import find_model
    from deepfake_core.models.second_look import find_second, write_pair
    from deepfake_core.release.canary_answers import record_second
    from deepfake_core.release.pair_models import Making, pair_models

    registry = registry_of(parsed)
    first, look = find_model(parsed.model, registry), find_second(parsed.second, registry)
    if look is None:
        raise UsageError(f"there is no second look in {registry}; name one with --second")
    pair = pair_models(
        first,
        look,
        parsed.data,
        Making(registry, aside=parsed.aside, precisions=parsed.precision),
        say=say,
    )
    path = write_pair(look, pair)
    if read_canaries(look.folder, look.digest) is None:
        record_second(look, first)
    figures = {name: measured.model_dump() for name, measured in pair.figures.items()}
    facts = {"pair": pair.digest, "file": str(path), "line": pair.line, "figures": figures}
    tell(facts if parsed.json else None, _words(pair, look.model_id))
    return DONE


def _words(pair: Pair, second: str) -> str:
    lines = [f"{pair.first_model_id} sends faces that score {pair.line:.4f} or more to {second}"]
    for precision, measured in pair.figures.items():
        report = measured.auto["report"]
        lines += [
            f"on {report['images']:,} faces that chose nothing, {precision}: AUC "
            f"{measured.first_auc:.4f} alone, {report['auc']:.4f} so, "
            f"{measured.all['report']['auc']:.4f} where all go on",
            f"  {_share(measured.reals_sent_on)} of the photographs go on; "
            f"{_share(measured.fakes_lost)} of the fakes do not",
            *(
                f"  {name}: {_share(sent)} go on, {_called(measured.auto[name])}"
                for name, sent in measured.sent_on.items()
            ),
        ]
    return "\n".join(lines)


def _called(measured: Json) -> str:
    """What the faces of a family are called."""
    labels, of = measured["labels"], measured["images"]
    return f"{labels['fake'] / of:.1%} fake, {labels['real'] / of:.1%} real"


def _share(share: Share) -> str:
    known = "none" if share.share is None else f"{share.share:.1%}"
    return f"{known} ({share.low:.1%} to {share.high:.1%})"
