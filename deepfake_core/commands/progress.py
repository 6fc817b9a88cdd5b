"""Progress on standard error: a bar on a terminal, plain lines otherwise."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, TextIO

from deepfake_core.commands.terminal import show
from deepfake_core.events import Facts

if TYPE_CHECKING:
    from tqdm import tqdm

SECONDS_BETWEEN_LINES = 10.0


class Progress:
    """Shows what `deepfake_core.scanning.scan.scan` tells."""

    def __init__(self, stream: TextIO | None = None) -> None:
        """Write to `stream`, by default standard error."""
        self._stream = stream or sys.stderr
        self._bar: tqdm[None] | None = None
        self._wanted = self._done = self._at_start = 0
        self._began = self._last_line = time.monotonic()

    def __call__(self, event: str, facts: Facts) -> None:
        """Take one event."""
        if event == "planned":
            self._plan(facts)
        elif event == "warned":
            self.line(f"warning: {facts['words']}")
        elif event == "resumed":
            self._resume(facts["done"])
        elif event == "judged":
            self._advance(facts["images"])
        elif event == "published":
            # Where the files are is said once, with the result.
            self.close()

    def line(self, text: str) -> None:
        """Write one line."""
        show(text, self._stream)

    def close(self) -> None:
        """Remove the bar."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def _plan(self, facts: Facts) -> None:
        self._wanted = facts["wanted"]
        self.line(
            f"run {facts['run_id']}: {facts['listed']} listed, {self._wanted} to judge "
            f"in {facts['shards']} shards"
        )

    def _resume(self, done: int) -> None:
        self._done = self._at_start = done
        self._began = time.monotonic()
        if done:
            self.line(f"continued: {done} of {self._wanted} are committed")
        if self._stream.isatty():
            from tqdm import tqdm

            self._bar = tqdm(
                total=self._wanted, initial=done, unit="images", file=self._stream, leave=False
            )

    def _advance(self, images: int) -> None:
        self._done += images
        if self._bar is not None:
            self._bar.update(images)
            return
        now = time.monotonic()
        if now - self._last_line >= SECONDS_BETWEEN_LINES or self._done == self._wanted:
            self._last_line = now
            rate = (self._done - self._at_start) / max(now - self._began, 1e-9)
            self.line(f"judged {self._done} of {self._wanted} ({rate:.1f} images/s)")
