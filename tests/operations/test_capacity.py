"""The arithmetic of a capacity plan, on cases that are small enough to be done by hand."""

import json
from pathlib import Path

import pytest

from deepfake_core import cli
from deepfake_core.bench.coordinator import coordinator
from deepfake_core.bench.setting import Setting, Sizes
from deepfake_core.errors import UsageError
from deepfake_core.models.registry import find_model
from deepfake_core.operations.capacity import machines_for, simulate
from deepfake_core.operations.capacity_figures import (
    ASSUMED,
    PRICED,
    PRICES_FILE,
    Figure,
    read_figures,
)

# One machine judges 4 x 10 x 0.5 = 20 images/s, and reads 50 of 1 MB.
SMALL = {
    "shard_size": 100,
    "images_per_s_per_core": 10,
    "machine_cores": 4,
    "from_store_share": 0.5,
    "cluster_share": 1,
    "image_kb": 1000,
    "machine_gbit_per_s": 0.4,
    "prefixes": 2,
    "gets_per_s_per_prefix": 30,
    "send_ms": 10,
    "start_s": 5,
    "page_s": 2,
    "plan_us": 1000,
    "finish_us": 500,
    "coordinator_bytes": 1024,
    "machine_gib": 1,
    "row_bytes": 100,
    "largest_object_gb": 1,
    "sequential_hours": 1,
    "machine_dollars_per_hour": 3.6,
    "get_dollars_per_1000": 0.4,
    "put_dollars_per_1000": 5,
}


@pytest.fixture
def figures() -> dict[str, Figure]:
    assert SMALL.keys() == ASSUMED.keys() | set(PRICED)
    return read_figures(None, SMALL)


def test_phases_and_cost_of_a_small_scan(figures: dict[str, Figure]):
    found = simulate(2000, 2, figures)
    assert [(one.name, one.seconds, one.machines) for one in found.phases] == [
        ("list", 4, 1),
        ("plan", pytest.approx(2), 1),
        # 20 shards, 10 for each machine, at 40 images/s, and the start.
        ("judge", pytest.approx(55), 3),
        ("publish and report", pytest.approx(1), 1),
    ]
    assert found.hours == pytest.approx(62 / 3600)
    assert found.dollars == {
        "machines": pytest.approx((7 + 3 * 55) / 3600 * 3.6),
        "GET requests": pytest.approx(0.8),
        "LIST and PUT requests": pytest.approx(0.11),
    }
    assert found.memory_bytes == 2000 * 1024


@pytest.mark.parametrize(
    ("machines", "change", "rate", "limit"),
    [
        (2, {}, 40, "processors"),
        (4, {}, 60, "GET requests per prefix"),
        (4, {"prefixes": 3}, 80, "processors"),
        (2, {"image_kb": 5000}, 20, "network of the machines"),
        (2, {"send_ms": 5000}, 20, "scheduler"),
    ],
)
def test_the_lowest_limit_sets_the_pace(
    figures: dict[str, Figure], machines: int, change: dict[str, float], rate: float, limit: str
):
    found = simulate(1200, machines, read_figures(None, SMALL | change))
    assert next(iter(found.rates.items())) == (limit, pytest.approx(rate))
    assert found.phases[2].limit == limit
    assert found.phases[2].seconds == pytest.approx(1200 / rate + 5)


def test_machines_that_get_no_last_shard_wait(figures: dict[str, Figure]):
    # 3 shards for 2 machines take as long as 4; a single image takes a machine for itself.
    assert simulate(300, 2, figures).phases[2].seconds == pytest.approx(2 * 5 + 5)
    assert simulate(1, 2, figures).phases[2].limit == "one shard per machine, 1 machines idle"


def test_as_many_machines_as_the_hours_need(figures: dict[str, Figure]):
    allowed = simulate(2000, 2, figures).hours
    assert machines_for(2000, allowed, figures) == 2
    assert machines_for(2000, allowed - 1e-6, figures) == 3
    assert simulate(2000, 9, figures).useful_machines == 3
    # Listing, planning and publishing alone take 7 s.
    assert machines_for(2000, 7 / 3600, figures) is None


