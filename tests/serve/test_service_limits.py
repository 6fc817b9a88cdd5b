"""Bad requests get a quick, plain answer, and cost the service nothing."""

import json
import os
import re
import resource
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import httpx
import numpy as np
import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deepfake_core.bench.load import put_load, upload_request
from deepfake_core.bench.service import started
from deepfake_core.cli import main
from deepfake_core.errors import DeepfakeError, ModelError
from deepfake_core.inference.opening import open_classifier
from deepfake_core.serve.config import ServeConfig
from deepfake_core.serve.server import Serving
from tests.support.serving import address, code_of, running, until_ready
from tests.support.zoo import png_of_size

Picture = Callable[..., bytes]
MULTIPART = "multipart/form-data; boundary=b"
UPLOADS = ("/upload_image", "/verdicts")


@pytest.fixture(scope="module")
def client(tiny_registry: Path) -> Iterator[httpx.Client]:
    with (
        running(tiny_registry, max_files=4) as serving,
        httpx.Client(base_url=address(serving), timeout=60) as client,
    ):
        yield client


def part(name: str, content: bytes = b"", *, filename: str | None = "a.jpg") -> bytes:
    file = "" if filename is None else f'; filename="{filename}"'
    head = f'--b\r\nContent-Disposition: form-data; name="{name}"{file}\r\n\r\n'
    return head.encode() + content + b"\r\n"


END = b"--b--\r\n"
BROKEN = {
    "no body": ({}, b"", 422, "request.missing_field"),
    "json": ({"Content-Type": "application/json"}, b'{"img": 1}', 415, "request.missing_field"),
    "form": (
        {"Content-Type": "application/x-www-form-urlencoded"},
        b"img=1",
        415,
        "request.missing_field",
    ),
    "raw image": ({"Content-Type": "image/jpeg"}, b"\xff\xd8\xff", 415, "request.missing_field"),
    "odd type": ({"Content-Type": ";;=;"}, b"x", 415, "request.missing_field"),
    "wrong field": (
        {"Content-Type": MULTIPART},
        part("image", b"x") + END,
        422,
        "request.missing_field",
    ),
    "no field": ({"Content-Type": MULTIPART}, END, 422, "request.missing_field"),
    "text field": (
        {"Content-Type": MULTIPART},
        part("img", b"x", filename=None) + END,
        422,
        "request.missing_field",
    ),
    "no file chosen": (
        {"Content-Type": MULTIPART},
        part("img", filename="") + END,
        422,
        "request.missing_field",
    ),
    "no boundary": (
        {"Content-Type": "multipart/form-data"},
        part("img", b"x") + END,
        400,
        "request.malformed",
    ),
    "another boundary": (
        {"Content-Type": "multipart/form-data; boundary=c"},
        part("img", b"x") + END,
        400,
        "request.malformed",
    ),
    "no end": ({"Content-Type": MULTIPART}, part("img", b"x"), 400, "request.malformed"),
    "no name": (
        {"Content-Type": MULTIPART},
        b"--b\r\nContent-Disposition: form-data\r\n\r\nx\r\n" + END,
        400,
        "request.malformed",
    ),
    "garbage": ({"Content-Type": MULTIPART}, bytes(range(256)) * 9, 400, "request.malformed"),
    "too many files": (
        {"Content-Type": MULTIPART},
        part("img", b"x") * 5 + END,
        422,
        "request.too_many",
    ),
    "too many fields": (
        {"Content-Type": MULTIPART},
        part("other", b"x", filename=None) * 20 + part("img", b"x") + END,
        422,
        "request.too_many",
    ),
    "a long text field": (
        {"Content-Type": MULTIPART},
        part("other", b"x" * 100_000, filename=None) + END,
        413,
        "request.too_large",
    ),
    "an empty file": ({"Content-Type": MULTIPART}, part("img") + END, 422, "decode.unsupported"),
    "text named .jpg": (
        {"Content-Type": MULTIPART},
        part("img", b"this is text\n") + END,
        422,
        "decode.unsupported",
    ),
    "60,000 pixels a side": (
        {"Content-Type": MULTIPART},
        part("img", png_of_size(60_000, 60_000)) + END,
        422,
        "decode.too_large",
    ),
    "a header without end": (
        {"Content-Type": MULTIPART},
        b"--b\r\nContent-Disposition: " + b"x" * 1_000_000,
        400,
        "request.malformed",
    ),
}


