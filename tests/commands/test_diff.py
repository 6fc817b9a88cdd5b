"""Two models on the same pictures: which labels change, and examples."""

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from deepfake_core.cli import main

COUNT = 40


@pytest.fixture
def pictures(image_folder: Callable[..., Path], tmp_path: Path) -> Path:
    return image_folder(COUNT, broken=True, folder=tmp_path / "pictures")


def labels(folder: Path, model: str, registry: Path, output: Path) -> dict[str, str]:
    arguments = ["scan", str(folder), "--model", model, "--registry", str(registry)]
    assert main([*arguments, "--output", str(output), "--run-id", model.replace("@", "-")]) == 0
    (path,) = (output / "verdicts").rglob("*.parquet")
    rows = pq.read_table(path, partitioning=None)
    found = zip(rows["image"].to_pylist(), rows["label"].to_pylist(), strict=True)
    return {image: label or "failed" for image, label in found}


def test_it_shows_what_two_scans_would_show(
    pictures: Path, two_models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    before = labels(pictures, "tiny@1", two_models, tmp_path / "one")
    after = labels(pictures, "tiny@2", two_models, tmp_path / "two")
    capsys.readouterr()
    arguments = ["diff", "tiny@1", "tiny@2", "--registry", str(two_models)]
    assert main([*arguments, "--data", str(pictures), "--json", "--examples", "100"]) == 0
    told = json.loads(capsys.readouterr().out)
    expected = Counter((before[image], after[image]) for image in before)
    assert {(row["from"], row["to"]): row["images"] for row in told["by"]} == expected
    changed = {image for image in before if before[image] != after[image]}
    assert changed
    assert {row["image"] for row in told["examples"]} == changed
    assert told["flipped"] == len(changed)
    opposite = [row for row in told["examples"] if {row["from"], row["to"]} == {"fake", "real"}]
    assert told["examples"][: len(opposite)] == opposite
    assert told["reversed"] == len(opposite)

    # On the pictures of a finished run: those that got a label.
    where = ["--data", "tiny-1", "--output", str(tmp_path / "one")]
    assert main([*arguments, *where, "--json", "--examples", "1"]) == 0
    of_run = json.loads(capsys.readouterr().out)
    assert of_run["images"] == COUNT
    assert of_run["flipped"] == len(changed)
    assert len(of_run["examples"]) == 1

    assert main([*arguments, *where, "--examples", "1"]) == 0
    said = capsys.readouterr().out
    assert f"another label: {len(changed)} of {COUNT}: " in said
    assert f"and {len(changed) - 1} more" in said


def test_a_model_against_itself_changes_nothing(
    pictures: Path, two_models: Path, capsys: pytest.CaptureFixture[str]
):
    arguments = ["diff", "tiny@1", "tiny@1", "--registry", str(two_models)]
    assert main([*arguments, "--data", str(pictures), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["flipped"], told["mean_score_change"], told["examples"]) == (0, 0, [])


def test_what_is_neither_folder_nor_run_is_refused(
    two_models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    arguments = ["diff", "tiny@1", "tiny@2", "--registry", str(two_models), "--data", "nowhere"]
    assert main([*arguments, "--output", str(tmp_path)]) == 2
    assert "neither such a folder nor a finished run" in capsys.readouterr().err
