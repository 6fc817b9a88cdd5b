"""Bring your own detector: from an ONNX file to a version in the registry."""

from __future__ import annotations

import contextlib
import hashlib
import re
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from deepfake_core.datasets.labelled import Labelled, is_fake, read_pixels
from deepfake_core.datasets.splits import split_labelled, thin
from deepfake_core.engines.engine import OpenVinoEngine
from deepfake_core.engines.onnx_graph import foreign_graph, graph_size
from deepfake_core.errors import ForeignModelError, OutputError, SourceError, UsageError
from deepfake_core.events import Say, silent
from deepfake_core.models.bundle import Bundle, Preprocessing
from deepfake_core.models.onnx_spec import OnnxSpec
from deepfake_core.models.registry import (
    DEFAULT_REGISTRY,
    find_model,
    next_version,
    promote,
    register,
)
from deepfake_core.ranking import auc
from deepfake_core.records import Float32Array, UInt8Array
from deepfake_core.release.candidate import ForeignNetwork, Material, make_candidate
from deepfake_core.release.gate import Facts, GateResult, examine
from deepfake_core.release.gate_config import GateConfig
from deepfake_core.release.onnx_trial import try_network
from deepfake_core.release.precision_trials import score_all

if TYPE_CHECKING:
    from deepfake_core.engines.libraries import ov

CHECK_IMAGES = 200
# By chance 200 faces of each class leave 0.42 to 0.58; below is a network that knows, reversed.
REVERSED_AUC = 0.4
LEAST_SPREAD = 1e-4
# As a score may differ with its batch at fp32 (in logits, relative to their spread).
BATCH_TOLERANCE = 1e-3
NAME = re.compile(r"^[a-z0-9][a-z0-9_-]{0,63}$")


@dataclass(frozen=True, slots=True)
class Foreign:
    """What is imported, and under which name.

    Attributes:
        path: the ONNX file.
        spec: what it does not say of itself.
        name: of the model in the registry.
        trained_on: the images it comes from and their terms, in words.
        limits: what it must not be used for, in words.
        one_class: sets of the data that are reported class by class, see `Material`.
        int8: whether ways to int8 are tried.
    """

    path: Path
    spec: OnnxSpec
    name: str
    trained_on: str = "not known: it was imported"
    limits: tuple[str, ...] = ("what its maker says of it holds too; it was trained elsewhere",)
    one_class: tuple[str, ...] = ()
    int8: bool = True


def import_model(
    foreign: Foreign,
    data: Path,
    *,
    registry: Path = DEFAULT_REGISTRY,
    gate: GateConfig = GateConfig(),  # noqa: B008 - it is frozen
    say: Say = silent,
) -> tuple[Bundle, GateResult]:
    """Calibrate, evaluate, register and gate a network; it becomes current if it passes.

    Args:
        foreign: the network.
        data: labelled folder; see `Material.data`.
        registry: where the version goes.
        gate: floors and margins.
        say: told of the steps.

    Returns:
        The registered bundle and what the gate found; where it did not pass, the version is in
        the registry and not current.

    Raises:
        UsageError: the name is none.
        ForeignModelError: the file is not a classifier that runs here, or its scores say nothing.
        SourceError: the data cannot be used.
    """
    if not NAME.match(foreign.name):
        raise UsageError(
            f"{foreign.name!r} names no model; use small letters, digits, - and _, at most 64"
        )
    try_network(foreign.path, foreign.spec)
    graph = foreign_graph(foreign.path, foreign.spec)
    size = graph_size(graph)
    split = split_labelled(data, foreign.one_class)
    audited = _audit(data, named=any(image.set_name == "valid" for image in split.report))
    say(f"checking {foreign.path.name}: {size} x {size} pixels")
    check_scores(OpenVinoEngine(graph, size=size, precision="fp32"), split.chosen, size=size)
    material = _material(foreign, graph, data, size=size)
    version = next_version(foreign.name, registry)
    with _temporary_folder() as folder:
        made = make_candidate(material, folder, name=foreign.name, version=version, say=say)
        bundle = register(made, why=f"imported {foreign.path.name}", registry=registry)
    say("going through the gate")
    facts = Facts(audited, memory=material.memory)
    result = examine(bundle, split.report, config=gate, facts=facts, registry=registry)
    if result.passed:
        promote(foreign.name, version, why="imported; it passed the gate", registry=registry)
    return find_model(f"{foreign.name}@{version}", registry), result