def test_what_breaks_first_comes_first(figures: dict[str, Figure]):
    breaks = simulate(1, 1, figures).breaks
    assert [round(one.images) for one in breaks] == [
        2**20,  # 1 GiB of memory
        1_800_000,  # an hour of listing
        2_400_000,  # an hour of planning and publishing
        10_000_000,  # a file of 1 GB
    ]
    assert "memory" in breaks[0].what
    assert "listing" in breaks[1].what


def test_figures_are_those_given_then_those_measured_then_those_assumed(tmp_path: Path):
    bench = tmp_path / "bench.json"
    measured = {"machine": "A processor, 8 cores, 16 GB, Linux", "end_to_end_per_s": 400.0}
    measured |= {"precision": "bf16", "coordinator_plan_us": 7.0, "first_verdict_s": 3.0}
    bench.write_text(json.dumps(measured))
    found = read_figures(bench, {"start_s": 9})
    assert found["images_per_s_per_core"].value == 50
    assert found["images_per_s_per_core"].origin == f"{bench}: end_to_end_per_s over 8 cores, bf16"
    assert (found["plan_us"].value, found["plan_us"].origin) == (7, f"{bench}: coordinator_plan_us")
    assert (found["start_s"].value, found["start_s"].origin) == (9, "given")
    assert found["finish_us"] == ASSUMED["finish_us"]
    assert all(figure.origin for figure in found.values())


def test_the_benchmark_measures_what_a_plan_reads(tiny_registry: Path, tmp_path: Path):
    sizes = Sizes(planned_files=100)
    bundle = find_model("tiny", tiny_registry)
    setting = Setting(bundle, tiny_registry, ("fp32",), tmp_path, sizes, lambda line: None)
    [found] = coordinator(setting)
    assert found["coordinator_images"] == 400
    assert all(value > 0 for name, value in found.items() if not name.endswith("_bytes"))
    (tmp_path / "bench.json").write_text(json.dumps(found | {"coordinator_image_bytes": 1000}))
    figures = read_figures(tmp_path / "bench.json", {})
    for name in ("plan_us", "finish_us", "row_bytes", "coordinator_bytes"):
        assert figures[name].origin.startswith(f"{tmp_path / 'bench.json'}: coordinator_")


def test_prices_are_dated_and_can_be_others(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert all("as of 20" in read_figures(None, {})[name].origin for name in PRICED)
    content = json.loads(PRICES_FILE.read_text())
    content["as_of"] = "2027-03"
    content["machine_dollars_per_hour"] = {"value": 0.1, "origin": "our own racks"}
    mine = tmp_path / "prices.json"
    mine.write_text(json.dumps(content))
    found = read_figures(None, {}, prices=mine)["machine_dollars_per_hour"]
    assert found == Figure(0.1, "$", "our own racks, as of 2027-03")
    assert cli.main(["plan", "--images", "1000", "--prices", str(mine)]) == 0
    assert "our own racks, as of 2027-03" in capsys.readouterr().out
    del content["put_dollars_per_1000"]
    mine.write_text(json.dumps(content))
    assert cli.main(["plan", "--prices", str(mine)]) == 2
    assert "put_dollars_per_1000" in capsys.readouterr().err


def test_wrong_figures_are_named(tmp_path: Path):
    for bench, given, message in (
        (None, {"imagekb": 1}, "no figure imagekb; there are: shard_size"),
        (None, {"image_kb": 0}, "image_kb is 0; a number above 0"),
        (tmp_path / "missing.json", {}, "cannot be read as figures"),
    ):
        with pytest.raises(UsageError, match=message):
            read_figures(bench, given)


def test_the_command_shows_the_plan(capsys: pytest.CaptureFixture[str]):
    small = [f"--set={name}={value}" for name, value in SMALL.items()]
    assert cli.main(["plan", "--images", "2000", "--machines", "2", *small]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("2,000 images, 2 machines and a coordinator: 0.0 h, $1;")
    assert "| processors | 40 |" in printed
    assert "| image_kb | 1,000 kB | given |" in printed
    assert cli.main(["plan", "--images", "2000", "--hours", "0.0172223", "--json", *small]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert (plan["machines"], plan["hours"]) == (2, pytest.approx(62 / 3600))
    assert plan["figures"]["image_kb"] == {"value": 1000, "unit": "kB", "origin": "given"}
    assert cli.main(["plan", "--hours", "0.001", *small]) == 1
    assert "no number of machines" in capsys.readouterr().err
    assert cli.main(["plan", "--set", "image_kb"]) == 2
