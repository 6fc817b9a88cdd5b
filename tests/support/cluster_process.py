"""A Dask cluster on this machine, as a process of its own; a program of ``test_cluster.py``.

It prints the scheduler's address, and ends when its standard input does. Its argument is the
number of workers.
"""

import sys

from distributed import LocalCluster

NO_DASHBOARD = {"dashboard": False, "dashboard_address": "127.0.0.1:0"}


def main(workers: int) -> None:
    with LocalCluster(
        n_workers=workers,
        threads_per_worker=1,
        host="127.0.0.1",
        scheduler_kwargs=NO_DASHBOARD,
        memory_limit=0,
    ) as cluster:
        print(cluster.scheduler_address, flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main(int(sys.argv[1]))
