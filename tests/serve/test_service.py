"""The HTTP service answers as its contract says, and as a scan does."""

import csv
import datetime as dt
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pyarrow.parquet as pq
import pytest

from deepfake_core.cli import main
from deepfake_core.inference.opening import Choice, choose_networks, open_classifier
from deepfake_core.models.registry import find_model
from deepfake_core.results.schema import VERDICTS
from deepfake_core.scanning.config import ScanConfig
from deepfake_core.scanning.scan import scan
from deepfake_core.serve.uploads import safe_name
from tests.support.serving import address, code_of, running, until_ready
from tests.support.zoo import ZOO

SAMPLES = Path(__file__).resolve().parents[2] / "data" / "samples"

Picture = Callable[..., bytes]
DEEPFAKE = Path(sys.executable).parent / "deepfake"


@pytest.fixture(scope="module")
def client(tiny_registry: Path) -> Iterator[httpx.Client]:
    with (
        running(tiny_registry) as serving,
        httpx.Client(base_url=address(serving), timeout=60) as client,
    ):
        yield client


def files(*contents: bytes | tuple[str, bytes]) -> list[tuple[str, object]]:
    return [("img", one if isinstance(one, tuple) else ("a.jpg", one)) for one in contents]


def test_the_state_of_the_service(client: httpx.Client):
    for path in ("/", "/healthz", "/readyz"):
        assert client.get(path).json() == {"status": "ok"}
        head = client.head(path)
        assert (head.status_code, head.content) == (200, b"")
    facts = client.get("/model").json()
    assert facts["model_id"].startswith("tiny@1+")
    assert facts["thresholds"] == {"real_below": 0.4, "fake_from": 0.6}
    assert facts["calibration"]["temperature"] == 0.5
    assert (facts["faces"], facts["finder_id"]) == ("frame", None)
    assert facts["trained_on"] == "nothing: its weights are random"
    assert facts["card"] is None
    assert facts["request_limits"]["max_files"] == 32


def test_one_image_gets_two_probabilities(client: httpx.Client, picture: Picture):
    for seed in range(3):
        answer = client.post("/upload_image", files=files(picture(seed)))
        assert answer.status_code == 200
        fake, real = answer.json()
        assert 0 <= fake <= 1
        assert fake + real == pytest.approx(1, abs=1e-12)
        (verdict,) = client.post("/verdicts", files=files(picture(seed))).json()
        assert verdict["score"] == pytest.approx(fake, abs=1e-4)


def test_scores_are_those_of_a_scan(
    client: httpx.Client, image_folder: Callable[..., Path], tiny_registry: Path, tmp_path: Path
):
    folder = image_folder(7, broken=True)
    config = ScanConfig(source=str(folder), output=str(tmp_path), model="tiny", thumbnails=False)
    published = scan(config, registry=tiny_registry)["verdicts"]
    rows = {row["image"]: row for row in pq.read_table(published).to_pylist()}
    uploads = [(path, (folder / path).read_bytes()) for path in rows]

    verdicts = client.post("/verdicts", files=files(*uploads)).json()

    assert len(verdicts) == len(rows) == 10
    for verdict, row in zip(verdicts, rows.values(), strict=True):
        assert list(verdict) == VERDICTS.names
        assert verdict["image"] == Path(row["image"]).name
        assert verdict["source"] == "upload"
        assert verdict["run_id"] is verdict["etag"] is None
        assert dt.datetime.fromisoformat(verdict["run_started"]).utcoffset() == dt.timedelta(0)
        same = {"sha256", "bytes", "status", "failure", "detail", "format", "width", "height"}
        for name in same | {"label", "model_id"}:
            assert verdict[name] == row[name], name
        for name in ("score", "logit"):
            assert verdict[name] == (row[name] and pytest.approx(row[name], abs=1e-4))


@pytest.mark.parametrize("name", ZOO)
def test_odd_images_get_their_verdict_or_their_code(client: httpx.Client, name: str):
    content, status, failure = ZOO[name]
    (verdict,) = client.post("/verdicts", files=files(content)).json()
    assert (verdict["status"], verdict["failure"]) == (status, failure)
    answer = client.post("/upload_image", files=files(content))
    if failure:
        assert (answer.status_code, code_of(answer)) == (422, failure)
    else:
        assert answer.status_code == 200


