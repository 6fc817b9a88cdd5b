"""A policy from photographs, by the command, and a scan that keeps it."""

import io
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from deepfake_core.cli import main
from deepfake_core.models.policy import parse_policy
from tests.conftest import make_picture

COUNT = 120


@pytest.fixture
def photographs(image_folder: Callable[..., Path], tmp_path: Path) -> Path:
    return image_folder(COUNT, broken=True, folder=tmp_path / "photographs")


@pytest.fixture
def calibrate(photographs: Path, two_models: Path, tmp_path: Path) -> Callable[..., int]:
    def run(*more: str) -> int:
        return main(
            ["calibrate", "--real", str(photographs), "--to", str(tmp_path / "policy.json"),
             "--model", "tiny@1", "--registry", str(two_models), *more]
        )  # fmt: skip

    return run


def test_a_scan_with_the_policy_flags_what_was_flagged_among_the_photographs(
    calibrate: Callable[..., int],
    photographs: Path,
    two_models: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
):
    assert calibrate("--fpr", "0.1", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["photographs"] == COUNT
    assert told["left_out"] == {"decode.corrupt": 1, "decode.unsupported": 2}
    path = tmp_path / "policy.json"
    policy = parse_policy(path.read_bytes(), str(path))
    assert policy.finder_id is None
    (tier,) = policy.tiers
    assert tier.flagged == 6

    arguments = ["scan", str(photographs), "--output", str(tmp_path / "out")]
    arguments += ["--registry", str(two_models), "--policy", str(path), "--json"]
    assert main([*arguments, "--model", "tiny@1"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["labels"]["fake"] == 6
    rows = pq.read_table(result["verdicts"], partitioning=None)
    flagged = rows.filter(rows["label"].to_numpy(zero_copy_only=False) == "fake")
    assert min(flagged["score"].to_pylist()) >= np.float32(policy.fake_from)

    # Made for another model, it is refused by name.
    assert main([*arguments, "--model", "tiny@2"]) == 2
    assert "the policy was made with the first look tiny@1" in capsys.readouterr().err


def test_too_few_photographs_are_refused_and_nothing_is_written(
    calibrate: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    assert calibrate("--fpr", "0.01") == 2
    assert f"{COUNT} photographs could be judged, and 299 are needed" in capsys.readouterr().err
    assert not (tmp_path / "policy.json").exists()


def test_what_declares_itself_generated_is_named(
    calibrate: Callable[..., int], photographs: Path, capsys: pytest.CaptureFixture[str]
):
    notes = PngInfo()
    notes.add_text("parameters", "a face\nSteps: 20, Sampler: Euler")
    image = Image.open(io.BytesIO(make_picture(7777)))
    image.save(photographs / "planted.png", pnginfo=notes)
    assert calibrate("--fpr", "0.1") == 0
    said = capsys.readouterr().out
    assert "1 declare themselves generated" in said
    assert "planted.png" in said
    assert "not used: 2 decode.unsupported" in said
    assert "faces of all sizes: flagged from" in said


@pytest.mark.parametrize("options", [("--fpr", "0"), ("--fpr", "0.1", "--confidence", "1")])
def test_a_share_that_is_none_is_refused(
    calibrate: Callable[..., int], options: tuple[str, ...], capsys: pytest.CaptureFixture[str]
):
    assert calibrate(*options) == 2
    assert "is a share between 0 and 1" in capsys.readouterr().err
