"""Scans that judge faces: with the real finder, a network of random weights, and real pictures."""

import json
from collections.abc import Callable
from pathlib import Path
from shutil import copytree

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from deepfake_core import cli
from deepfake_core.errors import ModelError, PlanMismatch
from deepfake_core.inference.opening import USUAL_FINDER, find_finder
from deepfake_core.models.bundle import (
    Description,
    Preprocessing,
    store_weights,
    write_description,
)
from deepfake_core.models.decision import Calibration, Thresholds, decide
from deepfake_core.models.versions import CURRENT_FILE
from deepfake_core.records import Json
from deepfake_core.results.schema import VERDICTS
from deepfake_core.scanning import scan as steps
from deepfake_core.scanning.config import ScanConfig
from deepfake_core.scanning.scan import scan
from tests.conftest import TINY, tiny_weights

SAMPLES = Path(__file__).resolve().parents[2] / "data" / "samples"
THRESHOLDS = Thresholds(real_below=0.3, fake_from=0.5)

Scan = Callable[..., tuple[Json, pa.Table]]


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model of faces whose scores lie on both sides of one half."""
    home = tmp_path_factory.mktemp("registry")
    folder = home / "tiny" / "1"
    folder.mkdir(parents=True)
    store_weights(folder, tiny_weights(seed=2))
    shown = Preprocessing(
        size=32,
        faces="find",
        finder=find_finder(USUAL_FINDER).model_id,
        alignment="ffhq",
        colour="srgb",
        least_size=60,
    )
    described = Description(
        name="tiny",
        version=1,
        architecture=TINY,
        preprocessing=shown,
        calibration=Calibration(
            temperature=0.5, sizes=(64.0, 256.0), temperatures=(0.6, 0.4), offsets=(0.0, 0.0)
        ),
        thresholds=THRESHOLDS,
        files={},
    )
    write_description(folder, described)
    (home / "tiny" / CURRENT_FILE).write_text('{"version": 1}\n')
    return home


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Faces alone, side by side, small, and pictures that show none."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for name in ("render-01.jpg", "render-02.jpg", "portrait-officer.jpg", "no-face-rocket.jpg"):
        (folder / name).write_bytes((SAMPLES / name).read_bytes())
    one, other = (Image.open(SAMPLES / f"render-0{number}.jpg") for number in (3, 4))
    both = Image.new("RGB", (2 * one.width + 40, one.height), (90, 120, 150))
    both.paste(one, (0, 0))
    both.paste(other, (one.width + 40, 0))
    both.save(folder / "two.png")
    one.resize((40, 40), Image.Resampling.LANCZOS).save(folder / "small.png")
    Image.new("RGB", (300, 200), (200, 30, 30)).save(folder / "flat.png")
    Image.new("RGB", (400, 1)).save(folder / "line.png")
    return folder


@pytest.fixture
def run(registry: Path, pictures: Path, tmp_path: Path) -> Scan:
    def scan_it(**settings: object) -> tuple[Json, pa.Table]:
        settings = {"source": str(pictures), "output": str(tmp_path / "out"), **settings}
        result = scan(ScanConfig(model="tiny", **settings), registry=registry)
        return result, pq.read_table(result["verdicts"], partitioning=None)

    return scan_it


def by_name(rows: pa.Table) -> dict[str, Json]:
    return {row["image"]: row for row in rows.to_pylist()}


def test_faces_are_judged_and_the_rest_is_refused(run: Scan):
    result, rows = run()
    assert rows.schema.remove_metadata() == VERDICTS
    found = by_name(rows)
    reasons = {name: row["reason"] for name, row in found.items() if row["score"] is None}
    assert reasons == {
        "no-face-rocket.jpg": "no_face",
        "flat.png": "no_face",
        "line.png": "no_face",
        "small.png": "face_too_small",
    }
    assert result["not_applicable"] == 4
    assert result["judged"] == 4
    assert result["listed"] == 8
    assert result["reasons"]["no_face"] == 3
    for name, row in found.items():
        if name in reasons:
            assert (row["label"], row["status"], row["logit"]) == ("not_applicable", "ok", None)
            assert row["faces"] == [] or name == "small.png"
    assert found["two.png"]["faces_found"] == 2
    assert len(found["two.png"]["faces"]) == 2
    assert found["small.png"]["faces"][0]["size"] < 60
    assert found["small.png"]["faces"][0]["score"] is None


def test_an_image_is_what_its_strongest_face_is(run: Scan):
    order = {"fake": 0, "uncertain": 1, "real": 2}
    for row in run(stability=False)[1].to_pylist():
        if row["score"] is None:
            continue
        judged = [face for face in row["faces"] if face["score"] is not None]
        scores = np.array([face["score"] for face in judged], np.float32)
        labels = [str(label) for label in decide(scores, THRESHOLDS, len(judged))]
        assert [face["label"] for face in judged] == labels
        assert row["label"] == min(labels, key=order.__getitem__) == judged[0]["label"]
        assert row["score"] == judged[0]["score"]
        assert row["logit"] == judged[0]["logit"]


def test_what_is_flagged_is_judged_again(run: Scan):
    _, before = run(stability=False)
    assert before["score_low"].null_count == before.num_rows
    _, after = run(full=True)
    first, second = by_name(before), by_name(after)
    again = [name for name, row in second.items() if row["score_low"] is not None]
    assert again
    for name in again:
        row = second[name]
        assert row["score_low"] <= row["score"] <= row["score_high"]
        assert row["score"] == first[name]["score"]
        if first[name]["label"] == "fake":
            lasts = row["score_low"] >= np.float32(
                THRESHOLDS.fake_from_among(sum(face["score"] is not None for face in row["faces"]))
            )
            assert row["label"] == ("fake" if lasts else "uncertain")
            assert row["reason"] == (None if lasts else "unstable")


def test_frames_are_judged_as_before(run: Scan):
    result, rows = run(faces="frame")
    assert result["not_applicable"] == 0
    assert (result["faces"], result["finder_id"]) == ("frame", None)
    assert rows["faces"].null_count == rows.num_rows
    assert rows["score"].null_count == 0


def test_a_score_depends_on_no_grouping(run: Scan, tmp_path: Path):
    _, together = run()
    _, alone = run(output=str(tmp_path / "other"), batch_size=1, shard_size=1, stability=False)
    assert together["logit"].equals(alone["logit"])


class Stopped(Exception):
    """A scan that was cut off before its first shard."""


def test_a_run_is_not_resumed_with_other_faces(run: Scan, monkeypatch: pytest.MonkeyPatch):
    def stop(*_: object) -> None:
        raise Stopped

    with monkeypatch.context() as patch:
        patch.setattr(steps, "commit_shard", stop)
        with pytest.raises(Stopped):
            run(run_id="r")
    with pytest.raises(PlanMismatch, match="faces"):
        run(run_id="r", faces="frame")


def test_a_finder_that_was_changed_is_named(
    registry: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    finder = find_finder(USUAL_FINDER).folder
    other = tmp_path / "models"
    damaged = other / finder.parent.name / finder.name / "finder.bin"
    copytree(finder, damaged.parent)
    damaged.write_bytes(damaged.read_bytes()[:-4] + b"dead")
    (other / "tiny").symlink_to(registry / "tiny")
    arguments = ["scan", str(pictures), "--output", str(tmp_path / "out"), "--model", "tiny"]
    assert cli.main([*arguments, "--registry", str(other)]) == 2
    assert "finder.bin" in capsys.readouterr().err
    with pytest.raises(ModelError, match="centerface@2"):
        find_finder(f"{USUAL_FINDER}+00000000")


def test_the_result_is_told_in_counts(
    registry: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    arguments = ["scan", str(pictures), "--output", str(tmp_path / "out"), "--model", "tiny"]
    assert cli.main([*arguments, "--registry", str(registry), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    parts = ("judged", "not_applicable", "failed", "skipped")
    assert told["listed"] == sum(told[part] for part in parts)
    assert told["labels"]["not_applicable"] == told["not_applicable"]
