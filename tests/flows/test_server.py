"""`make server`: a real server and worker, runs from the API and from Prefect's form."""

import contextlib
import datetime as dt
import http.server
import json
import os
import shutil
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import psutil
import pytest

from deepfake_core.models.registry import find_model
from deepfake_core.reporting.drift import DriftLimits
from deepfake_core.reporting.summary import BINS
from deepfake_core.scanning.config import ScanConfig
from tests.support.lookups import SILENCERS, Watched
from tests.support.made_server import Running, running_server
from tests.support.webhook import listening, wait_until_told

pytestmark = [pytest.mark.processes, pytest.mark.timeout(900)]

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
FINAL = {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}
NAMES = ["scan/nightly-scan", "retrain/retrain", "scan/scan", "watch/watch"]
SECRET_PATH = "/hook/k7-very-secret"
RUN_SECONDS = 400
# On a busy machine the start of each of Prefect's processes takes a minute and more.


@pytest.fixture(scope="module")
def hook() -> Iterator[Any]:
    with listening() as hook:
        yield hook


@pytest.fixture(scope="module")
def server(hook: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("server")
    loud = {**dict.fromkeys(SILENCERS, ""), **Watched(folder).hook()}
    with running_server(folder, DEEPFAKE_WEBHOOK_URL=hook.url + SECRET_PATH, **loud) as server:
        yield server
    assert Watched(folder).looked_up() == []


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    samples = Path(__file__).resolve().parents[2] / "data" / "samples"
    for name in ("render-01.jpg", "render-02.jpg", "portrait-astronaut.jpg", "not-an-image.jpg"):
        shutil.copy(samples / name, folder)
    return folder


def post(server: Running, path: str, **content: object) -> Any:
    for _ in range(10):
        answer = httpx.post(f"{server.api}{path}", json=content, timeout=60, auth=server.login)
        # Its database was locked; Prefect's own client asks again, too.
        if answer.status_code != httpx.codes.SERVICE_UNAVAILABLE:
            break
        time.sleep(1)
    assert answer.is_success, answer.text
    return answer.json()


def login_of(server: Running) -> str:
    return ":".join(server.login)


def get(server: Running, path: str) -> Any:
    answer = httpx.get(f"{server.api}{path}", timeout=60, auth=server.login)
    assert answer.is_success, answer.text
    return answer.json()


def start(server: Running, name: str, **parameters: object) -> str:
    """Start a run of a deployment through the API; returns its id."""
    deployment = get(server, f"/deployments/name/{name}")
    path = f"/deployments/{deployment['id']}/create_flow_run"
    return post(server, path, parameters=parameters)["id"]


def finished(server: Running, run: str) -> Any:
    """A run once it has ended."""
    until = time.monotonic() + RUN_SECONDS
    while time.monotonic() < until:
        # Prefect's database may be locked for a minute on a busy machine: then ask again.
        with contextlib.suppress(httpx.TimeoutException):
            if (found := get(server, f"/flow_runs/{run}"))["state_type"] in FINAL:
                return found
        time.sleep(0.5)
    pytest.fail("".join(server.said))


def artifacts_of(server: Running, run: str) -> dict[str, Any]:
    found = post(server, "/artifacts/filter", artifacts={"flow_run_id": {"any_": [run]}})
    return {artifact["key"]: artifact for artifact in found}


def test_everything_is_deployed(server):
    found = post(server, "/deployments/filter")
    assert sorted(deployment["name"] for deployment in found) == sorted(
        name.partition("/")[2] for name in NAMES
    )
    by_name = {deployment["name"]: deployment for deployment in found}
    assert {name: found["work_queue_name"] for name, found in by_name.items()} == {
        "scan": "default",
        "nightly-scan": "default",
        "retrain": "default",
        "watch": "light",
    }
    assert all(deployment["work_pool_name"] == "scans" for deployment in found)
    (nightly,) = by_name["nightly-scan"]["schedules"]
    assert (nightly["active"], nightly["schedule"]["cron"]) == (True, "0 2 * * *")
    assert nightly["schedule"]["timezone"] == "UTC"
    (watched,) = by_name["watch"]["schedules"]
    assert watched["schedule"]["cron"] == "0 8 * * *"
    assert not by_name["scan"]["schedules"]
    assert any(f"Deployed and running: {server.address}" in line for line in server.said)


def test_it_listens_on_this_machine_only_and_tells_nobody(server):
    settings = get(server, "/admin/settings")
    assert settings["server"]["analytics_enabled"] is False
    assert settings["server"]["ui"]["v2_enabled"] is False
    assert settings["server"]["api"]["host"] == "127.0.0.1"
    lease = settings["server"]["concurrency"]["lease_storage"]
    assert lease == "prefect.server.concurrency.lease_storage.filesystem"


# Who may use it


def test_it_asks_who_wants_what(server):
    assert httpx.get(f"{server.api}/health").json() is True
    for auth in (None, ("deepfake", "guessed"), ("admin", server.login[1])):
        answer = httpx.post(f"{server.api}/deployments/filter", json={}, auth=auth)
        assert answer.status_code == 401, auth
    file = server.home / "deepfake-login"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert str(file) in "".join(server.said)
    assert server.login[1] not in "".join(server.said)


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example"])
def test_a_site_that_takes_its_name_is_refused(server, host):
    for path in ("/", "/api/health", "/api/admin/settings"):
        answer = httpx.get(server.address + path, headers={"host": host}, auth=server.login)
        assert answer.status_code == 400, path


def test_only_its_own_pages_may_read_its_answers(server):
    assert "default-src 'self'" in httpx.get(server.address).headers["content-security-policy"]
    asked = {"access-control-request-method": "POST", "origin": "http://evil.example:18098"}
    url = f"{server.api}/deployments/filter"
    refused = httpx.options(url, headers=asked)
    assert refused.status_code == 400
    assert "access-control-allow-origin" not in refused.headers
    own = httpx.options(url, headers={**asked, "origin": server.address})
    assert own.headers["access-control-allow-origin"] == server.address


def test_who_may_start_a_run_does_not_choose_its_command(server, tmp_path):
    """Neither for one run nor, by changing the deployment, for all of them."""
    watch = get(server, "/deployments/name/watch/watch")
    url, mark = f"{server.api}/deployments/{watch['id']}", tmp_path / "pwned"
    variables = {
        "command": f"touch {mark}",
        "working_dir": "/proc",
        "env": {"PATH": "/nowhere", "DEEPFAKE_HOME": "/proc"},
    }
    for name, value in variables.items():
        job = {"job_variables": {name: value}}
        refused = httpx.post(f"{url}/create_flow_run", json=job, auth=server.login)
        assert refused.is_client_error, refused.text
    for job in (variables, {}):
        httpx.patch(url, json={"job_variables": job}, auth=server.login).raise_for_status()
        if job:
            # Prefect lets a deployment keep them; they change nothing, or the run is refused.
            answer = httpx.post(f"{url}/create_flow_run", json={}, auth=server.login)
            assert answer.is_client_error or finished(server, answer.json()["id"])
    assert not mark.exists()


def started_by_hand(server: Running) -> int:
    return sum(not run["auto_scheduled"] for run in post(server, "/flow_runs/filter"))


EVIL = """<script>
(async () => {
  const api = "%s/api", headers = {"content-type": "application/json"};
  const ask = (path, body) => fetch(api + path, {method: "POST", headers, body:
    JSON.stringify(body)}).then(answer => answer.json());
  const found = await ask("/deployments/filter", {});
  const run = await ask("/deployments/" + found[0].id + "/create_flow_run",
    {job_variables: {command: "touch %s"}});
  document.title = "started " + run.id;
})().catch(error => document.title = "failed " + error);
</script>"""


@contextlib.contextmanager
def site(page: str) -> Iterator[int]:
    """A site of somebody else; gives its port."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("content-type", "text/html")
            self.end_headers()
            self.wfile.write(page.encode())

        def log_message(self, *arguments):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as serving:
        threading.Thread(target=serving.serve_forever, daemon=True).start()
        yield serving.server_port
        serving.shutdown()


@pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this machine")
def test_a_page_in_the_browser_of_the_operator_starts_nothing(server, tmp_path):
    from playwright.sync_api import sync_playwright

    before = started_by_hand(server)
    mark = tmp_path / "pwned"
    with sync_playwright() as playwright, site(EVIL % (server.address, mark)) as port:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM,
            args=["--no-sandbox", "--host-resolver-rules=MAP evil.example 127.0.0.1"],
        )
        page = browser.new_page()
        page.goto(f"http://evil.example:{port}/")
        page.wait_for_function("document.title != ''", timeout=60_000)
        assert page.title().startswith("failed TypeError: Failed to fetch")
        browser.close()
    assert started_by_hand(server) == before
    assert not mark.exists()


def test_kinds_of_workers_are_known_without_asking_elsewhere(server):
    assert "prefect-kubernetes" in get(server, "/collections/views/aggregate-worker-metadata")


# Runs


def test_the_nights_to_come_are_scheduled(server):
    until = time.monotonic() + 90
    while True:
        runs = post(server, "/flow_runs/filter", deployments={"name": {"any_": ["nightly-scan"]}})
        if runs:
            break
        assert time.monotonic() < until, "no run of nightly-scan was scheduled"
        time.sleep(1)
    assert {run["state_type"] for run in runs} == {"SCHEDULED"}
    assert {run["expected_start_time"][11:19] for run in runs} == {"02:00:00"}


def events_of(server: Running, name: str, *, at_least: int) -> list[Any]:
    """The payloads of events; they reach the server with a delay."""
    until = time.monotonic() + 60
    while True:
        found = post(server, "/events/filter", filter={"event": {"name": [name]}})["events"]
        if len(found) >= at_least:
            return [event["payload"] for event in found]
        assert time.monotonic() < until, f"no event {name}"
        time.sleep(0.5)


def put_unlike_run(output: Path, source: Path) -> None:
    """A finished run of the same source and model, without fakes and without failures."""
    summary = {
        "run_id": "20261101T020000Z-past",
        "source": str(source),
        "model_id": find_model("resnet50").model_id,
        "finished": "2026-11-01T02:10:00+00:00",
        "judged": 3000,
        "failed": 0,
        "labels": {"fake": 0, "real": 3000, "uncertain": 0},
        "histogram": {"counts": [3000] + [0] * (BINS - 1)},
    }
    folder = output / "runs" / summary["run_id"]
    folder.mkdir(parents=True)
    (folder / "summary.json").write_text(json.dumps(summary))


def test_two_runs_of_one_scan_wait_for_each_other(server, hook, pictures, tmp_path):
    output = tmp_path / "out"
    put_unlike_run(output, pictures)
    config = {"source": str(pictures), "output": str(output), "run_id": "twice"}
    first = start(server, "scan/scan", config=config, drift={"min_images": 3})
    second = start(server, "scan/nightly-scan", config=config)
    runs = sorted((finished(server, run) for run in (first, second)), key=lambda r: r["start_time"])
    assert [run["state_type"] for run in runs] == ["COMPLETED", "COMPLETED"]
    assert runs[0]["end_time"] <= runs[1]["start_time"], "both used the processors at once"
    # The one that waited found the work done: nothing was judged twice.
    assert runs[0]["state"]["message"] == runs[1]["state"]["message"]
    assert runs[0]["state"]["message"].startswith("Of 3 judged images")
    assert [path.name for path in output.glob("verdicts/*/*")] == ["twice.parquet"]

    shown = artifacts_of(server, first)
    folder = output / "runs" / "twice"
    keys = {"scan-summary", "scan-highest-scores", "scan-report", "scan-warnings"}
    assert set(shown) == keys
    assert set(artifacts_of(server, second)) == keys
    assert shown["scan-summary"]["data"] == (folder / "summary.md").read_text()
    assert "The share of fakes is 67 %, and was 0 %" in shown["scan-warnings"]["data"]

    summary = json.loads((folder / "summary.json").read_text())
    assert summary["labels"]["fake"] == 2, "choose other samples: the hook is told of fakes"
    path, told = next(
        (path, said)
        for path, said in hook.told
        if said.get("run_id") == "twice" and said["warnings"]
    )
    assert path == SECRET_PATH
    assert told["event"] == "deepfake.scan.findings"
    assert (told["judged"], told["labels"]) == (3, summary["labels"])
    assert told["flow_run"].startswith(f"{server.address}/")
    assert not any(name.name in json.dumps(told) for name in pictures.iterdir())
    drift = events_of(server, "deepfake.scan.drift", at_least=3)
    assert {event["measure"] for event in drift} == {"fakes", "failures", "scores"}
    assert events_of(server, "deepfake.scan.findings", at_least=2)[0]["labels"]["fake"] == 2


def test_a_failed_run_is_told_of_and_the_secret_is_nowhere(server, hook, tmp_path):
    config = {"source": str(tmp_path / "missing"), "output": str(tmp_path / "out")}
    run = finished(server, start(server, "scan/scan", config=config))
    assert run["state_type"] == "FAILED"
    assert run["name"] == f"scan of {config['source']}"
    # Prefect keeps tags as a set, in no order.
    assert sorted(run["tags"]) == ["deepfake", "scan"]
    assert "missing" in run["state"]["message"]
    told = next(said for _, said in hook.told if said["event"] == "deepfake.scan.failed")
    assert told["problem"] == run["state"]["message"]
    assert told["source"] == config["source"]
    logs = json.dumps(post(server, "/logs/filter"))
    assert run["id"] in logs
    for place in (logs, json.dumps(run), "".join(server.said)):
        assert SECRET_PATH not in place
    for path in server.home.rglob("*"):
        if path.is_file():
            assert SECRET_PATH.encode() not in path.read_bytes(), path


def test_the_watch_does_not_wait_for_a_scan_and_a_lost_scan_gives_up_its_place(
    server, hook, tmp_path, monkeypatch
):
    of_scan = f"/deployments/{get(server, '/deployments/name/scan/scan')['id']}/create_flow_run"
    # Nobody runs this one, but its state says so: so it is after a machine lost its power.
    lost = post(server, of_scan, state={"type": "RUNNING"})

    run = finished(server, start(server, "watch/watch", config={"deployment": "retrain/retrain"}))
    assert run["state_type"] == "FAILED"
    assert run["state"]["message"] == (
        "retrain/retrain: no run was due within 8 hours; is its schedule paused?"
    )
    told = next(said for _, said in hook.told if said["event"] == "deepfake.watch.missed")
    assert told["deployment"] == "retrain/retrain"

    monkeypatch.setenv("PREFECT_HOME", str(tmp_path))
    from flows.pool import open_pool

    assert get(server, f"/flow_runs/{lost['id']}")["state_type"] == "RUNNING"
    assert open_pool(server.api, login=login_of(server)) == [lost["name"]]
    found = get(server, f"/flow_runs/{lost['id']}")
    assert found["state_type"] == "CRASHED"
    assert "Retry it" in found["state"]["message"]
    assert open_pool(server.api, login=login_of(server)) == []


def make_block(server: Running, kind: str, name: str, **data: object) -> None:
    """Store a block, as a person does on the page Blocks."""
    of_type = get(server, f"/block_types/slug/{kind}")["id"]
    wanted = {"block_type_id": {"any_": [of_type]}}
    of_schema = post(server, "/block_schemas/filter", block_schemas=wanted)[0]["id"]
    content = {"block_type_id": of_type, "block_schema_id": of_schema, "data": data}
    post(server, "/block_documents/", name=name, **content)


def webhook_of_block(server: Running, home: Path) -> str:
    """The address that a worker without the variable finds."""
    program = "from flows.notices import webhook_url; print(webhook_url())"
    variables = {
        "PREFECT_HOME": str(home),
        "PREFECT_API_URL": server.api,
        "PREFECT_API_AUTH_STRING": login_of(server),
        "DEEPFAKE_WEBHOOK_URL": "",
    }
    found = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        check=True,
    )
    return found.stdout.strip()


def let_a_night_be_over_10_seconds_ago(server: Running) -> None:
    """Shorten the patience of the automation, and have one night complete."""
    found = post(server, "/automations/filter")
    (patient,) = (one for one in found if one["name"] == "deepfake: no night completed")
    changed = {key: patient[key] for key in ("name", "description", "enabled", "actions")}
    changed["trigger"] = patient["trigger"] | {"within": 10}
    answer = httpx.put(
        f"{server.api}/automations/{patient['id']}", json=changed, timeout=60, auth=server.login
    )
    assert answer.is_success, answer.text
    night = {
        "id": str(uuid4()),
        "occurred": dt.datetime.now(dt.UTC).isoformat(),
        "event": "prefect.flow-run.Completed",
        "resource": {"prefect.resource.id": f"prefect.flow-run.{uuid4()}"},
        "related": [
            {
                "prefect.resource.id": f"prefect.deployment.{uuid4()}",
                "prefect.resource.role": "deployment",
                "prefect.resource.name": "nightly-scan",
            }
        ],
    }
    assert httpx.post(
        f"{server.api}/events", json=[night], timeout=60, auth=server.login
    ).is_success


def test_automations_and_the_secret_block_tell_of_a_retraining_that_failed(
    server, hook, tmp_path, monkeypatch
):
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path))
    from flows.automations import NOTICES, create

    before = {one["name"]: one for one in post(server, "/automations/filter")}
    assert set(before) == {notice.name for notice in NOTICES}
    assert {action["type"] for one in before.values() for action in one["actions"]} == {
        "do-nothing"
    }
    make_block(server, "secret", "deepfake-webhook", value=f"{hook.url}{SECRET_PATH}/block")
    make_block(server, "webhook", "ops", url=f"{hook.url}{SECRET_PATH}/automation")
    assert create(server.api, login=login_of(server), block="webhook/ops") == [
        f"{one.name}: updated" for one in NOTICES
    ]
    # What somebody chose stays when the next `make server` deploys again.
    assert create(server.api, login=login_of(server)) == [
        f"{one.name}: unchanged" for one in NOTICES
    ]
    let_a_night_be_over_10_seconds_ago(server)

    config = {"data": str(tmp_path / "missing"), "output": str(tmp_path / "out")}
    run = finished(server, start(server, "retrain/retrain", config=config))
    assert run["state_type"] == "FAILED"
    told = wait_until_told(hook, SECRET_PATH, "event", "deepfake.retrain.failed")
    # Where the variable does not name the webhook, the block does.
    assert webhook_of_block(server, tmp_path) == f"{hook.url}{SECRET_PATH}/block"
    assert told["source"] == config["data"]
    assert told["problem"] == run["state"]["message"]
    path = f"{SECRET_PATH}/automation"
    said = wait_until_told(hook, path, "notice", "deepfake: run failed")
    assert said["event"] == "prefect.flow-run.Failed"
    assert said["text"].startswith(f"retrain run {run['name']}: Failed. {told['problem']}\nhttp")
    wait_until_told(hook, path, "notice", "deepfake: no night completed")
    for place in (json.dumps(post(server, "/logs/filter")), json.dumps(run), "".join(server.said)):
        assert SECRET_PATH not in place


def submit(page: Any) -> str:
    """Submit the form as a person would: again, where a busy server asks for it."""
    for _ in range(3):
        with page.expect_response("**/create_flow_run") as answer:
            page.get_by_role("button", name="Submit").click()
        if answer.value.ok:
            return answer.value.json()["id"]
        assert answer.value.status == 503, answer.value.text()
    raise AssertionError("the server stayed busy")


@pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this machine")
def test_form_starts_a_run_and_shows_what_it_found(server, pictures, tmp_path):
    from playwright.sync_api import expect, sync_playwright

    scan = get(server, "/deployments/name/scan/scan")["id"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 1600})
        page.set_default_timeout(60_000)
        expect.set_options(timeout=60_000)
        # What signing in leaves.
        keep = f"localStorage.setItem('prefect-password', btoa({login_of(server)!r}))"
        page.add_init_script(keep)
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.goto(f"{server.address}/deployments/deployment/{scan}/run")
        for field in (*ScanConfig.model_fields.values(), *DriftLimits.model_fields.values()):
            expect(page.get_by_text(field.description, exact=True)).to_be_attached()
        source, output = page.locator("textarea").nth(0), page.locator("textarea").nth(1)
        expect(source).to_have_value("data/samples")
        source.fill(str(pictures))
        output.fill(str(tmp_path / "out"))
        page.screenshot(path=tmp_path / "form.png", full_page=True)
        run = submit(page)
        assert finished(server, run)["state_type"] == "COMPLETED"
        page.goto(f"{server.address}/runs/flow-run/{run}")
        page.get_by_text("Artifacts", exact=True).click()
        for key in ("scan-summary", "scan-highest-scores", "scan-report"):
            expect(page.get_by_text(key, exact=True).first).to_be_visible()
        page.screenshot(path=tmp_path / "artifacts.png")
        page.goto(
            f"{server.address}/artifacts/artifact/{artifacts_of(server, run)['scan-summary']['id']}"
        )
        expect(page.get_by_text("Of 3 judged images").first).to_be_visible()
        page.screenshot(path=tmp_path / "summary.png")
        browser.close()
    assert asked
    assert [url for url in asked if not url.startswith((server.address, "data:", "blob:"))] == []


def test_ctrl_c_stops_all_of_it(server, pictures, tmp_path):
    """The last test of this module: it ends the server."""
    config = {"source": str(pictures), "output": str(tmp_path / "out")}
    run = start(server, "scan/scan", config=config)
    until = time.monotonic() + RUN_SECONDS
    while get(server, f"/flow_runs/{run}")["state_type"] == "SCHEDULED":
        assert time.monotonic() < until
        time.sleep(0.2)
    family = psutil.Process(server.process.pid).children(recursive=True)
    assert len(family) >= 2
    assert server.interrupt() == 0
    psutil.wait_procs(family, timeout=10)
    assert [process for process in family if process.is_running()] == []
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{server.api}/health")
