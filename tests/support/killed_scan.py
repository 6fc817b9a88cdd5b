"""Starts scans as processes that end themselves at a named point; a program of ``test_kill.py``.

It loads the libraries once and forks for each order, because loading them takes longer than the
scan. An order is a line of JSON on standard input; the process's id and, when it has ended, its
exit status (negative for a signal) are lines on standard output. An order has ``config`` and
``registry`` of the scan, and where to end it: ``event`` and ``count`` (the count-th time that the
scan tells of the event), or ``put``, ``count`` and ``moment`` (``before`` or ``after`` what
makes a file of that name visible). With ``pause_seconds`` every event takes that much longer.
"""

import json
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import deepfake_core.engines.libraries
import deepfake_core.engines.openvino_graph
import deepfake_core.reporting.report
import deepfake_core.reporting.summary  # noqa: F401
from deepfake_core import files
from deepfake_core.scanning.config import ScanConfig
from deepfake_core.scanning.scan import scan


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def kill_in_put(name: str, count: int, moment: str) -> None:
    """End the process around the count-th time that a file of that name becomes visible."""
    replace, create, left = files.replace, files.create, count

    def killing(really: Callable[[Path, Path], bool]) -> Callable[[Path, Path], bool]:
        def shown(file: Path, final: Path) -> bool:
            nonlocal left
            left -= final.name == name
            if left == 0 and moment == "before":
                die()
            done = really(file, final)
            if left == 0:
                die()
            return done

        return shown

    files.replace, files.create = killing(replace), killing(create)


def run(order: dict) -> None:
    left = order.get("count", 1)
    if "put" in order:
        kill_in_put(order["put"], left, order["moment"])

    def notify(event: str, facts: dict) -> None:
        nonlocal left
        time.sleep(order.get("pause_seconds", 0))
        if event == order.get("event"):
            left -= 1
            if left == 0:
                die()

    scan(ScanConfig(**order["config"]), notify=notify, registry=Path(order["registry"]))


def serve() -> None:
    """Fork for each order."""
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            run(json.loads(line))
            os._exit(0)
        print(child, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


if __name__ == "__main__":
    serve()
