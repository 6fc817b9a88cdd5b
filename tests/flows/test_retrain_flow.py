"""The flow retrains as the command does, and Prefect shows it."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from deepfake_core.errors import CandidateRefused, SourceError
from deepfake_core.models.registry import current_version
from deepfake_core.retraining.config import RetrainConfig
from tests.support.labelled import RECIPE, save_pictures
from tests.support.prefect_server import server_of
from tests.support.webhook import listening, wait_until_told

pytestmark = pytest.mark.processes

STEPS = ["calibrate and export", "check the data", "evaluate", "fit", "gate", "promote",
         "register", "split by group"]  # fmt: skip


@pytest.fixture(scope="module")
def flows(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The module of the flow, with a server that forgets everything afterwards."""
    with server_of(tmp_path_factory.mktemp("prefect")) as patch:
        import flows.retrain as module

        patch.setattr(module, "REGISTRY", tmp_path_factory.mktemp("registry"))
        yield module


@pytest.fixture
def hook() -> Iterator[Any]:
    with listening() as hook:
        yield hook


def shown_of(flow_run_id: object) -> tuple[dict[str, Any], list[str]]:
    """The artifacts of a flow run by key, and the names of its tasks, as the server has them."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas import filters

    of_run = filters.ArtifactFilter(flow_run_id=filters.ArtifactFilterFlowRunId(any_=[flow_run_id]))
    this_run = filters.FlowRunFilter(id=filters.FlowRunFilterId(any_=[flow_run_id]))
    with get_client(sync_client=True) as client:
        artifacts = {one.key: one for one in client.read_artifacts(artifact_filter=of_run)}
        tasks = sorted(run.name for run in client.read_task_runs(flow_run_filter=this_run))
    return artifacts, tasks


def test_the_flow_retrains_and_shows_it_and_tells_of_what_was_refused(
    flows: Any, hook: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("DEEPFAKE_WEBHOOK_URL", f"{hook.url}/hook")
    data = save_pictures(tmp_path / "data", {"train": 20, "valid": 30})
    config = RetrainConfig(
        data=str(data), name="tiny", recipe=RECIPE, output=str(tmp_path / "out"), why="by flow"
    )
    state = flows.retrain(config, return_state=True)
    assert state.is_completed(), state.message
    assert state.message.endswith("passed the gate and is current now")
    result = state.result()
    assert result["run_id"] == f"flow-{state.state_details.flow_run_id}"
    assert current_version("tiny", flows.REGISTRY) == 1

    artifacts, tasks = shown_of(state.state_details.flow_run_id)
    assert tasks == STEPS
    assert set(artifacts) == {
        "retrain-curves", "retrain-model", "retrain-history", "retrain-gate", "retrain-summary",
        "retrain-progress",
    }  # fmt: skip
    assert artifacts["retrain-curves"].data.startswith("data:image/png;base64,")
    assert "plain0_conv" in artifacts["retrain-model"].data
    assert "history.csv" in artifacts["retrain-history"].data
    assert artifacts["retrain-progress"].data == 100
    rows = json.loads(artifacts["retrain-gate"].data)
    assert {row["passed"] for row in rows} == {True}
    assert "report.html" in artifacts["retrain-summary"].data

    work = Path(result["work"], "result.json")
    refused = json.loads(work.read_text()) | {"passed": False, "reasons": ["auc fell"]}
    work.write_text(json.dumps(refused))
    # Continued, the run is finished, and its result is the one that was refused.
    again = config.model_copy(update={"run_id": result["run_id"]})
    refused_state = flows.retrain(again, return_state=True)
    assert (refused_state.is_failed(), refused_state.name) == (True, "Refused")
    assert refused_state.message.endswith("was refused: auc fell")
    with pytest.raises(CandidateRefused):
        refused_state.result()
    told = wait_until_told(hook, "/hook", "event", "deepfake.retrain.refused")
    assert (told["source"], told["problem"]) == (str(data), refused_state.message)

    missing = config.model_copy(update={"data": str(tmp_path / "none")})
    failed = flows.retrain(missing, return_state=True)
    assert failed.is_failed()
    assert "no folder" in failed.message
    with pytest.raises(SourceError):
        failed.result()
    told = wait_until_told(hook, "/hook", "event", "deepfake.retrain.failed")
    assert told["problem"] == failed.message


def test_the_form_explains_itself(flows: Any):
    from prefect.utilities.callables import parameter_schema

    definitions = parameter_schema(flows.retrain).model_dump()["definitions"]
    assert {"RetrainConfig", "Recipe", "TrainConfig", "GateConfig", "Margins"} <= set(definitions)
    for definition in definitions.values():
        for name, field in definition["properties"].items():
            assert field.get("description"), name
            assert {"type", "anyOf", "$ref", "allOf", "enum", "const"} & set(field), name
