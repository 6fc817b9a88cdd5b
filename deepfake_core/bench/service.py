"""The HTTP service under load, against one request after the other."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path

import numpy as np

from deepfake_core.bench.images import write_pictures
from deepfake_core.bench.load import put_load, upload_request
from deepfake_core.bench.setting import PartFailed, Setting

CLIENTS = 48
MAX_START_SECONDS = 120.0
POLL_SECONDS = 0.05
_PORT = re.compile(r"http://127\.0\.0\.1:(\d+)$")
_PROGRAM = (
    "import json, sys; from pathlib import Path;"
    "from deepfake_core.commands.terminal import say;"
    "from deepfake_core.serve.config import ServeConfig;"
    "from deepfake_core.serve.server import serve;"
    "serve(ServeConfig(**json.loads(sys.argv[2])), say=say, registry=Path(sys.argv[1]))"
)


def service(setting: Setting) -> Iterator[dict[str, float]]:
    """Requests of one image a second, one by one and together, and how long they take."""
    folder = setting.folder / "service"
    count = setting.sizes.distinct
    write_pictures(folder, count, distinct=count)
    pictures = [path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()]
    requests = [upload_request("/upload_image", picture) for picture in pictures]
    described = setting.bundle.description
    model = f"{described.name}@{described.version}"
    options = {"port": 0, "model": model, "precision": setting.precision}
    with started(setting.registry, options) as (port, _):
        setting.tell("the HTTP service, one request after the other")
        alone = put_load(port, requests, count=count // 2, clients=1)
        setting.tell(f"the HTTP service, {CLIENTS} clients")
        loaded = put_load(port, requests, count=4 * count, clients=CLIENTS)
    failed = [status for load in (alone, loaded) for status in load.statuses if status != 200]
    if failed:
        raise PartFailed(f"the service answered with {failed}")
    middle, late = np.percentile(loaded.seconds, (50, 99)) * 1000
    yield {
        "serve_one_by_one_per_s": alone.per_second,
        "serve_loaded_per_s": loaded.per_second,
        "serve_alone_ms": float(np.median(alone.seconds)) * 1000,
        "serve_p50_ms": float(middle),
        "serve_p99_ms": float(late),
    }


@contextmanager
def started(
    registry: Path, options: dict[str, object]
) -> Iterator[tuple[int, subprocess.Popen[str]]]:
    """The port and the process of a service that is ready.

    Raises:
        PartFailed: it did not start.
    """
    command = [sys.executable, "-c", _PROGRAM, str(registry), json.dumps(options)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:  # noqa: S603
        try:
            line = process.stderr.readline().strip() if process.stderr else ""
            match = _PORT.search(line)
            if match is None:
                raise PartFailed(f"the service did not start: {line}")
            port = int(match[1])
            _await_ready(port)
            yield port, process
        finally:
            process.terminate()


def _await_ready(port: int) -> None:
    end = time.monotonic() + MAX_START_SECONDS
    while time.monotonic() < end:
        connection = HTTPConnection("127.0.0.1", port, timeout=MAX_START_SECONDS)
        try:
            connection.request("GET", "/readyz")
            if connection.getresponse().status == 200:
                return
        except ConnectionError:
            pass  # it does not listen yet
        finally:
            connection.close()
        time.sleep(POLL_SECONDS)
    raise PartFailed(f"the service was not ready within {MAX_START_SECONDS:.0f} seconds")
