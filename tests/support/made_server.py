"""`make server` for tests: a free port, and a home that is thrown away."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from flows.login import FILE
from tests.support.ports import free_port

ROOT = Path(__file__).resolve().parents[2]
PATIENCE_SECONDS = 600


@dataclass
class Running:
    """The command as it runs, and what it says."""

    address: str
    home: Path
    process: subprocess.Popen[str]
    said: list[str] = field(default_factory=list)

    @property
    def api(self) -> str:
        return f"{self.address}/api"

    @property
    def login(self) -> tuple[str, str]:
        user, _, password = (self.home / FILE).read_text().strip().partition(":")
        return user, password

    def listen(self) -> None:
        assert self.process.stdout is not None
        self.said.extend(iter(self.process.stdout.readline, ""))

    def wait_until_said(self, words: str) -> None:
        until = time.monotonic() + PATIENCE_SECONDS
        while not any(words in line for line in self.said):
            assert self.process.poll() is None, "".join(self.said)
            assert time.monotonic() < until, "".join(self.said)
            time.sleep(0.1)

    def interrupt(self) -> int:
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(60)


@contextmanager
def running_server(folder: Path, **environment: str) -> Iterator[Running]:
    """Everything that `make server` starts, until it says that it is ready."""
    port = free_port()
    home = folder / "prefect"
    process = subprocess.Popen(
        [sys.executable, "-m", "flows.server", "--port", str(port)],
        cwd=ROOT,
        env={**os.environ, "PREFECT_HOME": str(home), "PYTHONUNBUFFERED": "1", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    server = Running(f"http://127.0.0.1:{port}", home, process)
    listener = threading.Thread(target=server.listen)
    listener.start()
    try:
        server.wait_until_said("Ctrl-C")
        yield server
    finally:
        if process.poll() is None:
            server.interrupt()
        listener.join(10)
        assert process.stdout is not None
        process.stdout.close()
