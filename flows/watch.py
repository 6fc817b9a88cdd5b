"""The watch: whether the nightly run was there and finished by its hour.

There is no ``from __future__ import annotations`` here: Prefect reads the type of the flow's
parameter when it serves a run, and cannot resolve it from a string.
"""

import flows  # noqa: F401 - before Prefect, which reads the environment at its import

# isort: split

import datetime as dt

from prefect import State, flow, get_client
from prefect.client.schemas.filters import (
    DeploymentFilter,
    DeploymentFilterId,
    FlowRunFilter,
    FlowRunFilterExpectedStartTime,
)
from prefect.client.schemas.objects import FlowRun
from prefect.context import FlowRunContext
from prefect.exceptions import ObjectNotFound
from prefect.states import Completed, Failed
from pydantic import BaseModel, ConfigDict, Field

from flows.notices import MISSED, tell


class WatchConfig(BaseModel):
    """What is watched."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    deployment: str = Field(
        "scan/nightly-scan",
        pattern="^[^/]+/[^/]+$",
        description="Deployment whose runs are watched, as FLOW/DEPLOYMENT.",
    )
    hours: float = Field(
        8, gt=0, description="A run that was due within these last hours must have completed."
    )


@flow(name="watch", flow_run_name="watch of {config.deployment}", persist_result=False)
def watch(config: WatchConfig = WatchConfig()) -> State[str]:  # noqa: B008
    """Fail, and tell people, when the nightly run did not start or finish by now."""
    problem = problem_of(runs_due(config, hour_of_this_run()), config.hours)
    if problem is None:
        return Completed(message=f"{config.deployment} completed.", data="")
    message = f"{config.deployment}: {problem}"
    tell(MISSED, {"deployment": config.deployment, "problem": problem})
    return Failed(message=message)


def hour_of_this_run() -> dt.datetime:
    """When this run was due: a watch that is late itself looks at the same night."""
    context = FlowRunContext.get()
    due = context.flow_run.expected_start_time if context and context.flow_run else None
    return due or dt.datetime.now(dt.UTC)


def runs_due(config: WatchConfig, hour: dt.datetime) -> list[FlowRun] | None:
    """The deployment's runs that were due in the hours before; None where it does not exist."""
    due = FlowRunFilterExpectedStartTime(
        after_=hour - dt.timedelta(hours=config.hours), before_=hour
    )
    with get_client(sync_client=True) as client:
        try:
            deployment = client.read_deployment_by_name(config.deployment)
        except ObjectNotFound:
            return None
        return client.read_flow_runs(
            deployment_filter=DeploymentFilter(id=DeploymentFilterId(any_=[deployment.id])),
            flow_run_filter=FlowRunFilter(expected_start_time=due),
        )


def problem_of(runs: list[FlowRun] | None, hours: float) -> str | None:
    """What is wrong with the runs that were due, in words; None if one completed."""
    if runs is None:
        return "there is no such deployment"
    if not runs:
        return f"no run was due within {hours:g} hours; is its schedule paused?"
    if any(run.state is not None and run.state.is_completed() for run in runs):
        return None
    last = max(
        runs, key=lambda run: run.expected_start_time or dt.datetime.min.replace(tzinfo=dt.UTC)
    )
    name, state = last.name, last.state
    if state is None or last.start_time is None:
        return f"run {name} did not start; its state is {last.state_name or 'unknown'}"
    if state.is_final():
        return f"run {name} ended as {state.name}: {state.message or 'no reason is known'}"
    return f"run {name} started and did not finish; its state is {state.name}"
