"""Try the faster precisions of a network, and keep those that say what fp32 says."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from deepfake_core.engines.engine import OpenVinoEngine, processor_precisions
from deepfake_core.engines.openvino_graph import save_graph
from deepfake_core.errors import ModelError
from deepfake_core.events import Say
from deepfake_core.models.bundle import INT8_FILE, Curve, Precision
from deepfake_core.models.decision import calibrate
from deepfake_core.models.qualification import PrecisionRecord, Qualification
from deepfake_core.records import Float32Array, UInt8Array
from deepfake_core.release.bf16 import emulate_bf16
from deepfake_core.release.curves import Known, fit_curve
from deepfake_core.release.precision_agreement import Answers, Truth, agreement
from deepfake_core.release.quantisation import WAYS, quantise

if TYPE_CHECKING:
    from deepfake_core.engines.libraries import ov

BATCH_SIZES = (1, 2, 7, 16, 33, 64)
# A promise has room above what was measured once: twice the value, and at least these.
LEAST_TOLERANCE: dict[Precision, float] = {"fp32": 1e-4, "bf16": 2e-3, "int8": 1e-3}


@dataclass(frozen=True, slots=True)
class Faces:
    """What a network is shown, and what is known of it.

    Attributes:
        pixels: uint8[N, size, size, 3].
        known: of the same faces.
    """

    pixels: UInt8Array
    known: Known


@dataclass(frozen=True, slots=True)
class Trial:
    """What precisions are compared on.

    Attributes:
        curve: of fp32.
        chosen: faces that curves are fitted on.
        asked: faces that answers are compared on, none of them among the chosen.
        examples: uint8[K, size, size, 3] of training images, for the ranges of int8.
    """

    curve: Curve
    chosen: Faces
    asked: Faces
    examples: UInt8Array


@dataclass(slots=True)
class Outcome:
    """The precisions that qualified, their curves and tolerances, and the record of all trials."""

    precisions: tuple[Precision, ...]
    tolerances: dict[Precision, float]
    record: Qualification
    curves: dict[Precision, Curve] = field(default_factory=dict)


def score_all(engine: OpenVinoEngine, pixels: UInt8Array) -> Float32Array:
    """Score many images on all lanes: float32[N]."""
    parts = [pixels[at : at + 64] for at in range(0, len(pixels), 64)]
    with ThreadPoolExecutor(engine.lanes) as lanes:
        return np.concatenate([np.empty(0, np.float32), *lanes.map(engine.logits, parts)])


def qualify(
    trial: Trial,
    graph: ov.Model,
    folder: Path,
    say: Say,
    *,
    int8: bool = True,
) -> Outcome:
    """Compare bf16 and ways to int8 with fp32, up to the first int8 that qualifies; store it.

    Without `int8` none of its ways is tried: each takes a minute or more.

    Where the processor has no bf16 its rounding is emulated, and the record says so.
    """
    exact = OpenVinoEngine(graph.clone(), size=trial.asked.pixels.shape[1], precision="fp32")
    reference = _answers(score_all(exact, trial.asked.pixels), trial, trial.curve)
    emulated = "bf16" not in processor_precisions()
    bf16 = emulate_bf16(graph) if emulated else graph.clone()
    outcome = Outcome(("fp32",), {"fp32": LEAST_TOLERANCE["fp32"]}, {"int8": {}})
    tried = _try(trial, reference, bf16, "bf16", emulated=emulated)
    outcome.record["bf16"] = {"emulated": emulated, **tried.record}
    say(f"bf16: {tried.words}")
    if tried.qualified:
        _admit(outcome, "bf16", trial, tried)
    for way, options in WAYS.items() if int8 else ():
        model = quantise(graph, trial.examples, **options)
        tried = _try(trial, reference, model, "int8")
        say(f"int8, {way}: {tried.words}")
        outcome.record["int8"][way] = {**tried.record, "shipped": tried.qualified}
        if tried.qualified:
            save_graph(model, folder / INT8_FILE)
            _admit(outcome, "int8", trial, tried)
            break
    return outcome


@dataclass(frozen=True, slots=True)
class _Tried:
    """A precision that was tried: its engine, its own curve, and what came of it."""

    engine: OpenVinoEngine
    curve: Curve
    record: PrecisionRecord

    @property
    def qualified(self) -> bool:
        return self.record["qualified"]

    @property
    def words(self) -> str:
        outcome = "qualified" if self.qualified else "; ".join(self.record["reasons"])
        counts = f"{self.record['changed']} of {self.record['faces']} labels change"
        return f"{outcome} ({counts}, {self.record['flips']} flip)"


def _answers(logits: Float32Array, trial: Trial, curve: Curve) -> Answers:
    return Answers(calibrate(logits, curve.calibration, trial.asked.known.sizes), curve.thresholds)


def _try(
    trial: Trial,
    reference: Answers,
    model: ov.Model,
    precision: Precision,
    *,
    emulated: bool = False,
) -> _Tried:
    """Fit a precision's own curve, and compare its answers with those of fp32."""
    arithmetic: Precision = "fp32" if emulated else precision
    engine = OpenVinoEngine(model, size=trial.asked.pixels.shape[1], precision=arithmetic)
    try:
        own = fit_curve(score_all(engine, trial.chosen.pixels), trial.chosen.known)
    except ModelError:
        # A network that rounding has ruined: its answers with the usual curve say so.
        own = trial.curve
    # A calibrated score means the same at every precision, and so do the thresholds. Chosen
    # for each they hang on the few faces at the ends of the scores: rounding that moved hardly a
    # score then changed 6 % of the labels.
    curve = Curve(calibration=own.calibration, thresholds=trial.curve.thresholds)
    answers = _answers(score_all(engine, trial.asked.pixels), trial, curve)
    known = trial.asked.known
    truth = Truth(known.fake, np.ones(len(known.fake), bool), known.groups)
    return _Tried(engine, curve, agreement(reference, answers, truth, precision).as_json())


def _admit(outcome: Outcome, name: Precision, trial: Trial, tried: _Tried) -> None:
    """List a precision as qualified, with twice its largest difference over batch sizes."""
    some, known = trial.asked.pixels[: BATCH_SIZES[-1]], trial.asked.known
    scores = []
    for size in BATCH_SIZES:
        parts = [tried.engine.logits(some[at : at + size]) for at in range(0, len(some), size)]
        logits = np.concatenate(parts)
        scores.append(calibrate(logits, tried.curve.calibration, known.sizes[: len(some)]))
    measured = float(np.ptp(np.stack(scores), axis=0).max())
    outcome.tolerances[name] = max(LEAST_TOLERANCE[name], round(2 * measured, 6))
    outcome.precisions = (*outcome.precisions, name)
    outcome.curves[name] = tried.curve