def _material(foreign: Foreign, graph: ov.Model, data: Path, *, size: int) -> Material:
    """What a bundle is made from."""
    return Material(
        preprocessing=Preprocessing(size=size, mean=0.0, scale=1.0, colour="srgb"),
        data=data,
        training={"imported": foreign.path.name, "sha256": _digest(foreign.path)},
        trained_on=foreign.trained_on,
        limits=foreign.limits,
        one_class=foreign.one_class,
        int8=foreign.int8,
        foreign=ForeignNetwork(graph, foreign.spec.model_copy(update={"size": size})),
    )


@contextlib.contextmanager
def _temporary_folder() -> Iterator[Path]:
    """A folder for the bundle until it is registered; what cannot be written there is told so."""
    try:
        with tempfile.TemporaryDirectory(prefix="deepfake-") as folder:
            yield Path(folder)
    except OSError as error:
        raise OutputError(
            f"the import stopped: {error.strerror or error}: {error.filename or 'a temporary file'}"
            "; put that right, such as by making room or naming another folder in TMPDIR, and "
            "start it again; the registry did not change"
        ) from error


def check_scores(engine: OpenVinoEngine, images: Sequence[Labelled], *, size: int) -> None:
    """Refuse a network whose scores on labelled images show that it was wrapped wrongly.

    Raises:
        ForeignModelError: scores are not numbers, constant, reversed, or differ with the batch.
    """
    fakes, reals = ([image for image in images if image.fake is kind] for kind in (True, False))
    some = [*thin(fakes, CHECK_IMAGES), *thin(reals, CHECK_IMAGES)]
    pixels = read_pixels(some, size=size)
    logits = score_all(engine, pixels)
    bad = int((~np.isfinite(logits)).sum())
    if bad:
        raise ForeignModelError(
            f"the network gives no finite number for {bad} of {len(some)} images; check --mean, "
            "--scale and --output-kind"
        )
    if np.ptp(logits) < LEAST_SPREAD:
        raise ForeignModelError(
            f"the network gives the same score, {logits[0]:.4g}, to all of {len(some)} images; "
            "check --mean, --scale and --layout, or whether its weights were loaded"
        )
    reached = auc(logits, is_fake(some))
    if reached < REVERSED_AUC:
        raise ForeignModelError(
            f"the scores are reversed: AUC {reached:.3f} on {len(some)} images, where 1 is perfect "
            "and 0.5 a coin. Name the other --fake-output, or with one output the other --positive"
        )
    _refuse_neighbours(engine, pixels, logits)


def _refuse_neighbours(engine: OpenVinoEngine, pixels: UInt8Array, logits: Float32Array) -> None:
    """A score must not depend on the images that share its batch."""
    again = score_all(engine, pixels[::-1])[::-1]
    if np.abs(again - logits).max() > BATCH_TOLERANCE * max(1.0, float(np.std(logits))):
        raise ForeignModelError(
            "a score changes with the other images in its batch; export the network in "
            "evaluation mode, with the stored statistics of batch normalisation"
        )


def _audit(data: Path, *, named: bool) -> bool:
    """Whether the images it is judged by pass the audit for shortcuts."""
    from deepfake_core.datasets.checks.inspection import inspect

    inspection = inspect(data, within="valid" if named else "")
    if inspection.problems:
        raise SourceError(f"{data}: " + "; ".join(inspection.problems))
    return inspection.shortcut_passed


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
