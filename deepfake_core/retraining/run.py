"""One retraining on disk: where its state and its report are, and whether it goes on."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypedDict, cast

from deepfake_core.errors import ModelError, OutputError, PlanMismatch, SourceError, UsageError
from deepfake_core.evaluation.score_cache import ScoreCache
from deepfake_core.events import Notify
from deepfake_core.files import write_whole
from deepfake_core.models.figures import Figures
from deepfake_core.models.registry import find_model
from deepfake_core.release.gate_feedback import check_output
from deepfake_core.results.run_ids import new_run_id
from deepfake_core.retraining.config import RetrainConfig
from deepfake_core.retraining.occupancy import claimed
from deepfake_core.training.initial_weights import NO_IMAGENET, SUFFIXES

RUN_FILE, RESULT_FILE = "run.json", "result.json"
# What may differ when a run goes on: it changes nothing of what was computed.
FREE = {"output", "work", "run_id", "promote", "why"}


class Outcome(TypedDict):
    """What the steps of a retraining gave.

    Attributes:
        model_id: the new version.
        passed: whether it passed the gate.
        promoted: whether it is current now.
        reasons: why it was refused, one sentence each.
        notes: what the gate could not test, and why.
        figures: what was measured, by data set.
        report: the evaluation's report.
    """

    model_id: str
    passed: bool
    promoted: bool
    reasons: list[str]
    notes: list[str]
    figures: dict[str, Figures]
    report: str


class RetrainResult(Outcome):
    """A finished retraining, as its ``result.json`` says it.

    Attributes:
        run_id: its name.
        data_report: the report of the data checks.
        folder: what people read.
        work: its state.
    """

    run_id: str
    data_report: str
    folder: str
    work: str


class _Stored(TypedDict):
    """What a run's state says of it."""

    run_id: str
    settings: dict[str, object]


@dataclass(frozen=True, slots=True)
class Run:
    """A retraining.

    Attributes:
        config: its settings.
        run_id: its name.
        work: folder of its state.
        report: folder of what people read.
        registry: where the version goes.
        notify: told of what happens.
        result: what it gave, where it is finished.
        memory: what its candidate scored, so that no step judges an image again.
    """

    config: RetrainConfig
    run_id: str
    work: Path
    report: Path
    registry: Path
    notify: Notify
    result: RetrainResult | None = None
    memory: ScoreCache = field(default_factory=ScoreCache)

    @property
    def data(self) -> Path:
        """The labelled folder."""
        return Path(self.config.data)

    def say(self, line: str) -> None:
        """Tell of a step in words."""
        self.notify("said", {"line": line})

    def fresh(self, name: str) -> Path:
        """The path of a folder of the state, of which nothing is left."""
        shutil.rmtree(self.work / name, ignore_errors=True)
        return self.work / name

    def keep(self, path: Path) -> None:
        """Copy a file of the state to the report, where there is one."""
        if path.is_file():
            shutil.copyfile(path, self.report / path.name)

    def write(self, name: str, content: Mapping[str, object]) -> None:
        """Write a JSON file of the report so that it appears whole."""
        _write(self.report / name, content)

    def finish(self, outcome: Outcome) -> RetrainResult:
        """Write the result: from then on the run is finished."""
        complete: RetrainResult = {
            "run_id": self.run_id,
            **outcome,
            "data_report": str(self.report / "data" / "dataset.html"),
            "folder": str(self.report),
            "work": str(self.work),
        }
        self.write(RESULT_FILE, complete)
        _write(self.work / RESULT_FILE, complete)
        self.fresh("candidate")  # the registry has it
        return complete


@contextlib.contextmanager
def begin(config: RetrainConfig, *, registry: Path, notify: Notify) -> Iterator[Run]:
    """Start a run, or take up the one whose state is in its work folder.

    Raises:
        UsageError: a path or a model is missing, or the output is not a local folder.
        PlanMismatch: the state is that of a run with other settings.
        RunTaken: another process is at it.
        OutputError: something cannot be written; raised for the steps within, too.
    """
    _check_paths(config, registry)
    run_id = config.run_id or new_run_id(dt.datetime.now(dt.UTC))
    home = Path(config.output) / "retrain"
    work = Path(config.work) if config.work else home / run_id / "work"
    settings = config.model_dump(mode="json", exclude=FREE)
    settings["data"] = str(Path(config.data).absolute())
    if config.reading.plain:
        # The state of a run from before there was such a setting goes on.
        del settings["reading"]
    try:
        work.mkdir(parents=True, exist_ok=True)
        with claimed(work):
            stored = cast(_Stored | None, _read(work / RUN_FILE))
            if stored is None:
                stored = {"run_id": run_id, "settings": settings}
                _write(work / RUN_FILE, stored)
            _refuse_other(stored["settings"], settings, work)
            run_id = stored["run_id"]
            report = home / run_id
            report.mkdir(parents=True, exist_ok=True)
            result = cast(RetrainResult | None, _read(work / RESULT_FILE))
            notify(
                "retraining",
                {
                    "run_id": run_id,
                    "work": str(work),
                    "report": str(report),
                    "finished": result is not None,
                },
            )
            yield Run(config, run_id, work, report, registry, notify, result)
    except OSError as error:
        raise OutputError(
            f"the run stopped: {error.strerror or error}: {error.filename or work}; put that "
            f"right (such as by making room), and start it again with --work {work}"
        ) from error


def _check_paths(config: RetrainConfig, registry: Path) -> None:
    if "://" in config.output:
        raise UsageError(f"retraining needs a local folder as output, found {config.output}")
    if not Path(config.data).is_dir():
        raise SourceError(f"there is no folder {config.data}; name a labelled folder")
    if config.unlabelled and not Path(config.unlabelled).is_dir():
        raise SourceError(f"there is no folder {config.unlabelled} of unlabelled images")
    check_output(config.feedback)
    start = config.recipe.training.start
    for path in (*config.teachers, *([start] if start.endswith(SUFFIXES) else [])):
        if not Path(path).is_file():
            raise ModelError(f"there is no weights file {path}; name an existing one")
    if start not in ("none", "imagenet") and not start.endswith(SUFFIXES):
        find_model(start, registry)
    if start == "imagenet" and config.recipe.training.architecture.kind != "resnet50":
        raise ModelError(NO_IMAGENET)


def _refuse_other(stored: Mapping[str, object], asked: Mapping[str, object], work: Path) -> None:
    for name, value in asked.items():
        if stored.get(name) != value:
            raise PlanMismatch(
                f"{work} holds the state of a run with another {name}: "
                f"{_differ(stored, asked, name)}; continue it with the same settings, or choose "
                "another --work"
            )


def _differ(stored: Mapping[str, object], asked: Mapping[str, object], name: str) -> str:
    """The first setting that differs, in words; of a recipe the field inside it."""
    before, now = stored.get(name), asked[name]
    while isinstance(before, dict) and isinstance(now, dict):
        name = next(key for key in now if before.get(key) != now[key])
        before, now = before.get(name), now[name]
    return f"{name} was {before!r}, is {now!r}"


def _read(path: Path) -> dict[str, object] | None:
    if not path.is_file():
        return None
    content: dict[str, object] = json.loads(path.read_bytes())
    return content


def _write(path: Path, content: Mapping[str, object]) -> None:
    write_whole(path, (json.dumps(content, indent=1, default=str) + "\n").encode())
