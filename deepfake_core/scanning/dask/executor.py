"""A Dask cluster as the place where shards are judged."""

# Dask's own functions have no types yet.
# mypy: allow-untyped-calls

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from deepfake_core.errors import ClusterError
from deepfake_core.scanning.dask.remote_shards import WORKERLESS_SECONDS, ClusterShards, session_of
from deepfake_core.scanning.executor import Executor, Work, in_process
from deepfake_core.scanning.plan import Plan

if TYPE_CHECKING:
    from distributed import Client, LocalCluster

LOCAL = re.compile(r"local(:(?P<count>[1-9]\d*))?")
ADDRESS = re.compile(r"(tcp|tls|ws|wss)://.+:\d+")
CONNECT_SECONDS = 5


@contextmanager
def open_executor(cluster: str | None) -> Iterator[Executor]:
    """Where the shards of a run are judged.

    Args:
        cluster: the address of a Dask scheduler, such as ``tcp://host:8786``; ``local:N`` starts
            N workers on this machine, which share its cores; None is this process.

    Raises:
        ClusterError: there is no scheduler at the address, or Dask is not installed.
    """
    if cluster is None:
        yield in_process
        return
    with _connect(cluster) as (client, sharers):

        @contextmanager
        def executor(plan: Plan, work: Work) -> Iterator[ClusterShards]:
            _wait_for_workers(client, cluster)
            session = session_of(plan, sharers)
            shards = ClusterShards(client, session, work)
            try:
                yield shards
            finally:
                shards.cancel()

        yield executor


@contextmanager
def _connect(cluster: str) -> Iterator[tuple[Client, int]]:
    """A client, and how many workers share the cores of one machine."""
    local = LOCAL.fullmatch(cluster)
    if not local and not ADDRESS.fullmatch(cluster):
        raise ClusterError(
            f"--cluster {cluster}: the address of a scheduler such as tcp://host:8786 is expected, "
            "or local:N for N workers on this machine"
        )
    try:
        import distributed
    except ImportError as error:
        raise ClusterError(
            f"--cluster needs a library that is not installed ({error.name}); "
            "install deepfake-verification with its extra: cluster"
        ) from error
    _quieten()
    if local:
        count = int(local["count"] or len(os.sched_getaffinity(0)))
        with _local(count) as workers, distributed.Client(workers, set_as_default=False) as client:
            yield client, count
        return
    try:
        client = distributed.Client(cluster, timeout=CONNECT_SECONDS, set_as_default=False)
    except (OSError, TypeError) as error:
        raise ClusterError(
            f"no Dask scheduler answers at {cluster}: {' '.join(str(error).split())}; start it "
            "with dask scheduler, or leave out --cluster"
        ) from error
    with client:
        yield client, 1


def _local(count: int) -> LocalCluster:
    """Workers on this machine; no memory limit, as a shard's memory does not depend on its size."""
    from distributed import LocalCluster

    try:
        return LocalCluster(
            n_workers=count,
            threads_per_worker=1,
            host="127.0.0.1",
            # Dask's HTTP server cannot be turned off: any free port, which nobody else reaches.
            scheduler_kwargs={"dashboard": False, "dashboard_address": "127.0.0.1:0"},
            memory_limit=0,
            preload=["deepfake_core.scanning.dask.worker"],
            silence_logs=logging.CRITICAL,
        )
    except (OSError, RuntimeError) as error:
        raise ClusterError(
            f"{count} workers did not start on this machine ({type(error).__name__}: {error}); "
            "is it very busy? Try again, or leave out --cluster"
        ) from error


def _quieten() -> None:
    """Lost connections and workers are told here, in words for people."""
    for name in list(logging.root.manager.loggerDict):
        if name.partition(".")[0] == "distributed":
            logging.getLogger(name).setLevel(logging.CRITICAL)


def _wait_for_workers(client: Client, cluster: str) -> None:
    try:
        client.wait_for_workers(1, timeout=WORKERLESS_SECONDS)
    except TimeoutError as error:
        raise ClusterError(
            f"the scheduler at {cluster} had no worker for {WORKERLESS_SECONDS} s; start one on "
            f"each machine: dask worker {cluster} --nthreads 1 --no-dashboard"
        ) from error
