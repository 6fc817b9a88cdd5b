"""A retraining's progress on standard error: a bar on a terminal, plain lines otherwise."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, TextIO

from deepfake_core.commands.terminal import resumed, show
from deepfake_core.events import Facts, TrainingRow

if TYPE_CHECKING:
    from tqdm import tqdm

SECONDS_BETWEEN_LINES = 30.0


class RetrainProgress:
    """Shows what `deepfake_core.retraining.retrain.retrain` and the training in it tell."""

    def __init__(self, stream: TextIO | None = None, *, words: Sequence[str] = ()) -> None:
        """Write to `stream`, by default standard error; `words` are those of the command."""
        self._words = words
        self.resume = ""
        self.stream = stream or sys.stderr
        self._bar: tqdm[None] | None = None
        self._last_line = time.monotonic()

    def __call__(self, event: str, facts: Facts) -> None:
        """Take one event."""
        if event == "retraining":
            self.resume = resumed(self._words, "--work", facts["work"])
            if not facts["finished"]:
                self._line(f"run {facts['run_id']}; to go on after a stop: {self.resume}")
        elif event == "step":
            self._line(f"{facts['name']} …")
        elif event == "said":
            self._line(facts["line"])
        elif event == "started":
            self._start(facts)
        elif event == "trained":
            self._advance(facts)
        elif event == "validated":
            self._line(validated_line(facts))
        elif event == "ended":
            self.close()
            early = ", early: it got no better" if facts["stopped_early"] else ""
            self._line(f"training ended at step {facts['step']} of {facts['steps']}{early}")

    def close(self) -> None:
        """Remove the bar."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def _start(self, facts: Facts) -> None:
        goes_on = f", going on from step {facts['step']}" if facts["step"] else ""
        self._line(f"training for {facts['steps']} steps{goes_on}")
        if self.stream.isatty():
            from tqdm import tqdm

            self._bar = tqdm(
                total=facts["steps"],
                initial=facts["step"],
                unit="steps",
                file=self.stream,
                leave=False,
            )

    def _advance(self, facts: Facts) -> None:
        if self._bar is not None:
            self._bar.set_postfix_str(f"loss {facts['loss']:.4f}", refresh=False)
            self._bar.update()
        elif time.monotonic() - self._last_line >= SECONDS_BETWEEN_LINES:
            self._line(f"step {facts['step']} of {facts['steps']}: loss {facts['loss']:.4f}")

    def _line(self, text: str) -> None:
        self._last_line = time.monotonic()
        if self._bar is not None:
            self._bar.write(text, file=self.stream)
        else:
            show(text, self.stream)


def validated_line(facts: TrainingRow) -> str:
    """A row of ``history.csv`` as a line for people."""
    shares = ((name, facts.get(name)) for name in ("accuracy", "auc", "precision", "recall"))
    measured = "".join(f", {name} {share:.4f}" for name, share in shares if share is not None)
    return f"step {facts['step']}: loss {facts['loss']:.4f}{measured}"