def test_the_collection_of_odd_images_through_both_routes(client: httpx.Client, shared: Path):
    collection = shared / "odd_images"
    wrong = []
    with (collection / "odd_images.csv").open(newline="") as table:
        rows = list(csv.DictReader(table))
    for row in rows:
        content = (collection / row["path"]).read_bytes()
        answer = client.post("/upload_image", files=files((row["path"], content)))
        (verdict,) = client.post("/verdicts", files=files((row["path"], content))).json()
        found = (verdict["status"], verdict["failure"] or "")
        told = ("ok", "") if answer.status_code == 200 else ("failed", code_of(answer))
        expected = (row["expected_status"], row["expected_failure"])
        if found != told or (row["expected_status"] and found != expected):
            wrong.append((row["path"], found, told))
        assert answer.status_code in (200, 422)
        assert verdict["image"] == Path(row["path"]).name
    assert len(rows) > 100
    assert wrong == []


def test_images_of_one_request_keep_their_order(client: httpx.Client, picture: Picture):
    contents = [picture(seed) for seed in range(20)] + [b"no image"]
    alone = [client.post("/verdicts", files=files(one)).json()[0] for one in contents]
    together = client.post("/verdicts", files=files(*contents)).json()
    assert [one["sha256"] for one in together] == [one["sha256"] for one in alone]
    scores = [one["score"] for one in alone]
    assert [one["score"] for one in together] == pytest.approx(scores, abs=1e-4)


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("../../etc/passwd", "passwd"),
        (r"C:\Users\me\face.png", "face.png"),
        ("/absolute/", "upload"),
        ("..", "upload"),
        ("", "upload"),
        (None, "upload"),
        ("a\nb\x00\u202egpj.exe", "a\ufffdb\ufffd\ufffdgpj.exe"),
        ("n" * 500, "n" * 200),
        ("Gesicht ü 顔.jpg", "Gesicht ü 顔.jpg"),
    ],
)
def test_file_names_are_made_safe(given: str | None, shown: str):
    assert safe_name(given) == shown


def test_a_name_like_a_path_is_only_a_name(client: httpx.Client, picture: Picture):
    names = ["../../../etc/passwd", "..\\..\\boot.ini", "a b/ü.jpg"]
    answer = client.post("/verdicts", files=files(*((name, picture(1)) for name in names)))
    assert [one["image"] for one in answer.json()] == ["passwd", "boot.ini", "ü.jpg"]


def test_the_description_tells_every_field_and_error(client: httpx.Client):
    described = client.get("/openapi.json").json()
    schemas = described["components"]["schemas"]
    assert list(schemas["Verdict"]["properties"]) == VERDICTS.names
    for name in ("Verdict", "ModelFacts", "Limits", "Health", "ErrorFacts"):
        for field, about in schemas[name]["properties"].items():
            assert about.get("description"), f"{name}.{field}"
    for path in ("/upload_image", "/verdicts"):
        route = described["paths"][path]["post"]
        assert route["requestBody"]["content"].keys() == {"multipart/form-data"}
        assert set(route["responses"]) == {"200", "400", "401", "408", "413", "415", "422", "429"}
        for status, answer in route["responses"].items():
            if status != "200":
                assert answer["content"]["application/json"]["schema"]["$ref"].endswith("Problem")