CHARSETS = ["undefined", "idna", "punycode", "nothing", "hex", "utf-16", "unicode_escape", "a%00"]


@pytest.mark.parametrize("charset", CHARSETS)
@pytest.mark.parametrize("name", ["img", "\xff", "a..b", "\x00"])
def test_a_charset_that_decodes_nothing_is_the_fault_of_the_request(
    client: httpx.Client, charset: str, name: str
):
    head = f"{MULTIPART}; charset={charset}".encode("latin-1")
    body = part(name, b"x") + END
    answer = client.post("/upload_image", headers={"Content-Type": head}, content=body)
    assert answer.is_client_error, answer.text
    assert code_of(answer)


@given(
    head=st.text(st.characters(min_codepoint=33, max_codepoint=255), max_size=40).map(
        lambda head: head.replace("\x7f", "").encode("latin-1")
    ),
    inside=st.binary(max_size=60),
)
@settings(max_examples=150, deadline=None)
def test_no_header_of_a_form_is_the_fault_of_the_service(
    client: httpx.Client, head: bytes, inside: bytes
):
    body = b"--b\r\nContent-Disposition: form-data; name=" + inside + b"\r\n\r\nx\r\n" + END
    kind = b"multipart/form-data; boundary=b;" + head
    answer = client.post("/upload_image", headers={"Content-Type": kind}, content=body)
    assert answer.is_client_error, answer.text
    assert code_of(answer)


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [("/upload_image", 422, "request.missing_field"), ("/nothing", 404, "request.not_found")],
)
def test_an_error_comes_in_the_standard_shape_where_that_is_asked_for(
    client: httpx.Client, path: str, status: int, code: str
):
    answer = client.post(path, headers={"Accept": "application/problem+json, */*;q=0.1"})
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert set(problem) == {"type", "title", "status", "detail", "code"}
    assert (problem["status"], problem["code"]) == (answer.status_code, code) == (status, code)
    usual = client.post(path, headers={"Accept": "application/json, application/problem+json;q=0"})
    assert code_of(usual) == code
    assert usual.headers["vary"] == "Accept"


def test_a_body_that_is_too_large_is_a_standard_problem_too(client: httpx.Client):
    headers = {"Accept": "application/problem+json"}
    answer = client.post("/upload_image", headers=headers, content=bytes(33 * 2**20))
    assert answer.json()["code"] == "request.too_large"


def test_the_description_for_people_needs_no_other_host(client: httpx.Client):
    answer = client.get("/docs")
    assert answer.headers["content-type"].startswith("text/html")
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    page = answer.text
    for path in client.get("/openapi.json").json()["paths"]:
        assert f"<code>{path}</code>" in page
    links = re.findall(r"(?:src|href)=\"([^\"]*)\"|url\(([^)]*)\)", page)
    assert links == [("openapi.json", "")]
    assert "<script" not in page


@pytest.mark.parametrize("name", BROKEN)
@pytest.mark.parametrize("path", UPLOADS)
def test_a_broken_request_gets_its_code(client: httpx.Client, path: str, name: str):
    headers, body, status, code = BROKEN[name]
    answer = client.post(path, headers=headers, content=body)
    if code.startswith("decode.") and path == "/verdicts":
        (verdict,) = answer.json()
        assert (answer.status_code, verdict["failure"]) == (200, code)
    else:
        assert (answer.status_code, code_of(answer)) == (status, code)


