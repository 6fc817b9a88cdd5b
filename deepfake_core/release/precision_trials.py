"""Try the faster precisions of a network, and keep those that are as good as fp32."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from deepfake_core.engines.engine import OpenVinoEngine, processor_precisions
from deepfake_core.engines.openvino_graph import save_graph
from deepfake_core.models.bundle import INT8_FILE, Precision
from deepfake_core.models.decision import Calibration, Thresholds, calibrate
from deepfake_core.records import Float32Array, Json, UInt8Array
from deepfake_core.release.bf16 import emulate_bf16
from deepfake_core.release.precision_comparison import Reference, compare_precision
from deepfake_core.release.quantisation import WAYS, quantise

if TYPE_CHECKING:
    from deepfake_core.engines.libraries import ov

BATCH_SIZES = (1, 2, 7, 16, 33, 64)
# A promise has room above what was measured once: twice the value, and at least these.
LEAST_TOLERANCE: dict[Precision, float] = {"fp32": 1e-4, "bf16": 2e-3, "int8": 1e-3}


@dataclass(slots=True)
class Trial:
    """The images and settings that precisions are compared by.

    Attributes:
        reference: the fp32 side.
        pixels: uint8[N, size, size, 3], the images of `reference.logits`.
        more_pixels: uint8[M, size, size, 3], the images of `reference.more`.
        examples: uint8[K, size, size, 3] of training images, for the ranges of int8.
        calibration: of the bundle.
        thresholds: of the bundle.
    """

    reference: Reference
    pixels: UInt8Array
    more_pixels: UInt8Array
    examples: UInt8Array
    calibration: Calibration
    thresholds: Thresholds


@dataclass(slots=True)
class Outcome:
    """The precisions that qualified, their tolerances, and the record of all trials."""

    precisions: tuple[Precision, ...]
    tolerances: dict[Precision, float]
    record: Json


def score_all(engine: OpenVinoEngine, pixels: UInt8Array) -> Float32Array:
    """Score many images on all lanes: float32[N]."""
    parts = [pixels[at : at + 64] for at in range(0, len(pixels), 64)]
    with ThreadPoolExecutor(engine.lanes) as lanes:
        return np.concatenate([np.empty(0, np.float32), *lanes.map(engine.logits, parts)])


def qualify(
    trial: Trial,
    graph: ov.Model,
    folder: Path,
    say: Callable[[str], None],
    *,
    int8: bool = True,
) -> Outcome:
    """Compare bf16 and ways to int8 with fp32, up to the first int8 that qualifies; store it.

    Without `int8` none of its ways is tried: each takes a minute or more.

    Where the processor has no bf16 its rounding is emulated, and the record says so.
    """
    emulated = "bf16" not in processor_precisions()
    bf16 = emulate_bf16(graph) if emulated else graph
    outcome = Outcome(("fp32",), {"fp32": LEAST_TOLERANCE["fp32"]}, {"int8": {}})
    found, engine = _try(trial, bf16, "fp32" if emulated else "bf16")
    outcome.record["bf16"] = {"emulated": emulated, **found}
    say(f"bf16: {_words(found)}")
    if found["qualified"]:
        _admit(outcome, "bf16", trial, engine)
    for way, options in WAYS.items() if int8 else ():
        model = quantise(graph, trial.examples, **options)
        found, engine = _try(trial, model, "int8")
        say(f"int8, {way}: {_words(found)}")
        outcome.record["int8"][way] = {**found, "shipped": False}
        if found["qualified"]:
            outcome.record["int8"][way]["shipped"] = True
            save_graph(model, folder / INT8_FILE)
            _admit(outcome, "int8", trial, engine)
            break
    return outcome


def _try(trial: Trial, model: ov.Model, precision: Precision) -> tuple[Json, OpenVinoEngine]:
    engine = OpenVinoEngine(model, size=trial.pixels.shape[1], precision=precision)
    logits, more = score_all(engine, trial.pixels), score_all(engine, trial.more_pixels)
    found = compare_precision(trial.reference, logits, more, trial.calibration, trial.thresholds)
    return found, engine


def _words(found: Json) -> str:
    outcome = "qualified" if found["qualified"] else "not qualified"
    return (
        f"{outcome}; {found['flips']} of {found['images_for_flips']} images flip, balanced "
        f"accuracy falls by {found['balanced_accuracy_loss']:.4f}"
    )


def _admit(outcome: Outcome, name: Precision, trial: Trial, engine: OpenVinoEngine) -> None:
    """List a precision as qualified, with twice its largest difference over batch sizes."""
    some = trial.pixels[: BATCH_SIZES[-1]]
    scores = []
    for size in BATCH_SIZES:
        parts = [engine.logits(some[at : at + size]) for at in range(0, len(some), size)]
        scores.append(calibrate(np.concatenate(parts), trial.calibration))
    measured = float(np.ptp(np.stack(scores), axis=0).max())
    outcome.tolerances[name] = max(LEAST_TOLERANCE[name], round(2 * measured, 6))
    outcome.precisions = (*outcome.precisions, name)
