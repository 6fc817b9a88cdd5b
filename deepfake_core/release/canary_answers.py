"""Record how a new network answers the known pictures, so that scans can ask it again."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from deepfake_core.engines.clip_engine import open_second_look, processor_flags, second_precisions
from deepfake_core.engines.engine import processor_precisions
from deepfake_core.faces.bundle import Finder
from deepfake_core.inference.canaries import Seen, ask, see
from deepfake_core.inference.opening import USUAL_FINDER, Networks, find_finder, open_classifier
from deepfake_core.models.bundle import Bundle
from deepfake_core.models.canaries import (
    Answers,
    Canaries,
    Setting,
    known_pictures,
    write_canaries,
)
from deepfake_core.models.second_look import SecondBundle
from deepfake_core.records import Float32Array


@dataclass(frozen=True, slots=True)
class _Said:
    """What was seen of the pictures in a setting, and the logit of each that shows something."""

    setting: Setting
    seen: Seen
    logits: Float32Array


def record_first(bundle: Bundle) -> Canaries | None:
    """Put the answers of a first look beside it, at each precision that this machine has.

    One of faces is asked about whole pictures, too.

    Returns:
        The answers; None, and nothing is written, where the pictures show nothing that it judges.
    """
    pictures, finder = known_pictures("all"), _finder(bundle)
    said = []
    for networks in _ways(bundle, finder):
        classifier = open_classifier(networks)
        seen = see(classifier, list(pictures.values()))
        said.append(_Said(_setting(networks), seen, classifier.engine.logits(seen.crops)))
    canaries = _joined(bundle.digest, finder, pictures, said)
    if canaries is not None:
        write_canaries(bundle.folder, canaries)
    return canaries


def record_second(look: SecondBundle, first: Bundle) -> Canaries | None:
    """The same for a second look, whose faces are found and cut as a first look's are."""
    pictures, finder = known_pictures("clean"), _finder(first)
    precisions = second_precisions(look, processor_flags())
    engines = {name: open_second_look(look, name) for name in precisions}
    said = []
    for networks in _ways(first, finder):
        if networks.finder is None or networks.precision != "fp32":
            continue
        seen = see(open_classifier(networks), list(pictures.values()))
        for name, engine in engines.items():
            setting = Setting(name, networks.finder_precision)
            said.append(_Said(setting, seen, ask(engine, seen.crops)))
    canaries = _joined(look.digest, finder, pictures, said)
    if canaries is not None:
        write_canaries(look.folder, canaries)
    return canaries


def _finder(bundle: Bundle) -> Finder | None:
    told = bundle.description.preprocessing
    return find_finder(told.finder or USUAL_FINDER) if told.faces == "find" else None


def _ways(bundle: Bundle, finder: Finder | None) -> list[Networks]:
    """How this machine can run a first look: at which precisions, and with which of the finder."""
    able = processor_precisions()
    ways = []
    for precision in bundle.description.precisions:
        if precision not in able:
            continue
        ways.append(Networks(bundle, precision))
        ways += [
            Networks(bundle, precision, finder=finder, finder_precision=beside)
            for beside in (finder.description.precisions if finder else ())
            if beside in able
        ]
    return ways


def _setting(networks: Networks) -> Setting:
    return Setting(networks.precision, networks.finder_precision if networks.finder else None)


def _joined(
    digest: str, finder: Finder | None, pictures: Mapping[str, bytes], said: Sequence[_Said]
) -> Canaries | None:
    """The answers about those pictures that show something in each setting."""
    shown = [
        row for row in range(len(pictures)) if all(row in network.seen.rows for network in said)
    ]
    if not shown or not said:
        return None
    names = list(pictures)
    hashes = {names[row]: hashlib.sha256(pictures[names[row]]).hexdigest() for row in shown}
    return Canaries(
        network=digest,
        finder=finder.model_id if finder else None,
        pictures=hashes,
        answers=tuple(_answers(network, shown) for network in said),
    )


def _answers(said: _Said, shown: Sequence[int]) -> Answers:
    seen = said.seen
    places = [place for row in shown if (place := seen.places[row]) is not None]
    return Answers(
        precision=said.setting.precision,
        finder_precision=said.setting.finder_precision,
        places=tuple(tuple(round(number, 3) for number in place) for place in places),
        logits=tuple(round(float(said.logits[seen.rows.index(row)]), 5) for row in shown),
    )
