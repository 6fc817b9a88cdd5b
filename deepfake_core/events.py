"""How a job tells what it does."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypedDict


class TrainingRow(TypedDict, total=False):
    """What is known of a training at a validation: a row of ``history.csv``.

    Attributes:
        step: steps done.
        seconds: spent on them.
        loss: mean over the steps since the last validation.
        learning_rate: of the last step.
        wait_share: of the time since the last validation, in which no batch was ready; 0 to 1.
        accuracy: of the validation images, like the three that follow.
        auc: see `deepfake_core.ranking.auc`.
        precision: of fakes.
        recall: of fakes.
    """

    step: int
    seconds: float
    loss: float
    learning_rate: float
    wait_share: float
    accuracy: float
    auc: float
    precision: float
    recall: float


class Facts(TrainingRow, total=False):
    """What a step of a run has to tell; which of it is there depends on the step.

    Attributes:
        run_id: the run.
        words: a warning.
        line: a sentence for people.
        name: what the step is called.
        listed: images of the source.
        wanted: those of them that are judged.
        images: those that were judged now.
        done: those that were judged before.
        shard: the one that was committed.
        shards: how many there are.
        timings: seconds of each stage, summed over all threads.
        verdicts: where the verdicts are; likewise ``latest`` and ``report``.
        work: folder of a run's state.
        finished: whether the run was finished before.
        steps: steps of a training in all.
        stopped_early: whether it ended before, because it got no better.
        best_auc: the best that it reached.
    """

    run_id: str
    words: str
    line: str
    name: str
    listed: int
    wanted: int
    images: int
    done: int
    shard: int
    shards: int
    timings: dict[str, float]
    verdicts: str
    latest: str
    report: str
    work: str
    finished: bool
    steps: int
    stopped_early: bool
    best_auc: float


# Told of each step of a run by its name and of what there is to count.
Notify = Callable[[str, Facts], None]
# Told of each step in words.
Say = Callable[[str], None]


def silent(*told: object) -> None:
    """Tell nobody: the `Notify` and the `Say` of a job that nobody listens to."""
