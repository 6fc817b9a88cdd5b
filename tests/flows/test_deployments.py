"""What people are told of a deployment's runs, and what is never told."""

import datetime as dt
import http.server
import json
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from deepfake_core.reporting.summary_record import Summary
from tests.support.made_server import ROOT
from tests.support.ports import free_port
from tests.support.webhook import Hook, listening

pytestmark = pytest.mark.processes

NOW = dt.datetime(2026, 11, 25, 8, tzinfo=dt.UTC)


@pytest.fixture(scope="module")
def notices() -> Any:
    # Imported here: Prefect takes seconds.
    import flows.notices as module

    return module


@pytest.fixture(scope="module")
def watch() -> Any:
    import flows.watch as module

    return module


@pytest.fixture
def hook() -> Iterator[Any]:
    with listening() as hook:
        yield hook


def test_post_tells_once_and_says_what_went_wrong_without_the_address(notices, hook, caplog):
    with caplog.at_level("DEBUG"):
        assert notices.post(f"{hook.url}/200", {"judged": 3}) is None
        assert notices.post(f"{hook.url}/500", {"judged": 3}) == "it answered 500"
        # A redirect may lead anywhere, so it is not followed.
        assert notices.post(f"{hook.url}/307", {"judged": 3}) == "it answered 307"
        assert notices.post(f"http://127.0.0.1:{free_port()}/secret", {}) == "ConnectError"
        assert notices.post("http://127.0.0.1:port/secret", {}) == "InvalidURL"
        assert notices.post("secret", {}) == "UnsupportedProtocol"
    assert hook.told == [(f"/{code}", {"judged": 3}) for code in (200, 500, 307)]
    assert "secret" not in caplog.text


def test_a_webhook_that_does_not_answer_is_given_up(notices, monkeypatch):
    monkeypatch.setattr(notices, "WEBHOOK_SECONDS", 0.2)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hook) as silent:
        address = f"http://127.0.0.1:{silent.server_port}/200"
        assert notices.post(address, {}) == "ReadTimeout"


def test_digest_holds_counts_and_links_and_no_image(notices):
    summary = {
        "run_id": "night",
        "source": "s3://bucket\n/up",
        "model_id": "tiny@1",
        "listed": 5,
        "judged": 3,
        "failed": 1,
        "labels": {"fake": 1, "real": 2, "uncertain": 0},
        "failures": {"read.denied": 1},
        "highest": [{"image": "anna.jpg", "score": 0.9, "label": "fake"}],
        "failed_images": [{"image": "bert.jpg", "failure": "read.denied"}],
        "warnings": [
            {"measure": "fakes", "now": 0.3, "before": 0.1, "statistic": 9, "limit": 4}
            | {"words": "more fakes"}
        ],
    }
    digest = notices.digest_of(Summary.model_validate(summary), "s3://out/report.html")
    assert digest["source"] == "s3://bucket\\n/up"
    assert digest["warnings"] == ["More fakes."]
    assert digest["report"] == "s3://out/report.html"
    assert digest["labels"]["fake"] == 1
    assert "anna" not in json.dumps(digest)
    assert "bert" not in json.dumps(digest)


def a_run(name: str, state: Any, *, hour: int = 2, started: bool = True) -> Any:
    due = NOW.replace(hour=hour)
    return SimpleNamespace(
        name=name,
        state=state,
        state_name=state.name,
        expected_start_time=due,
        start_time=due if started else None,
    )


def test_watch_says_what_is_wrong(watch):
    from prefect import states

    def problem(*runs: Any) -> str | None:
        return watch.problem_of(list(runs), 8)

    completed = a_run("red-fox", states.Completed())
    failed = a_run("old-owl", states.Failed(message="no such bucket"), hour=3)
    assert problem(completed) is None
    assert problem(completed, failed) is None
    assert problem() == "no run was due within 8 hours; is its schedule paused?"
    late = a_run("red-fox", states.Scheduled(), started=False)
    assert problem(late) == "run red-fox did not start; its state is Scheduled"
    assert problem(a_run("red-fox", states.Running())) == (
        "run red-fox started and did not finish; its state is Running"
    )
    assert problem(failed) == "run old-owl ended as Failed: no such bucket"
    assert problem(failed, late) == "run old-owl ended as Failed: no such bucket"
    assert watch.problem_of(None, 8) == "there is no such deployment"


