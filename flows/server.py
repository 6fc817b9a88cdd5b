"""A Prefect server, a worker and the deployments, on this machine: ``make server``.

It starts what Prefect already has, in this order: the server, bound to 127.0.0.1; the work pool,
in which one run at a time may use the processors; what `prefect.yaml` describes; the automations,
which tell nobody until they are given a block; a worker. All of it ends with this process.
"""

from __future__ import annotations

import argparse
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from deepfake_core.errors import DeepfakeError, UsageError
from flows import TOLD_TO_NOBODY
from flows.automations import create
from flows.login import SENT, login_file, make_login
from flows.place import FOLDER
from flows.pool import POOL, open_pool

ROOT = Path(__file__).resolve().parent.parent
HOST, PORT = "127.0.0.1", 4200
START_SECONDS, STOP_SECONDS = 240, 30
PREFECT = ("prefect", "--no-prompt")
ENVIRONMENT = {
    **TOLD_TO_NOBODY,
    # Otherwise leases lie in memory, and a server that starts again ends the runs that hold one.
    "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": (
        "prefect.server.concurrency.lease_storage.filesystem"
    ),
    # A scan uses all cores; the defaults of 5 and 10 s are too short for its database then.
    "PREFECT_SERVER_DATABASE_CONNECTION_TIMEOUT": "30",
    "PREFECT_SERVER_DATABASE_TIMEOUT": "60",
    # The default of 10 s is for servers far away.
    "PREFECT_WORKER_QUERY_SECONDS": "2",
}


class ServerFailed(DeepfakeError):
    """One of Prefect's own processes did not start, or stopped by itself."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run everything until Ctrl-C; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m flows.server", description=main.__doc__)
    parser.add_argument("--port", type=int, default=PORT, help="port of the server (%(default)s)")
    try:
        run(parser.parse_args(arguments).port)
    except KeyboardInterrupt:
        print("\nStopped. Runs that were under way can be retried: they go on where they were.")
        return 0
    except DeepfakeError as error:
        print(error, file=sys.stderr)
        return 2 if isinstance(error, UsageError) else 1
    return 0


def run(port: int = PORT) -> None:
    """Start everything, say where it is, and wait until a part of it stops.

    Raises:
        UsageError: the port is taken.
        ServerFailed: a part did not start, or stopped.
    """
    check_free(port)
    end_like_ctrl_c(signal.SIGTERM, signal.SIGHUP)
    address = f"http://{HOST}:{port}"
    environment = environment_for(address)
    login = environment[SENT]
    door = ["flows.door", "--host", HOST, "--port", str(port)]
    with running(door, environment) as server:
        print("Starting the server; this takes up to a minute.", flush=True)
        wait_until_up(f"{address}/api/health", server)
        lost = open_pool(f"{address}/api", login=login)
        for name in lost:
            print(f"{name} was under way when its worker stopped; marked as crashed.", flush=True)
        deploy(environment)
        create(f"{address}/api", login=login)
        start = ["worker", "start", "--pool", POOL, "--name", f"worker-{port}"]
        with running([*PREFECT, *start], environment) as worker:
            print(f"\nDeployed and running: {address}\nSign in with: cat {login_file()}")
            print("Ctrl-C stops it.\n", flush=True)
            wait_for_end({"server": server, "worker": worker})


def end_like_ctrl_c(*numbers: signal.Signals) -> None:
    """Let a supervisor's signal, or a closed terminal, stop the parts too; nohup still works."""
    for number in numbers:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler)


def environment_for(address: str) -> dict[str, str]:
    """The environment of Prefect's processes; secrets are in ours and are handed on."""
    own = {"PREFECT_API_URL": f"{address}/api", SENT: make_login(), FOLDER: str(ROOT)}
    return {**os.environ, **ENVIRONMENT, **own}


def check_free(port: int) -> None:
    """Raise UsageError where something listens on the port already."""
    with socket.socket() as probe:
        # As servers do: a port that was just given up is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise UsageError(
                f"expected port {port} of {HOST} to be free, found {error.strerror}; "
                "stop what uses it, or choose another: make server PORT=4300"
            ) from error


@contextmanager
def running(
    command: Sequence[str], environment: dict[str, str], *, stdout: int | None = None
) -> Iterator[subprocess.Popen[str]]:
    """A module as a process with its children, all of which end with the block."""
    process = subprocess.Popen(  # noqa: S603
        [sys.executable, "-m", *command],
        cwd=ROOT,
        env=environment,
        text=True,
        stdout=stdout,
        stderr=subprocess.STDOUT if stdout else None,
        # Its own group: Ctrl-C reaches only this process, which stops the parts in their order.
        start_new_session=True,
    )
    try:
        yield process
    finally:
        stop(process)


def stop(process: subprocess.Popen[str]) -> None:
    """End a process with its children, patiently first."""
    send(process, signal.SIGTERM)
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        pass
    finally:
        send(process, signal.SIGKILL)
        process.wait()


def send(process: subprocess.Popen[str], number: signal.Signals) -> None:
    """Send a signal to whatever is left of a process's group."""
    try:
        os.killpg(process.pid, number)
    except ProcessLookupError:
        return


def wait_until_up(url: str, server: subprocess.Popen[str]) -> None:
    """Wait for the server's first answer."""
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until:
        if server.poll() is not None:
            raise ServerFailed(f"the server stopped at its start with code {server.returncode}")
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:  # noqa: S310
                if answer.status == 200:
                    return
        except OSError:
            time.sleep(0.2)
    raise ServerFailed(f"the server did not answer at {url} within {START_SECONDS} s")


def deploy(environment: dict[str, str]) -> None:
    """Deploy all that `prefect.yaml` describes."""
    with running([*PREFECT, "deploy", "--all"], environment, stdout=subprocess.PIPE) as deploying:
        said, _ = deploying.communicate()
        if deploying.returncode:
            raise ServerFailed(f"`prefect deploy --all` failed:\n{said}")


def wait_for_end(parts: dict[str, subprocess.Popen[str]]) -> None:
    """Wait until one of the parts stops by itself, which it should not."""
    while True:
        for name, process in parts.items():
            if process.poll() is not None:
                raise ServerFailed(f"the {name} stopped with code {process.returncode}")
        time.sleep(0.5)


if __name__ == "__main__":
    sys.exit(main())