def test_two_files_are_one_too_many_for_one_answer(client: httpx.Client):
    body = part("img", b"x") * 2 + END
    answer = client.post("/upload_image", headers={"Content-Type": MULTIPART}, content=body)
    assert (answer.status_code, code_of(answer)) == (422, "request.too_many")


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nowhere", 404, "request.not_found"),
        ("POST", "/verdicts/", 404, "request.not_found"),
        ("GET", "/upload_image", 405, "request.method_not_allowed"),
        ("DELETE", "/verdicts", 405, "request.method_not_allowed"),
        ("POST", "/model", 405, "request.method_not_allowed"),
    ],
)
def test_what_the_framework_finds_has_the_same_shape(
    client: httpx.Client, method: str, path: str, status: int, code: str
):
    answer = client.request(method, path)
    assert (answer.status_code, code_of(answer)) == (status, code)
    assert status != 405 or answer.headers["allow"] in ("POST", "GET")


@pytest.mark.parametrize("announced", [True, False])
def test_a_body_of_100_megabytes_is_refused_and_not_kept(client: httpx.Client, announced: bool):
    chunk = b"x" * 2**20
    headers = {"Content-Type": MULTIPART}
    if announced:
        headers["Content-Length"] = str(100 * len(chunk) + len(part("img")))

    def body() -> Iterator[bytes]:
        yield part("img")
        for _ in range(100):
            yield chunk

    before = psutil.Process().memory_info().rss
    answer = client.post("/upload_image", headers=headers, content=body())
    assert (answer.status_code, code_of(answer)) == (413, "request.too_large")
    kept = psutil.Process().memory_info().rss - before
    assert kept < 150 * 2**20
    assert client.get("/healthz").status_code == 200


def test_a_large_body_is_refused_before_it_is_sent(client: httpx.Client):
    head = "POST /verdicts HTTP/1.1\r\nHost: x\r\nContent-Length: 104857600\r\n"
    with socket.create_connection(("127.0.0.1", client.base_url.port), timeout=20) as connection:
        connection.sendall(f"{head}Expect: 100-continue\r\n\r\n".encode())
        assert connection.recv(1000).startswith(b"HTTP/1.1 413 ")


def raw(port: int, sent: bytes, *, seconds: float = 20) -> bytes:
    """All that a service answers to bytes until it closes the connection."""
    answer = b""
    with socket.create_connection(("127.0.0.1", port), timeout=seconds) as connection:
        connection.sendall(sent)
        while received := connection.recv(65536):
            answer += received
    return answer


@pytest.mark.parametrize(
    "sent",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 hello TLS\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nA: " + b"x" * 40_000,
        b"POST /verdicts HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"POST /verdicts HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=b\r\n"
        b"Transfer-Encoding: chunked\r\n\r\nnonsense\r\n",
    ],
)
def test_what_is_not_http_gets_the_same_shape(client: httpx.Client, sent: bytes):
    head, _, body = raw(client.base_url.port, sent).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 ")
    assert json.loads(body)["error"]["code"] == "request.malformed"
    assert client.get("/healthz").status_code == 200


def test_slow_and_cut_uploads_are_given_up(tiny_registry: Path, picture: Picture):
    whole = upload_request("/upload_image", picture(1))
    settings = {"grace_seconds": 0.5, "least_bytes_per_second": 100_000}
    with running(tiny_registry, **settings) as serving:
        for sent in (whole[:40], whole[:-300], b""):
            began = time.monotonic()
            answer = raw(serving.port, sent)
            assert answer.startswith(b"HTTP/1.1 408 ")
            assert b'"request.timeout"' in answer
            assert 0.4 < time.monotonic() - began < 15

        # A drop now and then does not buy more time.
        with socket.create_connection(("127.0.0.1", serving.port), timeout=20) as connection:
            connection.sendall(whole[:-300])
            connection.settimeout(0.2)
            answer, began = b"", time.monotonic()
            while not answer and time.monotonic() < began + 15:
                connection.sendall(b"x")
                try:
                    answer = connection.recv(1000)
                except TimeoutError:
                    continue
            assert answer.startswith(b"HTTP/1.1 408 ")

        # A client that leaves in the middle.
        for _ in range(20):
            with socket.create_connection(("127.0.0.1", serving.port)) as connection:
                connection.sendall(whole[:-300])
        url = address(serving)
        assert httpx.post(f"{url}/upload_image", files={"img": picture(1)}).status_code == 200
        figures = httpx.get(f"{url}/metrics").text
        assert "deepfake_uploads 0.0" in figures
        assert "deepfake_upload_bytes 0.0" in figures
        # Nobody was there to be answered; a cut upload is not an error of the service.
        assert 'status="500"' not in figures