def test_form_of_the_watch_is_described(watch):
    from prefect.utilities.callables import parameter_schema

    form = parameter_schema(watch.watch).model_dump()["definitions"]["WatchConfig"]["properties"]
    assert all(field["description"] and "default" in field for field in form.values())


def test_prefect_yaml_holds_only_what_prefect_and_the_flows_know():
    from deepfake_core.retraining.config import RetrainConfig
    from deepfake_core.scanning.config import ScanConfig
    from flows.pool import HEAVY, POOL
    from flows.watch import WatchConfig

    described = yaml.safe_load((ROOT / "prefect.yaml").read_text())
    assert described["pull"] == [{"flows.place.enter": {}}]
    known = {"name", "description", "entrypoint", "work_pool", "concurrency_limit", "schedules",
             "parameters", "tags"}  # fmt: skip
    kinds = {"scan": ScanConfig, "nightly-scan": ScanConfig, "retrain": RetrainConfig,
             "watch": WatchConfig}  # fmt: skip
    assert [found["name"] for found in described["deployments"]] == list(kinds)
    for found in described["deployments"]:
        assert set(found) <= known
        # As a module: a path would hold in the checkout only.
        module, _, name = found["entrypoint"].rpartition(".")
        assert module == f"flows.{name}"
        kinds[found["name"]].model_validate(found["parameters"]["config"])
        assert found["work_pool"]["name"] == POOL
        heavy = found["work_pool"]["work_queue_name"] == HEAVY
        assert heavy == (found["name"] != "watch")
        assert all(set(one) == {"cron", "timezone"} for one in found.get("schedules", ()))


def test_the_environment_names_the_webhook_before_the_block(notices, monkeypatch):
    monkeypatch.setenv("DEEPFAKE_WEBHOOK_URL", "http://127.0.0.1:1/from-environment")
    assert notices.webhook_url() == "http://127.0.0.1:1/from-environment"


def test_automations_are_what_prefect_understands_and_name_what_exists(notices):
    from prefect.events.schemas.automations import Posture

    from flows import watch
    from flows.automations import NIGHTLY, NOTICES, automation_of
    from flows.retrain import retrain
    from flows.scan import scan

    made = {notice.name: automation_of(notice, None) for notice in NOTICES}
    failed, drift, suspect, missed, absent = (one.trigger for one in made.values())
    assert failed.match_related.root["prefect.resource.name"] == [scan.name, retrain.name]
    assert drift.expect == {notices.DRIFT}
    assert suspect.expect == {notices.SUSPECT}
    assert missed.expect == {watch.MISSED}
    assert absent.posture is Posture.Proactive
    deployments = yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]
    (nightly,) = (found for found in deployments if found["name"] == NIGHTLY)
    assert absent.match_related.root["prefect.resource.name"] == nightly["name"]
    # A night that took all its minutes, after one that took none, is no alarm.
    longest = 24 * 60 + nightly["parameters"]["config"]["max_minutes"]
    assert absent.within > dt.timedelta(minutes=longest)


def test_automations_need_a_server(monkeypatch, capsys):
    from prefect.settings import PREFECT_API_URL, temporary_settings

    from flows.automations import main

    with temporary_settings(restore_defaults={PREFECT_API_URL}):
        assert main([]) == 2
    assert "set PREFECT_API_URL" in capsys.readouterr().err
    nobody = f"http://127.0.0.1:{free_port()}/api"
    with temporary_settings(updates={PREFECT_API_URL: nobody}):
        assert main([]) == 2
    assert f"expected a Prefect server at {nobody}, found none" in capsys.readouterr().err
    with listening() as other, temporary_settings(updates={PREFECT_API_URL: other.url}):
        assert main([]) == 2
    assert f"the Prefect server at {other.url} answered 501" in capsys.readouterr().err


def test_a_taken_port_is_refused_before_anything_starts(capsys):
    from flows.server import main

    with http.server.HTTPServer(("127.0.0.1", 0), Hook) as taken:
        assert main(["--port", str(taken.server_port)]) == 2
    said = capsys.readouterr()
    assert f"expected port {taken.server_port} of 127.0.0.1 to be free" in said.err
    assert not said.out
