"""What the data checks found, as ``dataset.json`` says it."""

from __future__ import annotations

from typing import TypedDict


class ShortcutFacts(TypedDict):
    """See `deepfake_core.datasets.checks.shortcuts.Shortcut`."""

    auc: float
    low: float
    high: float


class Description(TypedDict):
    """What the readable images of a set look like.

    Attributes:
        counts: images by class.
        groups: how many groups they are of.
        kinds: counts of formats, sizes, ... by class, the most frequent first.
        histograms: by measure: ``edges``, and the counts of each class between them.
        quantiles: by measure and class: quarter, half and three quarters of its values lie below.
        samples: names of a few images by class, spread over the set.
    """

    counts: dict[str, int]
    groups: int
    kinds: dict[str, list[dict[str, str | int]]]
    histograms: dict[str, dict[str, list[float]]]
    quantiles: dict[str, dict[str, list[float] | None]]
    samples: dict[str, list[str]]


class SetFacts(Description):
    """A set, described and audited.

    Attributes:
        split: what it is for.
        learned: whether a model learns from it.
        shortcuts: how well each feature of its files tells the classes apart.
    """

    split: str
    learned: bool
    shortcuts: dict[str, ShortcutFacts]


class DuplicateFacts(TypedDict):
    """Images that show the same.

    Attributes:
        exact: whether their bytes are the same.
        mirrored: whether some are mirror images.
        across: whether they lie in several splits.
        images: their names.
    """

    exact: bool
    mirrored: bool
    across: bool
    images: list[str]


class Regrouped(TypedDict):
    """The group and the set that an image belongs to, where its folder says otherwise."""

    group_id: str
    set_name: str


class Content(TypedDict):
    """What a labelled folder holds.

    Attributes:
        images: how many are readable.
        classes: how many of each class.
        ignored: files that are not images.
        sets: by name.
        duplicates: images that show the same.
        regrouped: images that belong to another group or set than declared, by name.
        excluded: why files cannot be read, by name.
    """

    images: int
    classes: dict[str, int]
    ignored: int
    sets: dict[str, SetFacts]
    duplicates: list[DuplicateFacts]
    regrouped: dict[str, Regrouped]
    excluded: dict[str, str]


class DatasetFacts(Content):
    """All that the checks found.

    Attributes:
        root: the folder.
        within: the set that was looked at alone; empty for all.
        problems: why nothing may be learned from it as it is.
        warnings: what was put right or should be known.
        max_shortcut_auc: the highest AUC of a shortcut that is let pass.
        shortcut_passed: whether none is higher.
        shortcut_reasons: which are, one line each.
        shortcuts: the highest AUC of each feature over the sets that are learned from.
    """

    root: str
    within: str
    problems: list[str]
    warnings: list[str]
    max_shortcut_auc: float
    shortcut_passed: bool
    shortcut_reasons: list[str]
    shortcuts: dict[str, float]
