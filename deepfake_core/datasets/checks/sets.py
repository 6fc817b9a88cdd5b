"""The sets of a labelled folder: each described and audited for itself."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from deepfake_core.datasets.checks.description import describe
from deepfake_core.datasets.checks.document import SetFacts, ShortcutFacts
from deepfake_core.datasets.checks.measures import Measured
from deepfake_core.datasets.checks.shortcuts import FEATURES, Shortcut, audit_shortcuts
from deepfake_core.datasets.labelled import Labelled
from deepfake_core.datasets.names import CLASSES, SPLITS, split_of

POOLED = "all sets together"
LEARNED_SPLITS = ("train", "valid")

Sets = Mapping[str, SetFacts]


def describe_sets(
    images: Sequence[Labelled], measured: Sequence[Measured], *, listed: Iterable[str], root: Path
) -> tuple[Sets, list[str]]:
    """Describe and audit each set.

    A folder whose sets are not splits, some with one class only, is audited as a whole besides.

    Args:
        images: those that can be read, in the sets that they belong to.
        measured: what was measured of them, in the same order.
        listed: the names of all sets, also of those without an image that can be read.
        root: the folder.

    Returns:
        By the set's name what `describe` says, with ``split``, ``learned`` and ``shortcuts``;
        and the names of the sets that a model learns from.
    """
    places: dict[str, list[int]] = {name: [] for name in listed}
    for place, image in enumerate(images):
        places[image.set_name].append(place)
    learned = _learned_from(images, places)
    if POOLED in learned:
        places[POOLED] = list(range(len(images)))
    sets: dict[str, SetFacts] = {}
    for name in sorted(places, key=lambda name: (name not in learned, name)):
        members = places[name]
        some, theirs = [images[place] for place in members], [measured[place] for place in members]
        shortcuts = audit_shortcuts(some, theirs)
        sets[name] = {
            "split": split_of(name),
            "learned": name in learned,
            **describe(some, theirs, root=root),
            "shortcuts": {feature: _facts(audit) for feature, audit in shortcuts.items()},
        }
    return sets, sorted(learned)


def _facts(shortcut: Shortcut) -> ShortcutFacts:
    return {"auc": shortcut.auc, "low": shortcut.low, "high": shortcut.high}


def _learned_from(images: Sequence[Labelled], places: Mapping[str, Sequence[int]]) -> list[str]:
    """The sets that a model learns from: those of train and valid; without train, all."""
    splits = {split_of(name) for name in places}
    if "train" in splits:
        return [name for name in places if split_of(name) in LEARNED_SPLITS]
    complete = [
        name
        for name, members in places.items()
        if len({images[place].fake for place in members}) > 1
    ]
    if len(places) == 1 or len(complete) == len(places) or splits & set(SPLITS.values()):
        return list(places)
    return [POOLED, *complete]


def worst_shortcuts(sets: Sets, learned: Sequence[str]) -> dict[str, float]:
    """The highest AUC of each feature over the sets that are learned from."""
    audited = [sets[name]["shortcuts"] for name in learned]
    return {
        feature: max(shortcuts[feature]["auc"] for shortcuts in audited if feature in shortcuts)
        for feature in FEATURES
        if any(feature in shortcuts for shortcuts in audited)
    }


def shortcut_reasons(sets: Sets, names: Sequence[str], limit: float) -> list[str]:
    """One line for each of these sets whose files tell the classes apart."""
    reasons = []
    for name in names:
        tripped = {
            feature: shortcut
            for feature, shortcut in sets[name]["shortcuts"].items()
            if shortcut["low"] > limit
        }
        if not tripped:
            continue
        told = ", ".join(
            f"{FEATURES[feature]} {shortcut['auc']:.2f}" for feature, shortcut in tripped.items()
        )
        reasons.append(
            f"{shown(name)}: the files tell the classes apart without their pictures "
            f"(AUC, limit {limit:g}): {told}"
        )
    return reasons


def small_classes(sets: Sets, names: Sequence[str], *, below: int, least: int = 0) -> list[str]:
    """The classes of these sets with at least `least`, but fewer than `below` usable images."""
    return [
        f"{shown(name)} has {count or 'no'} usable {label} image{'' if count == 1 else 's'}"
        for name in names
        for label in CLASSES
        if least <= (count := sets[name]["counts"][label]) < below
    ]


def shown(set_name: str) -> str:
    """A set's name for people."""
    return set_name or "the folder"
