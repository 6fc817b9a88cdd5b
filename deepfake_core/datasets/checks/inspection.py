"""The data checks of a labelled folder: what stops, what was put right, and the audit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from deepfake_core.datasets.checks.document import Content, DatasetFacts
from deepfake_core.datasets.checks.duplicates import find_duplicates, join_groups, name_of
from deepfake_core.datasets.checks.findings import Evidence, find_problems, find_warnings
from deepfake_core.datasets.checks.measures import measure_all
from deepfake_core.datasets.checks.sets import describe_sets, shortcut_reasons, worst_shortcuts
from deepfake_core.datasets.labelled import Labelled, Listing, list_labelled
from deepfake_core.datasets.names import CLASSES
from deepfake_core.datasets.reading import PLAIN, Reading
from deepfake_core.errors import SourceError, UsageError
from deepfake_core.events import Say, silent

DEFAULT_MAX_SHORTCUT_AUC = 0.75


@dataclass(frozen=True, slots=True)
class Inspection:
    """What the checks of a labelled folder found.

    Attributes:
        root: the folder.
        problems: why nothing may be learned from it as it is; one line each.
        warnings: what was put right or should be known; one line each.
        shortcuts: the highest AUC over the sets that are learned from, by feature; 0.5 is none.
        shortcut_reasons: one line for each of these sets that is surely above the limit.
        facts: all of it, the content of ``dataset.json``.
        images: the readable images, sorted by path, those that show the same in one group and
            each group in one split.
    """

    root: Path
    problems: tuple[str, ...]
    warnings: tuple[str, ...]
    shortcuts: dict[str, float]
    shortcut_reasons: tuple[str, ...]
    facts: DatasetFacts
    images: tuple[Labelled, ...]

    @property
    def shortcut_passed(self) -> bool:
        """Whether the audit found no set that a model would learn the files of."""
        return not self.shortcut_reasons

    def reasons(self, *, allow_shortcuts: bool = False) -> tuple[str, ...]:
        """Why to stop here; empty where the data may be learned from.

        Args:
            allow_shortcuts: go on although the files tell the classes apart.
        """
        return self.problems if allow_shortcuts else self.problems + self.shortcut_reasons


def inspect(
    root: Path,
    *,
    within: str = "",
    reading: Reading = PLAIN,
    max_shortcut_auc: float = DEFAULT_MAX_SHORTCUT_AUC,
    say: Say = silent,
) -> Inspection:
    """Check a labelled folder before anything is learned from it.

    Args:
        root: the folder, see `deepfake_core.datasets.labelled.read_labelled`.
        within: only this set, such as ``train``.
        reading: what names in it mean that do not say it.
        max_shortcut_auc: the audit fails where the lower end of a feature's interval is above.
        say: is told what is being done.

    Raises:
        SourceError: nothing in it is labelled, or it cannot be read.
        UsageError: the libraries for the checks are not installed.
    """
    _require_libraries()
    listing = list_labelled(root, within, reading=reading)
    if not listing.images and not listing.problems:
        raise SourceError(f"{root / within} holds no labelled images; add some to real/ and fake/")
    evidence = _gather(root, listing.images, limit=max_shortcut_auc, say=say)
    problems = [*listing.problems, *find_problems(evidence)]
    warnings = [*listing.notes, *find_warnings(evidence)]
    shortcuts = worst_shortcuts(evidence.sets, evidence.learned)
    reasons = shortcut_reasons(evidence.sets, evidence.learned, max_shortcut_auc)
    facts: DatasetFacts = {
        "root": str(root.absolute()),
        "within": within,
        "problems": problems,
        "warnings": warnings,
        "max_shortcut_auc": max_shortcut_auc,
        "shortcut_passed": not reasons,
        "shortcut_reasons": reasons,
        "shortcuts": shortcuts,
        **_facts(evidence, listing),
    }
    return Inspection(
        root=root,
        problems=tuple(problems),
        warnings=tuple(warnings),
        shortcuts=shortcuts,
        shortcut_reasons=tuple(reasons),
        facts=facts,
        images=tuple(evidence.joined),
    )


def _require_libraries() -> None:
    try:
        import imagehash
        import sklearn

        del imagehash, sklearn
    except ImportError as error:
        raise UsageError(
            f"the data checks need {error.name}, which comes with the extra 'train': "
            "pip install 'deepfake-verification[train]'"
        ) from error


def _gather(root: Path, listed: Sequence[Labelled], *, limit: float, say: Say) -> Evidence:
    say(f"data checks: measuring {len(listed):,} images")
    files = list(zip(listed, measure_all(listed), strict=True))
    unreadable = {name_of(image, root): told for image, told in files if isinstance(told, str)}
    readable = [(image, told) for image, told in files if not isinstance(told, str)]
    images, measured = [image for image, _ in readable], [told for _, told in readable]
    say("data checks: comparing them with each other")
    duplicates = find_duplicates(measured)
    joined = join_groups(images, duplicates)
    say("data checks: looking for shortcuts")
    set_names = {image.set_name for image in listed}
    sets, learned = describe_sets(joined, measured, listed=set_names, root=root)
    return Evidence(root, images, joined, measured, duplicates, unreadable, sets, learned, limit)


def _facts(evidence: Evidence, listing: Listing) -> Content:
    images, joined = evidence.images, evidence.joined
    changed = [place for place, image in enumerate(images) if image != joined[place]]
    return {
        "images": len(images),
        "classes": {
            name: sum(labelled.fake == (name == "fake") for labelled in images) for name in CLASSES
        },
        "ignored": listing.ignored,
        "sets": dict(evidence.sets),
        "duplicates": [
            {
                "exact": duplicate.exact,
                "mirrored": duplicate.mirrored,
                "across": len({images[place].split for place in duplicate.members}) > 1,
                "images": [evidence.name(place) for place in duplicate.members],
            }
            for duplicate in evidence.duplicates
        ],
        "regrouped": {
            evidence.name(place): {
                "group_id": joined[place].group_id,
                "set_name": joined[place].set_name,
            }
            for place in changed
        },
        "excluded": dict(evidence.unreadable),
    }
