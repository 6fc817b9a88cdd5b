"""A real S3 server for tests, and what a client needs to know of it."""

import asyncio
import contextlib
import secrets
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from deepfake_core.bench.s3_proxy import Proxy
from deepfake_core.bench.s3_server import Server, running_server

# Must never be seen again but in the environment.
SECRET = "SECRET-3f9c1e7ab2"


@contextlib.contextmanager
def running_proxy(target: int, *, delay_seconds: float = 0.0) -> Iterator[Proxy]:
    """Run a proxy in a thread."""
    proxy, ready = Proxy(target, delay_seconds=delay_seconds), threading.Event()
    loop = asyncio.new_event_loop()
    task = loop.create_task(proxy.serve(ready.set))

    def run() -> None:
        with contextlib.suppress(asyncio.CancelledError):
            loop.run_until_complete(task)
        while rest := asyncio.all_tasks(loop):
            for running in rest:
                running.cancel()
            loop.run_until_complete(asyncio.wait(rest))
        # Connections are closed in the loop's next round.
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()

    thread = threading.Thread(target=run, name="proxy")
    thread.start()
    try:
        ready.wait()
        yield proxy
    finally:
        loop.call_soon_threadsafe(task.cancel)
        thread.join()


def client() -> Any:
    """A client of s3fs under the environment of now."""
    import s3fs

    return s3fs.S3FileSystem(skip_instance_cache=True)


class Bucket:
    """A bucket of its own for a test."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._client = client()
        self._client.call_s3("create_bucket", Bucket=name)

    @property
    def url(self) -> str:
        return f"s3://{self.name}"

    def put(self, key: str, data: bytes, **arguments: Any) -> None:
        self._client.call_s3("put_object", Bucket=self.name, Key=key, Body=data, **arguments)

    def keys(self, prefix: str = "") -> list[str]:
        found = self._client.call_s3("list_objects_v2", Bucket=self.name, Prefix=prefix)
        return [entry["Key"] for entry in found.get("Contents", [])]

    def get(self, key: str) -> bytes:
        return self._client.cat_file(f"{self.name}/{key}")

    def tags(self, key: str) -> dict[str, str]:
        found = self._client.call_s3("get_object_tagging", Bucket=self.name, Key=key)
        return {one["Key"]: one["Value"] for one in found.get("TagSet", [])}

    def tag(self, key: str, tags: dict[str, str]) -> None:
        wanted = [{"Key": name, "Value": value} for name, value in tags.items()]
        self._client.call_s3(
            "put_object_tagging", Bucket=self.name, Key=key, Tagging={"TagSet": wanted}
        )

    def delete(self, key: str) -> None:
        self._client.call_s3("delete_object", Bucket=self.name, Key=key)

    def remove(self) -> None:
        for key in self.keys():
            self.delete(key)
        self._client.call_s3("delete_bucket", Bucket=self.name)

    def fill(self, folder: Path, prefix: str) -> None:
        """Put the files of a folder, hidden ones too."""
        files = [path for path in folder.rglob("*") if path.is_file()]
        target = f"{self.name}/{prefix}"
        self._client.pipe(
            {f"{target}/{one.relative_to(folder)}": one.read_bytes() for one in files}
        )


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running_server(tmp_path_factory.mktemp("s3"), secret=SECRET) as running:
        yield running


@pytest.fixture
def environment(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Server:
    """Lets clients find the server, and nothing of this machine's own settings."""
    import s3fs

    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ROLE_ARN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    for name, value in server.environment().items():
        monkeypatch.setenv(name, value)
    # Clients are kept by their arguments, not by the environment.
    s3fs.S3FileSystem.clear_instance_cache()
    return server


@pytest.fixture
def bucket(environment: Server) -> Bucket:
    return Bucket(f"test-{secrets.token_hex(6)}")


@pytest.fixture
def proxy(bucket: Bucket, environment: Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    """A proxy before the server, for all clients made from now on."""
    import s3fs

    with running_proxy(environment.port) as running:
        endpoint = environment.environment(port=running.port)["AWS_ENDPOINT_URL"]
        monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
        s3fs.S3FileSystem.clear_instance_cache()
        yield running
        s3fs.S3FileSystem.clear_instance_cache()


@pytest.fixture
def without_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    from deepfake_core.storage import s3_attempts

    monkeypatch.setattr(s3_attempts, "FIRST_PAUSE_SECONDS", 0.001)
