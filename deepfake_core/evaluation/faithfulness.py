"""How often explanations hold: the map's area against random ones, over labelled fakes.

``deepfake evaluate MODEL --data DIR --explanations N`` prints the figures.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np

from deepfake_core.datasets.labelled import Labelled
from deepfake_core.evaluation.document import ExplainedShares, Faithfulness
from deepfake_core.inference.classifier import Classifier
from deepfake_core.inference.explanation import MUST_BEAT, RANDOM_AREAS, Explanation, explain
from deepfake_core.records import Label


def measure_explanations(classifier: Classifier, images: Sequence[Labelled]) -> Faithfulness:
    """Explain images and count how often the named area matters more than random ones.

    Args:
        classifier: the model.
        images: fakes, or whatever the figures are to be about; those that cannot be read are
            left out.

    Returns:
        Counts and shares, of all images and of those whose score leans to their label. ``shown``
        passed the test, which by chance ``shown_by_chance`` would; ``above_random_mean`` dropped
        more than the random areas did on average.
    """
    explained: list[tuple[Labelled, Explanation]] = []
    seconds = []
    for image in images:
        data = image.path.read_bytes()
        started = time.perf_counter()
        explanation = explain(classifier, data)
        seconds.append(time.perf_counter() - started)
        if isinstance(explanation, Explanation):
            explained.append((image, explanation))
    right = [e for i, e in explained if (e.towards is Label.FAKE) == i.fake]
    return {
        "model_id": classifier.bundle.model_id,
        "random_areas": RANDOM_AREAS,
        "must_beat": MUST_BEAT,
        "shown_by_chance": (RANDOM_AREAS - MUST_BEAT + 1) / (RANDOM_AREAS + 1),
        "all": _shares([explanation for _, explanation in explained]),
        "leaning_to_their_label": _shares(right),
        "seconds_median": float(np.median(seconds)) if seconds else None,
    }


def _shares(explanations: Sequence[Explanation]) -> ExplainedShares:
    if not explanations:
        return {"images": 0}
    drops = np.array([explanation.drop for explanation in explanations])
    random_drops = np.array([explanation.random_drops for explanation in explanations])
    shown = np.array([explanation.faithful for explanation in explanations])
    return {
        "images": len(explanations),
        "shown": float(shown.mean()),
        "above_random_mean": float((drops > random_drops.mean(axis=1)).mean()),
        "drop_mean": float(drops.mean()),
        "random_drop_mean": float(random_drops.mean()),
    }
