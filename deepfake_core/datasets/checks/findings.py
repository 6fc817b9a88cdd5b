"""What the checks have to say: problems that stop, and warnings."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from deepfake_core.datasets.checks.duplicates import Duplicates, name_of
from deepfake_core.datasets.checks.measures import Measured
from deepfake_core.datasets.checks.sets import Sets, shortcut_reasons, shown, small_classes
from deepfake_core.datasets.checks.shortcuts import MIN_JUDGED
from deepfake_core.datasets.labelled import Labelled

MIN_OF_A_CLASS = 2
NAMED = 3


@dataclass(frozen=True, slots=True)
class Evidence:
    """What was measured of a labelled folder.

    Attributes:
        root: the folder.
        images: the readable images as they were declared.
        joined: the same with groups and splits as they must be.
        measured: of each of them.
        duplicates: those that show the same.
        unreadable: why other files cannot be read, by name.
        sets: see `deepfake_core.datasets.checks.sets.describe_sets`.
        learned: the sets that a model learns from.
        limit: the highest AUC of a shortcut that is let pass.
    """

    root: Path
    images: Sequence[Labelled]
    joined: Sequence[Labelled]
    measured: Sequence[Measured]
    duplicates: Sequence[Duplicates]
    unreadable: Mapping[str, str]
    sets: Sets
    learned: Sequence[str]
    limit: float

    def name(self, place: int) -> str:
        """An image's path relative to the folder."""
        return name_of(self.images[place], self.root)


def find_problems(evidence: Evidence) -> list[str]:
    """Why nothing may be learned from the folder as it is."""
    return [
        *_contradictions(evidence),
        *_declared_across(evidence),
        *(
            f"{lack}; at least {MIN_OF_A_CLASS} of each class are needed"
            for lack in small_classes(evidence.sets, evidence.learned, below=MIN_OF_A_CLASS)
        ),
    ]


def find_warnings(evidence: Evidence) -> list[str]:
    """What was put right, and what should be known."""
    others = [name for name in evidence.sets if name not in evidence.learned]
    return [
        *_unreadable(evidence),
        *_moved(evidence),
        *_joined(evidence),
        *_alike_across_classes(evidence),
        *_too_few(evidence),
        *(
            f"{finding}; figures of this set are of one class alone"
            for finding in small_classes(evidence.sets, others, below=1)
        ),
        *(
            f"{finding}. Never train on it; report its classes apart"
            for finding in shortcut_reasons(evidence.sets, others, evidence.limit)
        ),
    ]


def _contradictions(evidence: Evidence) -> list[str]:
    """Files with the same bytes and different labels."""
    labels: dict[str, dict[bool, int]] = defaultdict(dict)
    for place, (image, file) in enumerate(zip(evidence.images, evidence.measured, strict=True)):
        labels[file.sha256].setdefault(image.fake, place)
    pairs = [
        f"{evidence.name(places[True])} = {evidence.name(places[False])}"
        for places in labels.values()
        if len(places) > 1
    ]
    if not pairs:
        return []
    many = f"{len(pairs):,} pictures are" if len(pairs) > 1 else "1 picture is"
    return [
        f"{many} labelled both fake and real, byte for byte the same: {_listed(pairs)}; "
        "remove the wrong label"
    ]


def _declared_across(evidence: Evidence) -> list[str]:
    """Groups that the manifest puts into several splits."""
    across = [
        f"{group} ({', '.join(sorted(shown(split) for split in sets))})"
        for group, sets in _across(evidence).items()
    ]
    if not across:
        return []
    many = f"{len(across):,} groups lie" if len(across) > 1 else "1 group lies"
    return [f"{many} in several splits: {_listed(across)}; move each into one split"]


def _across(evidence: Evidence) -> dict[str, set[str]]:
    """The splits of each declared group that lies in more than one."""
    splits: dict[str, set[str]] = defaultdict(set)
    for image in evidence.images:
        splits[image.group_id].add(image.split)
    return {group: names for group, names in splits.items() if len(names) > 1}


def _unreadable(evidence: Evidence) -> list[str]:
    if not evidence.unreadable:
        return []
    named = [f"{name} ({reason})" for name, reason in evidence.unreadable.items()]
    return [f"{_files(len(named))} left out, being unreadable: {_listed(named)}"]


def _moved(evidence: Evidence) -> list[str]:
    """Images that went to another split because one there shows the same.

    Those whose declared group lies in several splits are a problem, and told as one.
    """
    declared = _across(evidence)
    moved = [
        f"{evidence.name(place)} ({shown(image.set_name)} to {shown(joined.set_name)})"
        for place, (image, joined) in enumerate(zip(evidence.images, evidence.joined, strict=True))
        if image.split != joined.split and image.group_id not in declared
    ]
    if not moved:
        return []
    return [
        f"{_images(len(moved))} counted to another split, which has nearly the same picture: "
        f"{_listed(moved)}"
    ]


def _joined(evidence: Evidence) -> list[str]:
    """Images that show the same and had not been declared as one group."""
    undeclared = [
        duplicate
        for duplicate in evidence.duplicates
        if len({evidence.images[place].group_id for place in duplicate.members}) > 1
    ]
    if not undeclared:
        return []
    named = [
        f"{evidence.name(pair.members[0])} = {evidence.name(pair.members[1])}"
        for pair in undeclared
    ]
    count = sum(len(pair.members) for pair in undeclared)
    return [
        f"{_images(count)} exact or near duplicates of each other; those that show the same "
        f"share a group now: {_listed(named)}"
    ]


def _alike_across_classes(evidence: Evidence) -> list[str]:
    """Near-duplicates with different labels, such as a photo and its manipulation."""
    named = [
        " ≈ ".join(evidence.name(place) for place in duplicate.members[:2])
        for duplicate in evidence.duplicates
        if not duplicate.exact
        and len({evidence.images[place].fake for place in duplicate.members}) > 1
    ]
    if not named:
        return []
    return [f"{_images(len(named))} alike but labelled differently: {_listed(named)}; check them"]


def _too_few(evidence: Evidence) -> list[str]:
    return [
        f"{lack}: too few to look for shortcuts ({MIN_JUDGED} of each class are needed), "
        "and to learn from"
        for lack in small_classes(
            evidence.sets, evidence.learned, below=MIN_JUDGED, least=MIN_OF_A_CLASS
        )
    ]


def _listed(named: Sequence[str]) -> str:
    more = len(named) - NAMED
    return ", ".join(named[:NAMED]) + (f", and {more:,} more" if more > 0 else "")


def _files(count: int) -> str:
    return f"{count:,} files are" if count != 1 else "1 file is"


def _images(count: int) -> str:
    return f"{count:,} images are" if count != 1 else "1 image is"
