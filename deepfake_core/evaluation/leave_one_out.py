"""What to expect of a generator that a model never saw: leave one source out.

Training a network once per source is out of reach for most, so only its last part is trained
again: a linear head on the pooled features of its backbone, without the source, tested on it.
The pooled features are chosen over the last dense layer because that one was fitted to tell just
the trained sources from photographs, and has thrown away most of what else a head could use. What
the backbone itself learnt of a source stays in the features: for a source that it was trained on
the figure is therefore an upper bound, and the report says so.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from deepfake_core.datasets.labelled import Labelled, is_fake
from deepfake_core.engines.engine import read_graph
from deepfake_core.errors import UsageError
from deepfake_core.evaluation.document import Expected, LeftOut, Unseen
from deepfake_core.evaluation.metrics import BoolArray, figures
from deepfake_core.evaluation.scoring import PART, decode_part
from deepfake_core.evaluation.set_figures import Known
from deepfake_core.events import Say
from deepfake_core.inference.cropping import open_cropper
from deepfake_core.models.bundle import Bundle
from deepfake_core.models.decision import Calibration, Thresholds, calibrate, decide
from deepfake_core.models.figures import Figures, value_of
from deepfake_core.records import Float32Array

if TYPE_CHECKING:
    from deepfake_core.engines.libraries import ov

LEAST_SOURCES = 3
LEAST_IMAGES = 20
# Of the mean variance of a standardised feature.
RIDGE = 0.1
HEAD_LAYER = "head_conv"
HALF = Thresholds(real_below=0.5, fake_from=0.5)
MEASURES = ("auc", "balanced_accuracy", "tpr_at_5_percent_fpr")


@dataclass(frozen=True, slots=True)
class Features:
    """Images with what the backbone says of them.

    Attributes:
        images: N labelled images.
        values: float32[N, D].
    """

    images: tuple[Labelled, ...]
    values: Float32Array


@dataclass(frozen=True, slots=True)
class Head:
    """A linear head on features: float64[D] each."""

    centre: np.ndarray
    slopes: np.ndarray

    def scores(self, values: Float32Array) -> Float32Array:
        """Scores of float32[N, D]: float32[N], one half where the classes are as far."""
        logits = (values.astype(np.float64) - self.centre) @ self.slopes
        return calibrate(logits.astype(np.float32), Calibration(temperature=1.0))


def read_features(bundle: Bundle, images: Sequence[Labelled], *, say: Say) -> Features:
    """The pooled features of a bundle's backbone, for images that can be judged."""
    from deepfake_core.engines.libraries import ov

    compiled = ov.Core().compile_model(
        feature_graph(read_graph(bundle, "fp32")), "CPU", {"INFERENCE_PRECISION_HINT": "f32"}
    )
    say(f"reading the features of {len(images)} images")
    cropper = open_cropper(bundle.description.preprocessing)
    kept: list[Labelled] = []
    values: list[Float32Array] = []
    for start in range(0, len(images), PART):
        part = decode_part(images[start : start + PART], cropper, {"clean": lambda x: x})
        if part.rows["clean"]:
            kept.extend(images[start + row] for row in part.rows["clean"])
            values.append(np.array(compiled([part.pixels["clean"]])[0], dtype=np.float32))
    return Features(tuple(kept), np.concatenate(values))


def feature_graph(model: ov.Model) -> ov.Model:
    """A graph cut at the input of its head, averaged over places: float32[N, D].

    The head of the networks built here begins with the layer ``head_conv``; of another network
    it is its last product with a matrix.
    """
    from deepfake_core.engines.libraries import ops, ov

    nodes = model.clone()
    ordered = nodes.get_ordered_ops()
    named = [node for node in ordered if node.get_friendly_name() == HEAD_LAYER]
    products = [node for node in ordered if node.get_type_name() == "MatMul"]
    if not named and not products:
        raise UsageError("the network has no head that could be trained again; leave out the table")
    source = (named or products)[-1].input(0).get_source_output()
    rank = source.get_partial_shape().rank.get_length()
    if rank == 4:
        source = ops.reduce_mean(source, np.array([2, 3]), keep_dims=False).output(0)
    return ov.Model([source], nodes.get_parameters(), "features")


