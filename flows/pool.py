"""The work pool: who may run at the same time, and what a stopped worker left behind.

``make server`` makes it. On a server of your own, with PREFECT_API_URL set, do it with
``python -m flows.pool``, before its worker starts.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from deepfake_core.errors import DeepfakeError
from flows.automations import address_of_api
from flows.login import login_for

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient

# Scans and retrainings, each of which uses all cores, share the pool's first queue; what only
# looks, such as the watch, has its own, so that it does not wait for the scan it looks at.
POOL, HEAVY = "scans", "default"
AT_ONCE = 1


# A run is a process of the worker, started as the worker starts it: nobody who can start a run
# can also choose its command, its folder or its variables.
LOCKED = {
    "job_configuration": {"stream_output": True},
    "variables": {"type": "object", "properties": {}, "additionalProperties": False},
}


def open_pool(api: str, *, login: str | None = None) -> list[str]:
    """Make the pool with its queues, and end runs that no worker runs any more.

    A run whose worker was killed stays "running" for ever, and would keep its place in the
    queue for ever. Call this before a worker starts, when no other serves the pool: a second
    server that shares the database (``PREFECT_HOME``) would end the runs of the first.

    Args:
        api: the address of the server's API.
        login: what it asks for, USER:PASSWORD.

    Returns:
        The names of the runs that were ended.
    """
    # Imported here: Prefect reads the environment when it is imported, and takes seconds.
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.actions import WorkPoolCreate, WorkPoolUpdate
    from prefect.exceptions import ObjectAlreadyExists

    with SyncPrefectClient(api, auth_string=login) as client:
        try:
            client.create_work_pool(
                WorkPoolCreate(name=POOL, type="process", base_job_template=LOCKED)
            )
        except ObjectAlreadyExists:
            client.update_work_pool(POOL, WorkPoolUpdate(base_job_template=LOCKED))
        queue = client.read_work_queue_by_name(HEAVY, work_pool_name=POOL)
        client.update_work_queue(queue.id, concurrency_limit=AT_ONCE)
        return end_lost_runs(client)


def end_lost_runs(client: SyncPrefectClient) -> list[str]:
    """Mark the pool's runs that are under way as crashed; returns their names."""
    from prefect.client.schemas.filters import (
        FlowRunFilter,
        FlowRunFilterState,
        FlowRunFilterStateType,
        WorkPoolFilter,
        WorkPoolFilterName,
    )
    from prefect.client.schemas.objects import StateType
    from prefect.states import Crashed

    under_way = [StateType.RUNNING, StateType.PENDING, StateType.CANCELLING]
    runs = client.read_flow_runs(
        work_pool_filter=WorkPoolFilter(name=WorkPoolFilterName(any_=[POOL])),
        flow_run_filter=FlowRunFilter(
            state=FlowRunFilterState(type=FlowRunFilterStateType(any_=under_way))
        ),
    )
    message = "Its worker stopped. Retry it: it goes on where it was."
    for run in runs:
        client.set_flow_run_state(run.id, Crashed(message=message), force=True)
    return [run.name for run in runs]


def main() -> int:
    """Make the pool on the server that PREFECT_API_URL names."""
    try:
        api = address_of_api()
        lost = open_pool(api, login=login_for(api))
    except DeepfakeError as error:
        print(error, file=sys.stderr)
        return 2
    print(f"{POOL}: ready", *(f"{name}: marked as crashed" for name in lost), sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
