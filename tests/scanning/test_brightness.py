"""The brightness of what is judged is counted shard by shard, and compared with earlier runs."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deepfake_core.images.brightness import mean_brightness
from deepfake_core.reporting.drift import DriftLimits
from deepfake_core.scanning.config import ScanConfig
from deepfake_core.scanning.executor import open_judge
from deepfake_core.scanning.plan import make_plan
from deepfake_core.scanning.scan import begin, commit_shard, scan

COUNT = 12


def test_brightness_is_that_of_the_eye():
    pixels = np.zeros((128, 128, 3), np.uint8)
    assert mean_brightness(pixels) == 0
    assert mean_brightness(pixels + 255) == pytest.approx(255, abs=1e-3)
    pixels[..., 1] = 200
    green = mean_brightness(pixels)
    assert green == pytest.approx(0.587 * 200, abs=1e-3)
    noise = np.random.default_rng(1).integers(0, 256, pixels.shape, np.uint8)
    assert mean_brightness(noise) == pytest.approx(np.asarray(noise).mean(), abs=5)


def put(folder: Path, name: str, brightness: int) -> None:
    folder.mkdir(exist_ok=True)
    for at in range(COUNT):
        Image.new("RGB", (48, 48), (brightness + at,) * 3).save(folder / f"{name}-{at:02}.png")


def stored(config: ScanConfig, run_id: str, name: str) -> dict:
    return json.loads((Path(config.output) / "runs" / run_id / name).read_text())


def test_pictures_that_become_dark_are_told_of(tiny_registry: Path, tmp_path: Path):
    source, drift = tmp_path / "pictures", DriftLimits(min_images=COUNT)
    config = ScanConfig(source=str(source), output=str(tmp_path / "out"), model="tiny")
    put(source, "day", 196)
    first = scan(config, registry=tiny_registry, drift=drift)
    assert stored(config, first["run_id"], "run.json")["brightness"] == {"from 192": COUNT}
    put(source, "night", 10)
    second = scan(config, registry=tiny_registry, drift=drift)
    inputs = stored(config, second["run_id"], "summary.json")["inputs"]
    assert inputs["mean brightness"] == {"below 32": COUNT}
    assert "inputs: mean brightness" in [one["measure"] for one in second["warnings"]]


def test_it_is_counted_once_however_a_run_was_cut(
    tiny_registry: Path, tmp_path: Path, image_folder: Callable[..., Path]
):
    told = {"source": str(image_folder(9, broken=True)), "model": "tiny", "shard_size": 4}
    whole = ScanConfig(**told, output=str(tmp_path / "whole"), run_id="r")
    scan(whole, registry=tiny_registry)
    cut = ScanConfig(**told, output=str(tmp_path / "cut"), run_id="r")
    plan = make_plan(cut, registry=tiny_registry)
    begin(plan)
    with open_judge(plan) as judge:
        commit_shard(plan, judge, 0)
    scan(cut, registry=tiny_registry)
    counts = [stored(config, "r", "run.json")["brightness"] for config in (whole, cut)]
    assert counts[0] == counts[1]
    assert sum(counts[0].values()) == 9
