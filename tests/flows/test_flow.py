"""The flow does what the command does, and Prefect shows it."""

import json
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from deepfake_core.errors import (
    BrokenInvariant,
    ModelError,
    OutputError,
    PlanMismatch,
    SourceOutage,
    UsageError,
)
from deepfake_core.models.canaries import write_canaries
from deepfake_core.models.registry import find_model
from deepfake_core.release.canary_answers import record_first
from deepfake_core.rendering.evidence import label_words
from deepfake_core.rendering.text import as_markdown
from deepfake_core.scanning.config import ScanConfig
from deepfake_core.scanning.scan import scan as plain_scan
from tests.support.cluster_process import NO_DASHBOARD
from tests.support.prefect_server import server_of

pytestmark = pytest.mark.processes

IMAGES, SHARD_SIZE, SHARDS = 12, 5, 3
# The run, its clock, and what is compared with a tolerance.
OF_THE_RUN, CLOSE = ("run_id", "run_started"), ("logit", "score")


@pytest.fixture(scope="module")
def flows(tiny_registry: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The module of the flow, with a server that forgets everything afterwards."""
    with server_of(tmp_path_factory.mktemp("prefect")) as patch:
        import flows.scan as module

        patch.setattr(module, "REGISTRY", tiny_registry)
        yield module


@pytest.fixture(scope="module")
def source(image_folder: Callable[..., Path]) -> Path:
    return image_folder(IMAGES - 3, broken=True)


@pytest.fixture
def config(source: Path, tmp_path: Path) -> ScanConfig:
    return ScanConfig(
        source=str(source), output=str(tmp_path / "out"), model="tiny", shard_size=SHARD_SIZE
    )


def artifacts_of(flow_run_id: object) -> dict[str, Any]:
    """The artifacts of a flow run by key, as the server has them."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId

    of_run = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[flow_run_id]))
    with get_client(sync_client=True) as client:
        return {found.key: found for found in client.read_artifacts(artifact_filter=of_run)}


