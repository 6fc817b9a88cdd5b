"""A real service for tests: uvicorn on a free port, in a thread of this process."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from deepfake_core.serve.config import ServeConfig
from deepfake_core.serve.server import Serving

START_SECONDS = 60


@contextmanager
def running(registry: Path, **settings: object) -> Iterator[Serving]:
    """The service with the model ``tiny``, once it is ready; it stops in the end."""
    config = ServeConfig(port=0, model="tiny", **settings)
    serving = Serving(config, registry=registry)
    thread = threading.Thread(target=serving.run)
    thread.start()
    try:
        until_ready(address(serving))
        yield serving
    finally:
        serving.stop()
        thread.join(START_SECONDS)
    assert not thread.is_alive()


def address(serving: Serving) -> str:
    return f"http://127.0.0.1:{serving.port}"


def until_ready(url: str) -> None:
    """Wait until the model can score."""
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end:
        try:
            if httpx.get(f"{url}/readyz").status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.05)
    raise AssertionError(f"{url} did not become ready")


def code_of(answer: httpx.Response) -> str:
    """The code of an error, which has the one shape."""
    content = answer.json()
    assert set(content) == {"error"}
    assert set(content["error"]) == {"code", "message"}
    assert content["error"]["message"]
    assert answer.headers["content-type"] == "application/json"
    return content["error"]["code"]