def test_the_figures_count_what_happened(client: httpx.Client, picture: Picture):
    def figures() -> dict[str, float]:
        lines = client.get("/metrics").text.splitlines()
        pairs = (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
        return {key: float(value) for key, value in pairs}

    before = figures()
    client.post("/verdicts", files=files(("secret-name.jpg", picture(1)), b"text"))
    client.get("/secret-path")
    after = figures()
    answered = 'deepfake_requests_total{path="/verdicts",status="200"}'
    assert after[answered] == before.get(answered, 0) + 1
    unsupported = 'deepfake_images_total{outcome="decode.unsupported"}'
    assert after[unsupported] == before.get(unsupported, 0) + 1
    assert after['deepfake_requests_total{path="other",status="404"}'] >= 1
    assert after["deepfake_ready"] == 1
    assert after["deepfake_images_waiting"] == after["deepfake_upload_bytes"] == 0
    assert "secret" not in client.get("/metrics").text


def test_tokens(tiny_registry: Path, tmp_path: Path, picture: Picture, capsys):
    path = tmp_path / "tokens"
    assert main(["serve", "--tokens", str(path), "--new-token", "newsroom"]) == 0
    token = capsys.readouterr().out.strip()
    assert len(token) >= 43
    assert token not in path.read_text()
    assert path.stat().st_mode & 0o077 == 0
    assert main(["serve", "--tokens", str(path), "--new-token", "newsroom"]) == 2
    assert main(["serve", "--new-token", "newsroom"]) == 2

    with (
        running(tiny_registry, tokens=str(path)) as serving,
        httpx.Client(base_url=address(serving)) as client,
    ):
        for header in (None, "Bearer wrong", f"Basic {token}", "Bearer", f"Bearer {token}x"):
            headers = {"Authorization": header} if header else {}
            for route in ("/upload_image", "/verdicts"):
                answer = client.post(route, files=files(picture(1)), headers=headers)
                assert (answer.status_code, code_of(answer)) == (401, "request.unauthorised")
                assert answer.headers["www-authenticate"] == "Bearer"
            assert client.get("/model", headers=headers).status_code == 401
        assert client.get("/").status_code == client.get("/readyz").status_code == 200
        good = {"Authorization": f"Bearer {token}"}
        answer = client.post("/upload_image", files=files(picture(1)), headers=good)
        assert answer.status_code == 200


def test_other_origins_may_not_read_answers_unless_configured(
    client: httpx.Client, tiny_registry: Path
):
    origin = {"Origin": "https://news.example"}
    assert "access-control-allow-origin" not in client.get("/", headers=origin).headers
    with running(tiny_registry, allow_origin=("https://news.example",)) as serving:
        answer = httpx.get(address(serving), headers=origin)
        assert answer.headers["access-control-allow-origin"] == "https://news.example"
        other = httpx.get(address(serving), headers={"Origin": "https://evil.example"})
        assert "access-control-allow-origin" not in other.headers


def test_wrong_settings_are_told(tiny_registry: Path, tmp_path: Path, capsys, client: httpx.Client):
    taken = str(client.base_url.port)
    assert main(["serve", "--port", taken]) == 2
    assert f"cannot listen on 127.0.0.1:{taken}" in capsys.readouterr().err
    assert main(["serve", "--port", "many"]) == 2
    assert main(["serve", "--model", "nobody"]) == 2
    (tmp_path / "tokens").write_text("newsroom hunter2\n")
    assert main(["serve", "--port", "0", "--tokens", str(tmp_path / "tokens")]) == 2
    assert "line 1: expected NAME sha256:DIGEST" in capsys.readouterr().err


@pytest.fixture(scope="module")
def command() -> Iterator[tuple[subprocess.Popen[str], str]]:
    """``deepfake serve`` with the model that ships, its port from the environment."""
    environment = {**os.environ, "PORT": "0"}
    with subprocess.Popen(
        [DEEPFAKE, "serve"], stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        line = process.stderr.readline()
        found = re.search(r"http://127\.0\.0\.1:\d+", line)
        assert found, line
        try:
            until_ready(found[0])
            yield process, found[0]
        finally:
            if process.poll() is None:
                process.kill()


@pytest.mark.processes
def test_the_command_serves_the_model_that_ships(
    command: tuple[subprocess.Popen[str], str],
):
    """Last of all it is stopped: the request that has begun is answered, then it ends."""
    process, url = command
    bundle = find_model("resnet50")
    facts = httpx.get(f"{url}/model").json()
    assert facts["model_id"] == bundle.model_id
    assert facts["card"] == (bundle.folder / "card.md").read_text()
    assert facts["figures"]
    assert facts["limits"]
    contents = [path.read_bytes() for path in sorted(SAMPLES.glob("[pr]*.jpg"))] * 2
    classifier = open_classifier(choose_networks(bundle, Choice(precision=facts["precision"])))
    expected = [one.score for one in classifier.judge(contents).judgements]
    tolerance = bundle.description.tolerances[facts["precision"]]
    alone = httpx.post(f"{url}/upload_image", files=files(contents[0]), timeout=60).json()
    assert alone[0] == pytest.approx(expected[0], abs=tolerance)

    answers = []
    last = threading.Thread(
        target=lambda: answers.append(
            httpx.post(f"{url}/verdicts", files=files(*contents), timeout=60)
        )
    )
    last.start()
    end = time.monotonic() + 30
    while time.monotonic() < end and "deepfake_images_waiting 18.0" not in _metrics(url):
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    last.join(60)
    assert [one["score"] for one in answers[0].json()] == pytest.approx(expected, abs=tolerance)
    assert process.wait(30) == 0
    assert process.stderr.read() == ""


def _metrics(url: str) -> str:
    return httpx.get(f"{url}/metrics").text
