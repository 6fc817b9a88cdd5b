"""Measure a bundle on a labelled folder."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from pathlib import Path

from deepfake_core.datasets.labelled import Labelled, list_labelled
from deepfake_core.datasets.names import set_called
from deepfake_core.datasets.splits import thin
from deepfake_core.errors import SourceError, UsageError
from deepfake_core.evaluation.config import EvaluateConfig
from deepfake_core.evaluation.curves import relative
from deepfake_core.evaluation.document import (
    Evaluation,
    FailedImage,
    Faithfulness,
    Heading,
    SetReport,
    Unseen,
)
from deepfake_core.evaluation.faithfulness import measure_explanations
from deepfake_core.evaluation.leave_one_out import leave_one_out, read_features, usable_sources
from deepfake_core.evaluation.partition import (
    TRAIN,
    choose_headline,
    find_halved,
    find_overlaps,
    split_sets,
)
from deepfake_core.evaluation.score_cache import ScoreCache, Scored
from deepfake_core.evaluation.scored_set import CLASS_NAMES, ScoredSet, count_all, judge
from deepfake_core.evaluation.set_figures import Known, measure_set
from deepfake_core.evaluation.set_scoring import SetScorer, open_scorer
from deepfake_core.evaluation.training_list import read_training_list
from deepfake_core.events import Say, silent
from deepfake_core.inference.opening import Choice, choose_networks, open_classifier
from deepfake_core.models.bundle import Bundle

DEFAULTS = EvaluateConfig()


def evaluate(
    bundle: Bundle,
    data: Path,
    *,
    config: EvaluateConfig = DEFAULTS,
    say: Say = silent,
    memory: ScoreCache | None = None,
) -> Evaluation:
    """Measure a bundle on a labelled folder.

    Args:
        bundle: the model.
        data: a labelled folder, see `deepfake_core.datasets.labelled.read_labelled`.
        config: which sets, and how.
        say: told of the steps, in words.
        memory: what the bundle gave at fp32 before; read and added to at that precision.

    Returns:
        Plain numbers: the model, ``sets`` with their figures, curves and worst mistakes by name,
        ``headline`` (the name of the set to quote), ``all`` (one figure for all images, see
        `deepfake_core.evaluation.scored_set.count_all`), ``warnings``, ``failures`` (images that
        are not in any figure), ``leave_one_out`` and ``explanations``.

    Raises:
        UsageError: there is no such folder or set, or it holds nothing that can be judged.
    """
    listing = list_labelled(data, reading=config.reading)
    if listing.problems and not listing.images:
        raise SourceError(f"{data}: {'; '.join(listing.problems)}")
    members = _chosen_sets(data, listing.images, config.sets)
    if config.leave_one_out:
        # Before hours of scoring, not after them.
        usable_sources([image for images in members.values() for image in images])
    known = _known_sources(bundle, listing.images, config)
    scorer = open_scorer(bundle, config, memory=memory, say=say)
    judged, failures = _score_sets(bundle, scorer, members, data)
    learnt = read_training_list(bundle)
    halved = find_halved(learnt, judged, calibrated="report" in bundle.description.figures)
    parts, warnings = split_sets(judged, one_class=config.one_class, halved=halved)
    sets: dict[str, SetReport] = {}
    for name, part in parts.items():
        say(f"measuring {name}")
        sets[name] = measure_set(part, data, known)
    headline = choose_headline(parts)
    overlaps = find_overlaps(learnt, listing.images, parts)
    explanations = (
        _explain(bundle, scorer, parts[headline], config.explanations)
        if config.explanations
        else None
    )
    everyone = [image for scored in judged.values() for image in scored.images]
    unseen = _leave_one_out(bundle, everyone, known, say) if config.leave_one_out else None
    left_out = [f"left out: {problem}" for problem in listing.problems]
    return {
        **_heading(bundle, data, known, scorer.precision),
        "failures": failures,
        "sets": sets,
        "leave_one_out": unseen,
        "explanations": explanations,
        "warnings": [*left_out, *listing.notes, *warnings, *overlaps],
        "headline": headline,
        "all": count_all(judged.values()),
    }


def _score_sets(
    bundle: Bundle, scorer: SetScorer, members: Mapping[str, Sequence[Labelled]], data: Path
) -> tuple[dict[str, ScoredSet], list[FailedImage]]:
    """What could be judged, by set, and what could not."""
    judged: dict[str, ScoredSet] = {}
    failures: list[FailedImage] = []
    for name, images in members.items():
        scored = scorer.score_set(name, images)
        failures += _failures(images, scored, data)
        kept = judge(images, scored, bundle.description.calibration, bundle.description.thresholds)
        judged |= {name: kept} if kept.images else {}
    if not judged:
        raise SourceError(f"none of the images in {data} could be judged; are they images?")
    return judged, failures


def _leave_one_out(bundle: Bundle, images: Sequence[Labelled], known: Known, say: Say) -> Unseen:
    return leave_one_out(read_features(bundle, images, say=say), known)


def _heading(bundle: Bundle, data: Path, known: Known, precision: str) -> Heading:
    description = bundle.description
    return {
        "model_id": bundle.model_id,
        "name": description.name,
        "version": description.version,
        "data": str(data),
        "date": dt.datetime.now(dt.UTC).date().isoformat(),
        "precision": precision,
        "calibration": description.calibration.model_dump(mode="json"),
        "thresholds": description.thresholds.model_dump(),
        "trained_sources": None if known.names is None else sorted(known.names),
        "trained_sources_said_by": known.said_by,
        "limits": list(description.limits),
    }


def _chosen_sets(
    data: Path, images: Sequence[Labelled], wanted: tuple[str, ...]
) -> dict[str, list[Labelled]]:
    """The images by set, of the sets that were asked for."""
    members: dict[str, list[Labelled]] = {}
    for image in images:
        members.setdefault(image.set_name or data.resolve().name, []).append(image)
    if not members:
        raise SourceError(f"{data} holds no labelled images; add some to real/ and fake/")
    wanted = tuple(name if name in members else set_called(name) for name in wanted)
    missing = [name for name in wanted if name not in members]
    if missing:
        raise UsageError(f"{data} has no set {missing[0]}; there are: {', '.join(sorted(members))}")
    names = wanted or [name for name in sorted(members) if name != TRAIN]
    if not names:
        raise UsageError(
            f"{data} has only the set {TRAIN}, which models are trained on; name it with --set "
            f"{TRAIN} to evaluate on it all the same"
        )
    return {name: members[name] for name in names}


def _known_sources(bundle: Bundle, images: Sequence[Labelled], config: EvaluateConfig) -> Known:
    """The sources of fakes that the model was trained on, and who says so."""
    recorded = bundle.description.training.get("sources")
    if config.trained_sources:
        return Known(frozenset(config.trained_sources), "as they were named for this evaluation")
    if isinstance(recorded, list):
        return Known(frozenset(map(str, recorded)), "as the bundle records them")
    training = {image.source for image in images if image.set_name == TRAIN and image.fake}
    if training - {""}:
        words = f"assumed: those of {TRAIN}/ in this folder, for the bundle does not record them"
        return Known(frozenset(training - {""}), words)
    return Known(None, "not known: the bundle does not record them")


def _explain(
    bundle: Bundle, scorer: SetScorer, judged: ScoredSet, most: int
) -> Faithfulness | None:
    """Put explanations of fakes, spread over a set, to the test; None without any."""
    fakes = [image for image in judged.images if image.fake]
    some = thin(fakes, most)
    if not some:
        return None
    scorer.say(f"explaining {len(some)} of {len(fakes)} fakes")
    networks = choose_networks(bundle, Choice(precision=scorer.precision, second_look="off"))
    return measure_explanations(open_classifier(networks), some)


def _failures(images: Sequence[Labelled], scored: Scored, root: Path) -> list[FailedImage]:
    return [
        {
            "image": relative(images[row].path, root),
            "class": CLASS_NAMES[images[row].fake],
            "code": str(failure.code),
            "detail": failure.detail,
        }
        for row, failure in scored.failures.items()
    ]