def test_connections_beyond_the_limit_are_refused(tiny_registry: Path):
    with running(tiny_registry, max_connections=3) as serving:
        held = [socket.create_connection(("127.0.0.1", serving.port)) for _ in range(3)]
        time.sleep(0.2)
        with socket.create_connection(("127.0.0.1", serving.port), timeout=20) as connection:
            answer = connection.recv(1000)
        assert answer.startswith(b"HTTP/1.1 429 ")
        assert b"retry-after: 1" in answer
        for connection in held:
            connection.close()
        until_ready(address(serving))


def test_a_thousand_requests_at_once(tiny_registry: Path, picture: Picture):
    """Some are judged, the others are told to come back; nothing grows and nothing fails."""
    contents = (picture(1), b"x", picture(2), picture(1)[:-300])
    requests = [upload_request("/upload_image", content) for content in contents]
    options = {"port": 0, "model": "tiny", "max_requests": 40, "max_waiting": 20}
    with started(tiny_registry, options) as (port, process), many_files():
        load = put_load(port, requests, count=1000, clients=1000)
        assert load.statuses.total() == 1000
        assert set(load.statuses) <= {200, 422, 429}
        assert load.statuses[200]
        assert load.statuses[422]
        answer = httpx.post(f"http://127.0.0.1:{port}/upload_image", files={"img": picture(1)})
        assert answer.status_code == 200
        process.terminate()
        assert process.wait(30) == 0
        assert process.stderr.read() == ""