def task_runs_of(flow_run_id: object, *, at_least: int) -> list[str]:
    """The names of a flow run's tasks; they reach the server with a delay."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId

    of_run = FlowRunFilter(id=FlowRunFilterId(any_=[flow_run_id]))
    until = time.monotonic() + 20
    with get_client(sync_client=True) as client:
        while True:
            found = client.read_task_runs(flow_run_filter=of_run)
            if len(found) >= at_least or time.monotonic() > until:
                return sorted(run.name for run in found)
            time.sleep(0.2)


def assert_same_rows(found: str, expected: str) -> None:
    tables = [pq.read_table(path, partitioning=None) for path in (found, expected)]
    assert tables[0].num_rows == IMAGES
    for name in tables[0].column_names:
        one, other = (table[name].combine_chunks() for table in tables)
        if name in CLOSE:
            np.testing.assert_allclose(one.to_numpy(False), other.to_numpy(False), atol=1e-4)
        elif name not in OF_THE_RUN:
            assert one.equals(other), name


def test_flow_gives_what_the_scan_gives(flows, config, tiny_registry, tmp_path):
    state = flows.scan(config, return_state=True)
    result = state.result()
    plain = plain_scan(
        config.model_copy(update={"output": str(tmp_path / "plain")}), registry=tiny_registry
    )

    assert_same_rows(result["verdicts"], plain["verdicts"])
    own = {"run_id", "verdicts", "report", "seconds"}
    assert {k: v for k, v in result.items() if k not in own} == {
        k: v for k, v in plain.items() if k not in own
    }
    assert state.is_completed()
    assert state.message.startswith(f"Of {IMAGES - 3} judged images")
    names = task_runs_of(state.state_details.flow_run_id, at_least=SHARDS)
    assert names == [f"shard {number} of {SHARDS}" for number in range(1, SHARDS + 1)]

    shown = artifacts_of(state.state_details.flow_run_id)
    folder = Path(result["report"]).parent
    summary = json.loads((folder / "summary.json").read_text())
    assert set(shown) == {"scan-summary", "scan-highest-scores", "scan-report", "scan-progress"}
    assert shown["scan-summary"].data == (folder / "summary.md").read_text()
    highest = json.loads(shown["scan-highest-scores"].data)
    assert [row["image"] for row in highest] == [row["image"] for row in summary["highest"]]
    assert highest[0] == {
        "image": summary["highest"][0]["image"],
        "score": pytest.approx(summary["highest"][0]["score"], abs=1e-4),
        "found": label_words(summary["highest"][0]["label"]),
    }
    # A page of Prefect's cannot open a file of this machine, so there is no link to it.
    assert as_markdown(result["report"]) in shown["scan-report"].data
    assert "](" not in shown["scan-report"].data
    assert shown["scan-progress"].data == 100

    again = flows.scan(config, return_state=True)
    assert again.is_completed()
    assert again.message.startswith("Nothing new. ")
    assert again.result()["verdicts"] is None
    shown = artifacts_of(again.state_details.flow_run_id)
    assert set(shown) == {"scan-summary", "scan-report"}


def test_a_suspect_run_is_shown_as_one(flows, config, tiny_registry, tmp_path, monkeypatch):
    registry = shutil.copytree(tiny_registry, tmp_path / "registry")
    bundle = find_model("tiny", registry)
    canaries = record_first(bundle)
    other = canaries.answers[0].model_copy(update={"logits": (9.0,) * 4})
    write_canaries(bundle.folder, canaries.model_copy(update={"answers": (other,)}))
    monkeypatch.setattr(flows, "REGISTRY", registry)
    state = flows.scan(config, return_state=True)
    assert state.is_completed()
    assert state.message.startswith("Suspect run: known pictures were answered otherwise than exp")
    shown = artifacts_of(state.state_details.flow_run_id)
    assert shown["scan-warnings"].description.startswith("Suspect run: ")
    assert "the logit" in shown["scan-warnings"].data
    assert shown["scan-summary"].data.startswith("# Suspect run: ")

    careful = config.model_copy(
        update={"stop_if_suspect": True, "output": str(tmp_path / "careful")}
    )
    state = flows.scan(careful, return_state=True)
    assert state.is_failed()
    assert state.message.startswith("known pictures are not answered as they should be: tiny@1")


def test_flow_judges_on_a_cluster(flows, config, tiny_registry, tmp_path):
    from distributed import LocalCluster

    in_process = {"host": "127.0.0.1", "protocol": "tcp://", "scheduler_kwargs": NO_DASHBOARD}
    with LocalCluster(n_workers=1, threads_per_worker=1, processes=False, **in_process) as workers:
        state = flows.scan(config, cluster=workers.scheduler_address, return_state=True)
    plain = plain_scan(
        config.model_copy(update={"output": str(tmp_path / "plain")}), registry=tiny_registry
    )
    assert_same_rows(state.result()["verdicts"], plain["verdicts"])
    names = task_runs_of(state.state_details.flow_run_id, at_least=SHARDS)
    assert names == [f"shard {number} of {SHARDS}" for number in range(1, SHARDS + 1)]
    shown = artifacts_of(state.state_details.flow_run_id)
    assert shown["scan-progress"].data == 100


def test_flow_continues_a_run(flows, config, tiny_registry):
    config = config.model_copy(update={"run_id": "continued"})

    def stop_after_first(event: str, facts: dict) -> None:
        if event == "committed":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        plain_scan(config, registry=tiny_registry, notify=stop_after_first)
    first = Path(config.output) / "runs" / "continued" / "parts" / "part-00000.parquet"
    committed = first.stat().st_mtime_ns

    state = flows.scan(config, return_state=True)
    assert state.result()["judged"] + state.result()["failed"] == IMAGES
    assert first.stat().st_mtime_ns == committed
    names = task_runs_of(state.state_details.flow_run_id, at_least=SHARDS - 1)
    assert names == [f"shard {number} of {SHARDS}" for number in range(2, SHARDS + 1)]
    shown = artifacts_of(state.state_details.flow_run_id)
    assert shown["scan-progress"].data == 100


def test_flow_stops_when_time_is_up(flows, config):
    config = config.model_copy(update={"max_minutes": 1e-9})
    state = flows.scan(config, return_state=True)
    assert state.is_completed()
    assert state.result()["skipped_reasons"] == {"time": IMAGES}
    assert not state.message.startswith("Nothing new")


def test_wrong_model_fails_with_the_message_of_the_command(flows, config, tiny_registry):
    config = config.model_copy(update={"model": "tyni"})
    with pytest.raises(ModelError) as expected:
        plain_scan(config, registry=tiny_registry)
    state = flows.scan(config, return_state=True)
    assert state.is_failed()
    assert state.message == str(expected.value)
    with pytest.raises(ModelError, match="no model named 'tyni'"):
        flows.scan(config)


def test_run_is_named_after_its_flow_run(flows, config):
    from prefect.client.orchestration import get_client

    state = flows.scan(config, return_state=True)
    with get_client(sync_client=True) as client:
        flow_run = client.read_flow_run(state.state_details.flow_run_id)
    start, _, end = state.result()["run_id"].partition("-")
    assert start == f"{flow_run.expected_start_time:%Y%m%dT%H%M%SZ}"
    assert end == flow_run.id.hex[-4:]


def test_outages_are_tried_again(flows, config, monkeypatch):
    monkeypatch.setattr(flows.judge_shard, "retry_delay_seconds", [0, 0, 0])
    commit_shard, tries = flows.core.commit_shard, []

    def commit_in_the_end(plan, judge, index, notify):
        tries.append(index)
        if tries.count(1) in (1, 2) and index == 1:
            raise SourceOutage("the source stopped answering")
        return commit_shard(plan, judge, index, notify)

    monkeypatch.setattr(flows.core, "commit_shard", commit_in_the_end)
    assert flows.scan(config)["listed"] == IMAGES
    assert tries == [0, 1, 1, 1, 2]


def test_outage_that_lasts_fails_the_run_and_keeps_what_it_committed(flows, config, monkeypatch):
    monkeypatch.setattr(flows.judge_shard, "retry_delay_seconds", [0, 0, 0])
    commit_shard = flows.core.commit_shard

    def commit_the_first(plan, judge, index, notify):
        if index:
            raise SourceOutage("the source stopped\nanswering")
        return commit_shard(plan, judge, index, notify)

    monkeypatch.setattr(flows.core, "commit_shard", commit_the_first)
    state = flows.scan(config, return_state=True)
    assert state.is_failed()
    assert state.message == "the source stopped answering"
    assert [path.name for path in Path(config.output).glob("runs/*/parts/*")] == [
        "part-00000.parquet"
    ]


def test_wrong_usage_is_not_tried_again(flows):
    tries = []

    def commit() -> dict:
        tries.append(len(tries))
        raise OutputError("cannot write")

    with pytest.raises(OutputError):
        flows.judge_shard(1, 1, commit)
    assert len(tries) == 1


def caused_by(cause: BaseException) -> OutputError:
    error = OutputError("cannot write")
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "again"),
    [
        (SourceOutage("gone"), True),
        (TimeoutError(), True),
        (caused_by(ConnectionResetError()), True),
        (caused_by(OSError(16, "busy")), True),
        (caused_by(OSError(28, "no space left")), False),
        (caused_by(PermissionError(13, "denied")), False),
        (OutputError("cannot write"), False),
        (UsageError("wrong"), False),
        (PlanMismatch("other model"), False),
        (BrokenInvariant("rows"), False),
        (ValueError("a fault of ours"), False),
        (None, False),
        ("no exception", False),
    ],
)
def test_what_is_tried_again(flows, error, again):
    from prefect.states import Failed

    assert flows.may_pass(None, None, Failed(data=error)) is again


def test_form_describes_every_setting(flows):
    from prefect.utilities.callables import parameter_schema

    schema = parameter_schema(flows.scan).model_dump()
    assert list(schema["properties"]) == ["config", "drift", "cluster"]
    assert "Dask cluster" in schema["properties"]["cluster"]["description"]
    form = schema["definitions"]["ScanConfig"]["properties"]
    limits = schema["definitions"]["DriftLimits"]["properties"].values()
    assert all(limit["description"] and "default" in limit for limit in limits)
    fields = ScanConfig.model_fields
    assert {name: form[name].get("description") for name in form} == {
        name: field.description for name, field in fields.items()
    }
    assert all(field.description for field in fields.values())
    for name, shown in form.items():
        kinds = shown.get("anyOf", [shown])
        assert all("type" in kind for kind in kinds), f"{name} has no type in the form"
        assert "default" in shown or name == "source"
    assert form["precision"]["enum"] == ["auto", "fp32", "bf16", "int8"]
    assert form["engine"]["enum"] == ["openvino", "keras"]
    assert (form["batch_size"]["minimum"], form["batch_size"]["maximum"]) == (1, 1024)
    assert form["shard_size"]["minimum"] == 1
    assert form["limit"]["anyOf"][0]["minimum"] == 1
    assert form["max_minutes"]["anyOf"][0]["exclusiveMinimum"] == 0
    assert form["since"]["anyOf"][0]["format"] == "date-time"
    assert schema["definitions"]["ScanConfig"]["additionalProperties"] is False
