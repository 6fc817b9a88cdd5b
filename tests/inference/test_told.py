"""What people are told of the networks that judge is what was measured of those that decide."""

from pathlib import Path

import pytest

from deepfake_core.inference.opening import Choice, choose_networks
from deepfake_core.models.registry import find_model
from deepfake_core.models.second_look import find_second, write_pair
from deepfake_core.scanning.config import ScanConfig
from deepfake_core.scanning.scan import scan
from deepfake_core.serve.config import ServeConfig
from deepfake_core.serve.schemas import model_facts
from tests.support.second_look import add_pair, two_looks

SAMPLES = Path(__file__).resolve().parents[2] / "data" / "samples"


@pytest.fixture
def registry(tmp_path: Path, tiny_registry: Path) -> Path:
    found = two_looks(tmp_path / "models", tiny_registry)
    add_pair(found, line=0.4)
    return found


def told(registry: Path, **fields):
    return choose_networks(find_model("tiny", registry), Choice(**fields), registry=registry).told


def test_the_figures_are_those_of_the_looks_that_are_taken(registry):
    first = find_model("tiny", registry).description
    assert told(registry).figures["report"]["auc"] == 0.8
    assert told(registry, second_look="all").figures["report"]["auc"] == 0.9
    assert told(registry, second_look="off").figures == first.figures
    assert told(registry, faces="frame").figures == first.figures


def test_without_a_measurement_of_both_nothing_is_claimed(registry):
    look = find_second(None, registry)
    pair = look.pair_with(find_model("tiny", registry).digest)
    write_pair(look, pair.model_copy(update={"figures": {}}))
    assert told(registry).figures == {}


def test_both_looks_limits_are_told_once(registry):
    first, look = find_model("tiny", registry), find_second(None, registry)
    limits = told(registry).limits
    assert set(limits) == {*first.description.limits, *look.description.limits}
    assert len(limits) == len(set(limits))


def test_run_and_service_tell_the_same(registry, tmp_path):
    config = ScanConfig(
        source=str(SAMPLES / "render-01.jpg"), output=str(tmp_path / "out"), model="tiny"
    )
    scan(config, registry=registry)
    (record,) = (tmp_path / "out" / "runs").glob("*/run.json")
    assert '"auc": 0.8' in record.read_text()
    networks = choose_networks(find_model("tiny", registry), registry=registry)
    facts = model_facts(networks, ServeConfig())
    assert facts.figures["report"]["auc"] == 0.8
    assert facts.second_model_id == find_second(None, registry).model_id
