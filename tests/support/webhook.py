"""A webhook on this machine, which remembers what it was told."""

import http.server
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class Hook(http.server.BaseHTTPRequestHandler):
    """Answers with the status that its path ends with, such as ``/500``, or else with 204."""

    def do_POST(self) -> None:
        content = self.rfile.read(int(self.headers["content-length"]))
        self.server.told.append((self.path, json.loads(content)))
        last = self.path.rpartition("/")[2]
        self.send_response(int(last) if last.isdigit() else 204)
        self.send_header("location", "/200")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def listening() -> Iterator[Any]:
    """The webhook, with its address as `url` and (path, content) pairs as `told`."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hook) as server:
        server.told = []
        server.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def wait_until_told(hook: Any, path: str, name: str, value: str) -> Any:
    """What a path of the webhook was told, once a field of it has a value."""
    until = time.monotonic() + 120
    while True:
        for place, said in hook.told:
            if (place, said.get(name)) == (path, value):
                return said
        assert time.monotonic() < until, hook.told
        time.sleep(0.1)
