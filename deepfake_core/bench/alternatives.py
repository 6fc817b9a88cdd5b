"""The simpler ways of doing the same, with Keras, in a process of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from types import TracebackType
from typing import IO, cast

from deepfake_core.bench.setting import PartFailed

MAX_SECONDS = 1_200.0


class KerasProcess:
    """A process that has loaded TensorFlow and the same weights, and measures when told to."""

    def __init__(self, bundle_folder: Path, errors: Path) -> None:
        """Start it and wait until the model is built; that time is not measured.

        Args:
            bundle_folder: the bundle whose weights it loads.
            errors: a file for what it writes on standard error.

        Raises:
            PartFailed: it ended, as it does where TensorFlow is not installed.
        """
        self._errors = errors
        command = [sys.executable, "-m", "deepfake_core.bench.keras_process", str(bundle_folder)]
        with errors.open("wb") as stderr:
            self._process = subprocess.Popen(  # noqa: S603 - our own module
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
                env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""},
            )
        self._questions = cast(IO[str], self._process.stdin)
        self._answers = cast(IO[str], self._process.stdout)
        self._limit = threading.Timer(MAX_SECONDS, self._process.kill)
        self._limit.start()
        try:
            self._answer()
        except PartFailed:
            self.__exit__(None, None, None)
            raise

    def __enter__(self) -> KerasProcess:
        """Use as a context manager, so that the process ends."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End the process."""
        self._limit.cancel()
        self._process.kill()
        self._process.communicate()

    def dataset_rate(self, folder: Path) -> float:
        """Images per second of ``image_dataset_from_directory`` and ``predict`` over it."""
        return self._ask("dataset", str(folder))

    def one_by_one_rate(self, paths: list[Path]) -> float:
        """Images per second of opening, resizing and ``predict`` for one image after another."""
        return self._ask("one_by_one", [str(path) for path in paths])

    def _ask(self, what: str, argument: str | list[str]) -> float:
        try:
            print(json.dumps([what, argument]), file=self._questions, flush=True)
        except OSError as error:
            raise PartFailed(f"the process with Keras ended: {self._last_words()}") from error
        return self._answer()

    def _answer(self) -> float:
        line = self._answers.readline()
        if not line:
            raise PartFailed(f"the process with Keras ended: {self._last_words()}")
        return float(line)

    def _last_words(self) -> str:
        self._process.wait()
        lines = self._errors.read_text(errors="replace").strip().splitlines()
        return lines[-1] if lines else f"exit status {self._process.returncode}"
