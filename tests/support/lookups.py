"""Which names a process and its children look up, and whom they talk to.

An audit hook is heard before Python's own resolver is asked or a socket connects, whoever calls
it, and cannot be taken away again. A name outside of this machine is noted and refused, as it
would be on a machine without a network.
"""

import os
import pty
import subprocess
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

HOOK = """
import ipaddress, os, socket, sys

def is_own(host):
    if isinstance(host, bytes):
        host = host.decode()
    if host in (None, "", "localhost") or host == socket.gethostname():
        return True
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return address.is_loopback or address.is_unspecified

def hear(event, arguments):
    if event in ("socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr"):
        host = arguments[0]
    elif event in ("socket.connect", "socket.sendto") and isinstance(arguments[1], tuple):
        host = arguments[1][0]
    else:
        return
    if not is_own(host):
        with open(os.environ["LOOKED_UP"], "a") as stream:
            stream.write(f"{host} {' '.join(sys.argv)[:200]}\\n")
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

sys.addaudithook(hear)
"""
# What keeps telemetry quiet by itself, and would hide it from a test.
SILENCERS = ("CI", "GITHUB_ACTIONS", "GITLAB_CI", "JENKINS_URL", "TF_BUILD", "DO_NOT_TRACK")


@dataclass(frozen=True)
class Watched:
    """A folder that is home to watched processes, and what they looked up."""

    folder: Path

    def environment(self) -> dict[str, str]:
        """An environment in which nothing but the product keeps libraries quiet."""
        kept = {
            name: value
            for name, value in os.environ.items()
            if name not in SILENCERS and not name.startswith(("PREFECT_", "DEEPFAKE_", "AWS_"))
        }
        home = self.folder / "home"
        home.mkdir(exist_ok=True)
        return {
            **kept,
            **self.hook(),
            "HOME": str(home),
            "CUDA_VISIBLE_DEVICES": "",
            # Its starts of a server take longer on a busy machine than its default allows.
            "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "240",
        }

    def hook(self) -> dict[str, str]:
        """The variables with which a process and its children are heard."""
        folder = self.folder / "hook"
        folder.mkdir(exist_ok=True)
        (folder / "sitecustomize.py").write_text(HOOK)
        return {"PYTHONPATH": str(folder), "LOOKED_UP": str(self.folder / "looked-up")}

    def looked_up(self) -> list[str]:
        """The names outside of this machine, each with the command that looked it up."""
        path = self.folder / "looked-up"
        return path.read_text().splitlines() if path.exists() else []

    def run(self, words: Sequence[object], *, cwd: Path, timeout: float = 300) -> tuple[int, str]:
        """Run a program on a terminal, as a person does; returns its status and what it says."""
        ours, theirs = pty.openpty()
        said: list[bytes] = []
        process = subprocess.Popen(
            [sys.executable, *map(str, words)],
            cwd=cwd,
            env=self.environment(),
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
        )
        os.close(theirs)
        listener = threading.Thread(target=listen, args=(ours, said))
        listener.start()
        try:
            status = process.wait(timeout)
        finally:
            process.kill()
            process.wait()
            listener.join(10)
            os.close(ours)
        return status, b"".join(said).decode(errors="replace")


def listen(handle: int, said: list[bytes]) -> None:
    """Take what a terminal shows until its last user has gone."""
    try:
        while data := os.read(handle, 65536):
            said.append(data)
    except OSError:
        return
