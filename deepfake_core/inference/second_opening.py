"""The second look that a first one was paired with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from deepfake_core.engines.clip_engine import open_second_look, processor_flags, second_precisions
from deepfake_core.engines.engine import Engine
from deepfake_core.errors import ModelError
from deepfake_core.inference.looks import SecondLook
from deepfake_core.models.bundle import Bundle, Curve, Precision
from deepfake_core.models.pair import Pair
from deepfake_core.models.policy import SecondLookMode
from deepfake_core.models.registry import DEFAULT_REGISTRY
from deepfake_core.models.second_look import SecondBundle, find_second

ADVICE = "make the pair with: deepfake pair {first} --data DIR"


@dataclass(frozen=True, slots=True)
class PairedLook:
    """A second look with how it works together with the first.

    Attributes:
        look: the second look.
        pair: who goes on, and how both logits make one score.
        precision: its arithmetic.
        mode: ``auto``, which sends what the first look cannot clear, or ``all``.
    """

    look: SecondBundle
    pair: Pair
    precision: Precision
    mode: SecondLookMode

    @property
    def curve(self) -> Curve:
        """Calibration of both logits, and thresholds."""
        return self.pair.curve(self.precision)

    def open(self, opened: Callable[[Engine], None] = lambda engine: None) -> SecondLook:
        """What looks; its network is loaded, and `opened` called, when the first face needs it."""

        def load() -> Engine:
            engine = open_second_look(self.look, self.precision)
            opened(engine)
            return engine

        return SecondLook(
            self.look.model_id,
            load,
            line=0.0 if self.mode == "all" else self.pair.line,
            calibration=self.curve.calibration,
        )


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a second look is wanted for.

    Attributes:
        bundle: the first look.
        precision: ``auto``, or an arithmetic for all networks.
        mode: ``auto`` or ``all``.
        finds_faces: whether faces are judged, and not whole pictures.
    """

    bundle: Bundle
    precision: str
    mode: SecondLookMode
    finds_faces: bool


def pair_second(
    wanted: Wanted, registry: Path = DEFAULT_REGISTRY
) -> tuple[PairedLook | None, str | None]:
    """Find the second look of a first one.

    Returns:
        The second look, or None with the reason for people, if there is one.

    Raises:
        ModelError: all faces should be given one and it cannot be had, or it is damaged.
    """
    reason = None
    look = find_second(None, registry) or find_second(None, DEFAULT_REGISTRY)
    pair = look.pair_with(wanted.bundle.digest) if look else None
    first = wanted.bundle.model_id
    if not wanted.finds_faces:
        reason = "whole pictures are judged, and the second look judges faces"
    elif look is None:
        reason = f"there is none in {registry}; install deepfake-verification-second-look"
    elif pair is None:
        advice = ADVICE.format(first=first.partition("+")[0])
        reason = f"{look.model_id} has no pair with {first}; {advice}"
    elif not (names := _precisions(look, pair)):
        made = " and ".join(pair.curves)
        reason = f"{look.model_id} was paired at {made}, which this processor lacks"
    else:
        return PairedLook(look, pair, _precision(names, wanted.precision), wanted.mode), None
    if wanted.mode == "all":
        raise ModelError(f"no second look can be taken: {reason}")
    # Without faces, or in a registry of somebody's own, nothing is missing that could be expected.
    missed = wanted.finds_faces and (look is not None or registry == DEFAULT_REGISTRY)
    return None, f"no second look: {reason}" if missed else None


def _precisions(look: SecondBundle, pair: Pair) -> list[Precision]:
    """Those that it can run at here and was paired at, the fastest first."""
    return [name for name in second_precisions(look, processor_flags()) if name in pair.curves]


def _precision(names: list[Precision], asked: str) -> Precision:
    """The fastest, or what is asked for if it can be had; else the most exact."""
    if asked == "auto":
        return names[0]
    return next((name for name in names if name == asked), names[-1])
