"""The retraining as a Prefect flow: a task per step, the same results as ``deepfake retrain``.

There is no ``from __future__ import annotations`` here: Prefect reads the type of the flow's
parameter when it serves a run, and cannot resolve it from a string.
"""

import flows  # noqa: F401 - before Prefect, which reads the environment at its import

# isort: split

import sys
from collections.abc import Callable
from typing import TypeVar

from prefect import State, flow, get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.context import FlowRunContext
from prefect.states import Completed, Failed

from deepfake_core.errors import CandidateRefused, DeepfakeError
from deepfake_core.events import Facts
from deepfake_core.models.registry import DEFAULT_REGISTRY
from deepfake_core.retraining import retrain as core
from deepfake_core.retraining.config import RetrainConfig
from deepfake_core.retraining.run import RetrainResult
from flows.notices import REFUSED, tell_failed
from flows.training_artifacts import ShownTraining, outcome_of, show_training

REGISTRY = DEFAULT_REGISTRY
T = TypeVar("T")


@task(
    name="retrain step",
    task_run_name="{name}",
    # What is done is in the run's work folder and in the registry: only that counts.
    cache_policy=NO_CACHE,
    persist_result=False,
)
def do_step(name: str, work: Callable[[], T]) -> T:  # noqa: ARG001
    """Do a step; a closure carries data and weights, which Prefect must not copy."""
    return work()


@flow(
    name="retrain",
    flow_run_name="{config.name} from {config.data}",
    persist_result=False,
    on_failure=[tell_failed],
    on_crashed=[tell_failed],
)
def retrain(config: RetrainConfig) -> State[RetrainResult]:
    """Train a new version on labelled folders; it becomes current if it is no worse."""
    logger, progress = get_run_logger(), ShownTraining()

    def notify(event: str, facts: Facts) -> None:
        progress(event, facts)
        if event == "said":
            logger.info(facts["line"])
        elif event in ("retraining", "validated"):
            logger.info("%s: %s", event, ", ".join(f"{k} {v}" for k, v in facts.items()))

    try:
        result = core.retrain(named(config), registry=REGISTRY, notify=notify, step=do_step)
    except DeepfakeError as error:
        message = " ".join(str(error).split())
        logger.error(message)
        return Failed(message=message, data=error)
    show_training(result)
    outcome = outcome_of(result)
    if not result["passed"]:
        return Failed(name=REFUSED, message=outcome, data=CandidateRefused(outcome))
    return Completed(message=outcome, data=result)


def named(config: RetrainConfig) -> RetrainConfig:
    """Name the run after its flow run, so that a retry of that one continues it."""
    context = FlowRunContext.get()
    if config.run_id is not None or context is None or context.flow_run is None:
        return config
    return config.model_copy(update={"run_id": f"flow-{context.flow_run.id}"})


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python flows/retrain.py LABELLED_FOLDER")
    state = retrain(RetrainConfig(data=sys.argv[1]), return_state=True)
    sys.exit(0 if state.is_completed() else 1)
