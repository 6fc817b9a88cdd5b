"""A scan with a second look: who goes on, what the rows say, and that grouping changes nothing."""

import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from deepfake_core.errors import ModelError, PlanMismatch
from deepfake_core.models.decision import calibrate
from deepfake_core.scanning.config import ScanConfig
from deepfake_core.scanning.scan import scan
from tests.support.second_look import add_pair, two_looks

SAMPLES = Path(__file__).resolve().parents[2] / "data" / "samples"


@pytest.fixture(scope="module")
def registry(tmp_path_factory, tiny_registry) -> Path:
    return two_looks(tmp_path_factory.mktemp("looks") / "models", tiny_registry)


@pytest.fixture(scope="module")
def faces(tmp_path_factory) -> Path:
    """Four portraits and a picture without a face."""
    folder = tmp_path_factory.mktemp("faces")
    for name in ("portrait-astronaut.jpg", "render-01.jpg", "render-02.jpg", "no-face-rocket.jpg"):
        shutil.copyfile(SAMPLES / name, folder / name)
    shutil.copyfile(SAMPLES / "portrait-officer.jpg", folder / "a-officer.jpg")
    return folder


def scanned(faces: Path, output: Path, registry: Path, **fields) -> list[dict]:
    config = ScanConfig(
        source=str(faces), output=str(output), **{"precision": "fp32", "model": "tiny", **fields}
    )
    scan(config, registry=registry)
    (published,) = (output / "verdicts").rglob("*.parquet")
    return pq.read_table(published).to_pylist()


def judged(rows: list[dict]) -> list[dict]:
    return [face for row in rows for face in row["faces"] if face["score"] is not None]


@pytest.fixture(scope="module")
def alone(faces, registry, tmp_path_factory) -> list[dict]:
    return scanned(faces, tmp_path_factory.mktemp("off"), registry, second_look="off")


@pytest.fixture(scope="module")
def line(alone) -> float:
    """Between the first scores, so that some faces go on and some do not."""
    scores = sorted({face["score"] for face in judged(alone)})
    assert len(scores) >= 3, "faces that score alike tell nothing"
    return (scores[len(scores) // 2 - 1] + scores[len(scores) // 2]) / 2


def test_off_takes_none(alone):
    assert {row["second_model_id"] for row in alone} == {None}
    assert {face["second_logit"] for face in judged(alone)} == {None}


@pytest.mark.parametrize("batch_size", [1, 64])
def test_auto_sends_the_faces_above_the_line(faces, registry, tmp_path, alone, line, batch_size):
    look, pair = add_pair(registry, line=line)
    rows = scanned(faces, tmp_path, registry, second_look="auto", batch_size=batch_size)
    first = {(row["image"], face["x"]): face for row in alone for face in row["faces"]}
    sent = 0
    for row in rows:
        for face in (one for one in row["faces"] if one["score"] is not None):
            before = first[row["image"], face["x"]]
            assert face["logit"] == before["logit"]
            if before["score"] < line:
                assert (face["second_logit"], face["score"]) == (None, before["score"])
                continue
            sent += 1
            curve = pair.curve("fp32").calibration
            both = np.float32(face["second_logit"]) + np.float32(0.25) * np.float32(face["logit"])
            expected = calibrate(np.array([both], np.float32), curve)[0]
            assert face["score"] == pytest.approx(float(expected), abs=1e-6)
        went_on = any(face["second_logit"] is not None for face in row["faces"])
        assert row["second_model_id"] == (look.model_id if went_on else None)
        if row["score"] is not None and row["faces"][0]["second_logit"] is not None:
            assert row["logit"] == row["faces"][0]["second_logit"]
    assert 0 < sent < len(judged(rows))


def test_equal_faces_get_equal_bits_however_they_are_grouped(faces, registry, tmp_path, line):
    add_pair(registry, line=line)
    one, many = (
        judged(scanned(faces, tmp_path / str(size), registry, batch_size=size)) for size in (1, 64)
    )
    assert [face["second_logit"] for face in one] == [face["second_logit"] for face in many]
    assert [face["score"] for face in one] == [face["score"] for face in many]


def test_all_sends_every_face(faces, registry, tmp_path, line):
    look, _ = add_pair(registry, line=line)
    rows = scanned(faces, tmp_path, registry, second_look="all")
    assert len(judged(rows)) >= 4
    assert all(face["second_logit"] is not None for face in judged(rows))
    ids = {row["image"]: row["second_model_id"] for row in rows}
    assert ids.pop("no-face-rocket.jpg") is None
    assert set(ids.values()) == {look.model_id}


def test_labels_follow_the_thresholds_of_the_pair(faces, registry, tmp_path, line):
    add_pair(registry, line=line)
    for face in judged(scanned(faces, tmp_path, registry, second_look="all")):
        if face["score"] < 0.3:
            assert face["label"] == "real"
        else:
            assert face["label"] in ("uncertain", "fake")


def test_without_a_pair_auto_is_off_and_all_says_what_to_do(faces, tmp_path, tiny_registry, alone):
    bare = two_looks(tmp_path / "models", tiny_registry)
    rows = scanned(faces, tmp_path / "auto", bare, second_look="auto")
    assert [row["score"] for row in rows] == [row["score"] for row in alone]
    with pytest.raises(ModelError, match="deepfake pair tiny@1 --data DIR"):
        scanned(faces, tmp_path / "all", bare, second_look="all")


def test_a_run_is_not_resumed_with_another_pair(faces, registry, tmp_path, line):
    add_pair(registry, line=line)
    output = tmp_path / "out"
    config = ScanConfig(
        source=str(faces),
        output=str(output),
        model="tiny",
        precision="fp32",
        run_id="one",
        shard_size=2,
    )
    scan(config, registry=registry)
    record = output / "runs" / "one" / "run.json"
    record.write_text(record.read_text().replace('"state": "done"', '"state": "running"'))
    add_pair(registry, line=line / 2)
    with pytest.raises(PlanMismatch, match="pair"):
        scan(config, registry=registry)
