"""The benchmark runs, keeps its promises, and never makes up a figure."""

import importlib.util
import json
import math
from pathlib import Path

import numpy as np
import pytest

from deepfake_core.bench.__main__ import main, measure, table
from deepfake_core.bench.images import portrait, write_pictures
from deepfake_core.bench.planning import planning
from deepfake_core.bench.processes import first_verdict, peak_memory
from deepfake_core.bench.race import race
from deepfake_core.bench.setting import FAILURES, PROMISED, QUICK, PartFailed, Setting, Sizes
from deepfake_core.bench.stages import compare_precisions
from deepfake_core.images.decoding import decode
from deepfake_core.models.registry import find_model
from deepfake_core.records import Decoded

pytestmark = pytest.mark.processes

KERAS = {
    "over_keras_dataset",
    "over_keras_one_by_one",
    "train_input_per_s",
    "train_step_per_s",
    "train_per_s",
    "train_wait_share",
}
SMALL = Sizes(
    rounds=1,
    distinct=8,
    images=64,
    infer_images=64,
    keras_images=32,
    one_by_one_images=2,
    large_images=2,
    large_size=(800, 600),
    memory_images=(20, 40),
    starts=1,
    planned_files=300,
    plans=1,
)


@pytest.fixture
def setting(tiny_registry: Path, tmp_path: Path) -> Setting:
    bundle = find_model("tiny", tiny_registry)
    return Setting(bundle, tiny_registry, ("fp32",), tmp_path, SMALL, lambda line: None)


def test_the_command_writes_all_figures(
    tiny_registry: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("deepfake_core.bench.__main__.QUICK", SMALL)
    options = ["--quick", "--model", "tiny", "--registry", str(tiny_registry)]
    has_keras = importlib.util.find_spec("tensorflow") is not None
    status = main([*options, "--output", str(tmp_path)])
    assert status == (0 if has_keras else 1)

    figures = json.loads((tmp_path / "bench.json").read_text())
    # Whole pictures are judged, so no face is looked for.
    assert set(PROMISED) - set(figures) == {"find_per_s"} | (set() if has_keras else KERAS)
    words = {name for name, value in figures.items() if isinstance(value, str)}
    assert words == {"machine", "model_id", "precision"}
    numbers = {name: value for name, value in figures.items() if name not in words}
    assert all(math.isfinite(value) for value in numbers.values())
    shares = {"second_look_share"}
    assert all(numbers[name] > 0 for name in set(PROMISED) & set(numbers) - shares)
    assert 1 / numbers["limit_per_s"] == pytest.approx(
        1 / numbers["decode_per_s"] + 1 / numbers["infer_per_s"]
    )
    assert numbers["end_to_end_over_limit"] == pytest.approx(
        numbers["end_to_end_per_s"] / numbers["limit_per_s"]
    )
    assert numbers["infer_fp32_per_s"] == numbers["infer_per_s"]
    assert figures["precision"] == "fp32"


def test_the_unnamed_figures_are_those_of_the_fastest_precision():
    rates = {"decode_per_s": 100.0, "keras_dataset_per_s": 10.0}
    rates |= {"infer_int8_per_s": 300.0, "end_to_end_int8_per_s": 60.0}
    rates |= {"infer_fp32_per_s": 100.0, "end_to_end_fp32_per_s": 40.0}
    figures = compare_precisions(rates, ("int8", "fp32"))
    assert figures["limit_per_s"] == figures["limit_int8_per_s"] == pytest.approx(75)
    assert figures["end_to_end_over_limit"] == pytest.approx(0.8)
    assert figures["end_to_end_over_limit_fp32"] == pytest.approx(0.8)
    assert (figures["infer_per_s"], figures["end_to_end_per_s"]) == (300, 60)
    assert (figures["over_keras_dataset"], figures["over_keras_dataset_fp32"]) == (6, 4)
    assert "over_keras_one_by_one" not in figures


def test_what_fails_in_a_race_is_left_out():
    told: list[str] = []
    laps = iter([1.0, 5.0, 3.0])

    def broken() -> float:
        raise PartFailed("TensorFlow is not installed")

    rates = race({"broken": broken, "sound": lambda: next(laps)}, 3, told.append)
    assert rates == {"sound": 3.0}
    assert "broken is left out: TensorFlow is not installed" in told


def test_a_ratio_without_its_parts_is_left_out():
    assert compare_precisions({"decode_per_s": 100.0, "infer_fp32_per_s": 50.0}, ("fp32",)) == {
        "infer_per_s": 50.0
    }


@pytest.mark.parametrize("part", [first_verdict, peak_memory, planning])
def test_a_part_that_fails_has_no_figures(part, setting: Setting):
    # A file where the part wants a folder.
    for name in ("first", "memory-20", "many"):
        (setting.folder / name).write_text("")
    figures = measure(setting, [part])
    assert not set(PROMISED) & set(figures)


def test_a_part_keeps_what_it_found_before_it_failed(setting: Setting):
    told: list[str] = []

    def part(setting: Setting):
        yield {"read_per_s": 2.0}
        raise FAILURES[0]("no more")

    talking = Setting(
        setting.bundle, setting.registry, ("fp32",), setting.folder, QUICK, told.append
    )
    figures = measure(talking, [part])
    assert figures["read_per_s"] == 2
    assert figures["quick"] == 1
    assert told == ["part failed, its figures are left out: no more"]


def test_an_unknown_model_is_wrong_usage(tmp_path: Path):
    assert main(["--model", "unknown", "--output", str(tmp_path)]) == 2
    assert not list(tmp_path.iterdir())


def test_pictures_are_distinct_and_as_large_as_photographs(tmp_path: Path):
    paths = write_pictures(tmp_path, 10, distinct=4)
    contents = [path.read_bytes() for path in paths]
    assert len(set(contents)) == 4
    assert contents[:4] == [portrait(seed, 256, 256) for seed in range(4)]
    assert all(10_000 < len(content) < 40_000 for content in contents)
    decoded = decode(contents[0], size=128)
    assert isinstance(decoded, Decoded)
    assert (decoded.width, decoded.height) == (256, 256)
    assert 20 < np.std(decoded.pixels) < 90


def test_the_table_has_units():
    shown = table({"precision": "fp32", "read_per_s": 1234.5, "over_keras_dataset": 1.9876})
    assert [line.split() for line in shown.splitlines()] == [
        ["precision", "fp32"],
        ["read_per_s", "1,234", "images/s"],
        ["over_keras_dataset", "1.99", "times"],
    ]