@contextmanager
def many_files() -> Iterator[None]:
    """Allow this process the connections of a thousand clients."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 4096), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize("limit", [{"max_bytes_held": 100_000}, {"max_requests": 1}])
def test_uploads_are_held_only_up_to_a_limit(tiny_registry: Path, limit: dict[str, int]):
    """One that came half and waits fills what is set aside; the next is told to come back."""
    body = part("img", b"x" * 60_000) + END
    head = (
        "POST /verdicts HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=b\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    ).encode()
    with (
        running(tiny_registry, **limit) as serving,
        socket.create_connection(("127.0.0.1", serving.port), timeout=20) as first,
    ):
        first.sendall(head + body[:-100])
        url = address(serving)
        end = time.monotonic() + 20
        while time.monotonic() < end:
            if "deepfake_upload_bytes 0.0" not in httpx.get(f"{url}/metrics").text:
                break
        answer = httpx.post(f"{url}/verdicts", files={"img": b"y" * 60_000})
        assert (answer.status_code, code_of(answer)) == (429, "request.busy")
        assert answer.headers["retry-after"] == "1"
        first.sendall(body[-100:])
        assert first.recv(1000).startswith(b"HTTP/1.1 200 ")


def test_uploads_touch_neither_disk_nor_log(
    tiny_registry: Path, tmp_path: Path, picture: Picture, monkeypatch: pytest.MonkeyPatch
):
    """In a process whose temporary folder does not exist, and whose writes are counted."""
    for name in ("TMPDIR", "TEMP", "TMP"):
        monkeypatch.setenv(name, str(tmp_path / "nowhere"))
    noise = np.random.default_rng(0).integers(0, 256, 6_000_000, np.uint8).tobytes()
    with started(tiny_registry, {"port": 0, "model": "tiny"}) as (port, process):
        watched = psutil.Process(process.pid)
        before = watched.io_counters().write_bytes
        for content in (picture(1) + noise, noise, picture(2)) * 3:
            url = f"http://127.0.0.1:{port}/verdicts"
            files = {"img": ("/home/me/secret-name.jpg", content)}
            answer = httpx.post(url, files=files, timeout=60)
            assert answer.status_code == 200
            broken = {"Content-Type": MULTIPART}
            answer = httpx.post(url, headers=broken, content=b"--b\r\n\r secret-part" + noise[:999])
            assert answer.status_code == 400
            assert raw(port, b"GET /secret-path\r\n\r\n").startswith(b"HTTP/1.1 400 ")
            assert not [file for file in watched.open_files() if "delete" in file.path]
        # Of files alone: pictures go through a pipe to the process that decodes them.
        assert watched.io_counters().write_bytes - before < 100_000
        process.terminate()
        assert process.wait(30) == 0
        assert process.stderr.read() == ""


def test_the_parser_itself_would_have_used_the_disk(monkeypatch: pytest.MonkeyPatch):
    """The test above can fail: without our parser a large file goes to the temporary folder."""
    from starlette.formparsers import MultiPartParser

    from deepfake_core.serve.uploads import InMemoryParser

    monkeypatch.setattr(tempfile, "tempdir", os.fspath(Path("/nowhere")))
    assert 0 < MultiPartParser.spool_max_size < 6_000_000
    for size, fails in ((MultiPartParser.spool_max_size, True), (0, False)):
        refusal = pytest.raises(FileNotFoundError) if fails else nullcontext()
        with tempfile.SpooledTemporaryFile(max_size=size) as spooled, refusal:
            spooled.write(b"x" * 6_000_000)
    assert InMemoryParser.spool_max_size == 0


def test_until_the_model_can_score(
    tiny_registry: Path, picture: Picture, monkeypatch: pytest.MonkeyPatch
):
    may_load = threading.Event()

    def slow(*given: object, **options: object) -> object:
        may_load.wait(30)
        return open_classifier(*given, **options)

    monkeypatch.setattr("deepfake_core.serve.service.open_classifier", slow)
    serving = Serving(ServeConfig(port=0, model="tiny"), registry=tiny_registry)
    thread = threading.Thread(target=serving.run)
    thread.start()
    url = address(serving)
    try:
        for path, status in (("/healthz", 200), ("/", 200), ("/model", 200), ("/readyz", 503)):
            answer = httpx.get(url + path, timeout=30)
            assert answer.status_code == status
        assert code_of(answer) == "request.busy"
        answer = httpx.post(f"{url}/upload_image", files={"img": picture(1)})
        assert (answer.status_code, code_of(answer)) == (429, "request.busy")
        assert answer.headers["retry-after"] == "1"
        may_load.set()
        until_ready(url)
        assert httpx.post(f"{url}/upload_image", files={"img": picture(1)}).status_code == 200
    finally:
        may_load.set()
        serving.stop()
        thread.join(30)


def test_a_damaged_model_ends_the_command(
    two_models: Path, monkeypatch: pytest.MonkeyPatch, capsys
):
    weights = two_models / "tiny" / "2" / "weights.npz"
    weights.write_bytes(weights.read_bytes()[:-1] + b"?")
    with pytest.raises(ModelError, match="changed or damaged"):
        Serving(ServeConfig(port=0, model="tiny"), registry=two_models).run()

    def fail(*given: object, **options: object) -> None:
        raise RuntimeError("no memory")

    monkeypatch.setattr("deepfake_core.serve.service.open_classifier", fail)
    with pytest.raises(DeepfakeError, match="could not be loaded: no memory"):
        Serving(ServeConfig(port=0, model="tiny@1"), registry=two_models).run()
    assert main(["serve", "--port", "0"]) == 1
    assert "could not be loaded: no memory" in capsys.readouterr().err


def test_a_failure_of_the_service_has_the_same_shape(
    tiny_registry: Path, picture: Picture, monkeypatch: pytest.MonkeyPatch
):
    with running(tiny_registry) as serving, monkeypatch.context() as patch:
        engine = serving.service._batcher._classifier.engine

        def fail(pixels: object) -> None:
            raise RuntimeError("a bug")

        patch.setattr(engine, "logits", fail)
        url = f"{address(serving)}/upload_image"
        answer = httpx.post(url, files={"img": picture(1)})
        assert (answer.status_code, code_of(answer)) == (500, "request.failed")
        patch.undo()
        assert httpx.post(url, files={"img": picture(1)}).status_code == 200