def leave_one_out(features: Features, known: Known) -> Unseen:
    """Train a head without each source of fakes in turn, and test it on that source.

    Every source and the photographs are split in two by group: one half trains heads, the other
    tests them, so that no tested image has a near-duplicate in the training of its head.

    Args:
        features: of images that the network was not trained on.
        known: the sources that the network itself was trained on.

    Returns:
        By source the figures of a head ``without`` it and, on the same images, of one ``with``
        it; and ``expected``: the mean and the worst of the former, and what is lost.

    Raises:
        UsageError: there are fewer than three sources with enough images.
    """
    usable, few = usable_sources(features.images)
    fake = is_fake(list(features.images))
    sources = np.array([image.source for image in features.images])
    used = ~fake | np.isin(sources, usable)
    tested = np.array([_tests(image.group_id) for image in features.images])
    with_it = fit_head(features.values[used & ~tested], fake[used & ~tested])
    rows: list[LeftOut] = []
    for name in usable:
        theirs = fake & (sources == name)
        training, testing = used & ~tested & ~theirs, tested & (theirs | ~fake)
        without = fit_head(features.values[training], fake[training])
        rows.append(
            {
                "source": name,
                "seen": known.saw(name),
                "images": int(theirs.sum()),
                "without": _measure(without, features, testing),
                "with": _measure(with_it, features, testing),
            }
        )
    return {"sources": rows, "too_few": few, "expected": _expected(rows)}


def usable_sources(images: Sequence[Labelled]) -> tuple[list[str], list[str]]:
    """The sources of fakes with enough images to be left out, and those with too few.

    Raises:
        UsageError: there are fewer than three with enough images, or too few real images.
    """
    fake = is_fake(list(images))
    sources = np.array([image.source for image in images])
    names, counts = np.unique(sources[fake & (sources != "")], return_counts=True)
    usable = names[counts >= LEAST_IMAGES].tolist()
    if len(usable) < LEAST_SOURCES or (~fake).sum() < LEAST_IMAGES:
        raise UsageError(
            f"leaving one source out needs {LEAST_SOURCES} sources of fakes with {LEAST_IMAGES} "
            f"images each, and as many real images; found {_counted(names, counts)} and "
            f"{(~fake).sum()} real images; name the sources in the manifest's column generator"
        )
    return usable, names[counts < LEAST_IMAGES].tolist()


def fit_head(values: Float32Array, fake: BoolArray) -> Head:
    """Fit a linear head by least squares to +1 (fake) and -1, both classes weighing alike.

    Args:
        values: float32[N, D].
        fake: bool[N], both classes.
    """
    wide = values.astype(np.float64)
    centre = (wide[fake].mean(axis=0) + wide[~fake].mean(axis=0)) / 2
    spread = wide.std(axis=0) + 1e-6
    scaled = (wide - centre) / spread
    weights = np.where(fake, 0.5 / fake.sum(), 0.5 / (~fake).sum())
    squares = (scaled * weights[:, None]).T @ scaled
    slopes = np.linalg.solve(
        squares + RIDGE * np.eye(len(squares)), scaled.T @ (weights * np.where(fake, 1.0, -1.0))
    )
    return Head(centre, slopes / spread)


def _tests(group_id: str) -> bool:
    """Half of the groups, independent of the half that is only reported on."""
    return int(hashlib.sha256(group_id.encode()).hexdigest()[1], 16) % 2 == 1


def _measure(head: Head, features: Features, rows: BoolArray) -> Figures:
    scores = head.scores(features.values[rows])
    images = [features.images[row] for row in np.flatnonzero(rows).tolist()]
    groups = [image.group_id for image in images]
    measured = figures(scores, decide(scores, HALF), is_fake(images), groups)
    return {
        "auc": measured["auc"],
        "balanced_accuracy": measured["balanced_accuracy"],
        "tpr_at_5_percent_fpr": measured["tpr_at_5_percent_fpr"],
        "intervals": {name: measured["intervals"][name] for name in MEASURES},
        "real": measured["real"],
        "fake": measured["fake"],
    }


def _expected(rows: Sequence[LeftOut]) -> dict[str, Expected]:
    """The mean and the worst over left-out sources, and the mean loss against knowing them."""
    expected: dict[str, Expected] = {}
    for name in MEASURES:
        without = np.array([value_of(row["without"], name) for row in rows])
        with_it = np.array([value_of(row["with"], name) for row in rows])
        expected[name] = {
            "mean": round(float(without.mean()), 4),
            "worst": round(float(without.min()), 4),
            "lost": round(float((with_it - without).mean()), 4),
        }
    return expected


def _counted(names: np.ndarray, counts: np.ndarray) -> str:
    pairs = zip(names.tolist(), counts.tolist(), strict=True)
    return ", ".join(f"{name} ({count})" for name, count in pairs) or "no source"
