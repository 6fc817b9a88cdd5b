"""A run asks its networks about known pictures first, and says so where they answer otherwise."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from deepfake_core import cli
from deepfake_core.errors import SuspectNetworks
from deepfake_core.models.bundle import CANARIES_FILE
from deepfake_core.models.registry import find_model
from deepfake_core.release.canary_answers import record_first
from deepfake_core.rendering.text import as_markdown
from deepfake_core.scanning.config import ScanConfig
from deepfake_core.scanning.executor import open_judge
from deepfake_core.scanning.plan import make_plan
from deepfake_core.scanning.scan import begin, commit_shard, scan

IMAGES, SHARD_SIZE = 6, 3
SUSPECT = "Suspect run: known pictures were answered otherwise than expected."


@pytest.fixture
def registry(tiny_registry: Path, tmp_path: Path) -> Path:
    """A registry of a network with its answers."""
    copied = shutil.copytree(tiny_registry, tmp_path / "registry")
    record_first(find_model("tiny", copied))
    return copied


@pytest.fixture
def config(image_folder: Callable[..., Path], tmp_path: Path) -> ScanConfig:
    return ScanConfig(
        source=str(image_folder(IMAGES)),
        output=str(tmp_path / "out"),
        model="tiny",
        shard_size=SHARD_SIZE,
        run_id="r",
    )


def drift(registry: Path) -> None:
    """Let the network have been released with other answers."""
    path = registry / "tiny" / "1" / CANARIES_FILE
    canaries = json.loads(path.read_text())
    canaries["answers"][0]["logits"][0] += 1.0
    path.write_text(json.dumps(canaries))


def stored(config: ScanConfig, name: str) -> str:
    return (Path(config.output) / "runs" / "r" / name).read_text()


def test_a_run_says_that_its_networks_answered_as_expected(registry: Path, config: ScanConfig):
    result = scan(config, registry=registry)
    run, summary = (json.loads(stored(config, name)) for name in ("run.json", "summary.json"))
    assert result["suspect"] is run["suspect"] is summary["suspect"] is False
    assert run["canaries"] == {"checked": [result["model_id"]], "drifts": []}
    words = f"known pictures were answered as expected by {result['model_id']}"
    assert as_markdown(words) in stored(config, "summary.md")
    assert words in stored(config, "report.html")


def test_a_run_of_a_drifted_network_is_suspect(
    registry: Path, config: ScanConfig, capsys: pytest.CaptureFixture[str]
):
    drift(registry)
    words = [
        *("scan", config.source, "--output", config.output, "--model", "tiny", "--run-id", "r"),
        *("--registry", str(registry), "--json"),
    ]
    assert cli.main(words) == 0
    result = json.loads(capsys.readouterr().out)
    run = json.loads(stored(config, "run.json"))
    assert result["suspect"] is run["suspect"] is True
    (drifted,) = run["canaries"]["drifts"]
    assert (drifted["picture"], drifted["tolerance"]) == ("photograph-degraded.jpg", 0.05)
    # In log-odds of the score, with the temperature of the network.
    assert drifted["apart"] == pytest.approx(2.0, abs=0.01)
    (warning,) = result["warnings"]
    assert (warning["measure"], warning["words"]) == ("canaries", drifted["words"])
    assert stored(config, "summary.md").startswith(f"# {SUSPECT} Of {IMAGES} judged images ")
    assert f"{SUSPECT} Do not use its labels before you know why." in stored(config, "report.html")


def test_a_suspect_run_can_be_ended_before_it_judges(registry: Path, config: ScanConfig):
    drift(registry)
    careful = config.model_copy(update={"stop_if_suspect": True})
    with pytest.raises(SuspectNetworks, match=r"tiny@1\S+ gives photograph-degraded.jpg the logit"):
        scan(careful, registry=registry)
    assert not list(Path(config.output).glob("runs/r/parts/*"))
    # What was put right is continued.
    record_first(find_model("tiny", registry))
    result = scan(careful, registry=registry)
    assert (result["judged"], result["suspect"]) == (IMAGES, False)


def test_a_run_stays_suspect_when_another_process_finishes_it(registry: Path, config: ScanConfig):
    drift(registry)
    plan = make_plan(config, registry=registry)
    begin(plan)
    with open_judge(plan) as judge:
        commit_shard(plan, judge, 0)
    record_first(find_model("tiny", registry))
    assert scan(config, registry=registry)["suspect"] is True
    assert json.loads(stored(config, "run.json"))["canaries"]["drifts"]


def test_a_network_without_answers_is_said_to_have_none(tiny_registry: Path, config: ScanConfig):
    result = scan(config, registry=tiny_registry)
    assert result["suspect"] is False
    assert json.loads(stored(config, "run.json"))["canaries"] == {"checked": [], "drifts": []}
    assert "no canaries" in stored(config, "summary.md")
    assert result["warnings"] == []
