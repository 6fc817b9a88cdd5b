"""What many known images cost: a plan over them, and ``latest.parquet``; with their memory."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypedDict

from deepfake_core.bench.known import SOURCE, Listed, publish_known
from deepfake_core.bench.processes import run_module
from deepfake_core.bench.scan_process import peak_bytes
from deepfake_core.bench.setting import PartFailed, Setting
from deepfake_core.results.layout import LATEST
from deepfake_core.results.store import Results
from deepfake_core.scanning.config import ScanConfig
from deepfake_core.scanning.plan import make_plan
from deepfake_core.storage.local import LocalStorage

STEPS = ("publish", "rebuild", "update", "plan")
NEW_SHARE = 100


class KnownImages(TypedDict):
    """What a step's process is told.

    Attributes:
        known: how many images there are.
        output: folder of the results.
        model: ``name@version``.
        registry: folder of the models.
    """

    known: int
    output: str
    model: str
    registry: str


def state(setting: Setting) -> Iterator[dict[str, float]]:
    """Seconds and peak memory of each step, each in a process of its own."""
    count, description = setting.sizes.known_images, setting.bundle.description
    facts: KnownImages = {
        "known": count,
        "output": str(setting.folder / "known"),
        "model": f"{description.name}@{description.version}",
        "registry": str(setting.registry),
    }
    yield {"known_images": count}
    for step in STEPS:
        setting.tell(f"{step} of {count} known images")
        took = json.loads(run_module("deepfake_core.bench.state", step, json.dumps(facts)))
        yield {f"known_{step}_{name}": value for name, value in took.items()}


def main(step: str, facts: KnownImages) -> None:
    """Do one step and print what it took."""
    steps = {"publish": _publish, "rebuild": _rebuild, "update": _update, "plan": _plan}
    print(json.dumps(steps[step](facts)))


def _publish(facts: KnownImages) -> dict[str, float]:
    """Make the verdicts; the plan tells which configuration they must be of."""
    plan = make_plan(_config(facts), registry=Path(facts["registry"]), source=Listed(1, new=0))
    fingerprint = plan.run.config_fingerprint
    return _timed(lambda: publish_known(_results(facts), facts["known"], fingerprint))


def _rebuild(facts: KnownImages) -> dict[str, float]:
    def rebuild() -> None:
        if _results(facts).rebuild_latest() != facts["known"]:
            raise PartFailed(f"{LATEST} has not one row for each image")

    return _timed(rebuild)


def _update(facts: KnownImages) -> dict[str, float]:
    """Bring in the last night once more."""
    results = _results(facts)
    path = results.published()[-1]
    return _timed(lambda: results.update_latest(path))


def _plan(facts: KnownImages) -> dict[str, float]:
    """Plan a run with one new image in a hundred, and store the plan."""
    new = facts["known"] // NEW_SHARE
    source = Listed(facts["known"], new=new)

    def plan() -> None:
        made = make_plan(_config(facts), registry=Path(facts["registry"]), source=source)
        made.claim()
        if made.wanted.num_rows != new:
            raise PartFailed(f"{made.wanted.num_rows} images would be judged, not {new}")

    return _timed(plan)


def _timed(action: Callable[[], object]) -> dict[str, float]:
    """Seconds, processor seconds, and how far memory rose above what it was at its highest."""
    before, cpu, started = peak_bytes(), time.process_time(), time.perf_counter()
    action()
    return {
        "s": time.perf_counter() - started,
        "cpu_s": time.process_time() - cpu,
        "rise_mb": (peak_bytes() - before) / 1e6,
    }


def _results(facts: KnownImages) -> Results:
    return Results(LocalStorage(Path(facts["output"])))


def _config(facts: KnownImages) -> ScanConfig:
    return ScanConfig(source=SOURCE, output=facts["output"], model=facts["model"])


if __name__ == "__main__":
    main(sys.argv[1], json.loads(sys.argv[2]))
