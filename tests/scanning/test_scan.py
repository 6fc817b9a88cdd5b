"""A scan gives one row per image, in order, whatever the images and their grouping are."""

import datetime as dt
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from deepfake_core.errors import PlanMismatch, SourceError
from deepfake_core.models.decision import calibrate, decide
from deepfake_core.models.registry import find_model
from deepfake_core.records import Json
from deepfake_core.results.schema import VERDICTS
from deepfake_core.scanning import scan as steps
from deepfake_core.scanning.config import ScanConfig
from deepfake_core.scanning.plan import Plan, make_plan
from deepfake_core.scanning.result import unlisted_words
from deepfake_core.scanning.scan import Execution, begin, commit_shard, scan

ROOT = Path(__file__).resolve().parents[2]
NOT_UTF8, NOT_UTF8_ESCAPED = b"caf\xe9.jpg", "caf\\xe9.jpg"
ODD_NAMES = [
    "-dash.jpg",
    "--output",
    "a\nnewline.jpg",
    "a b.jpg",
    " leading and trailing ",
    "two..dots.jpg",
    "b..c/d..e.jpg",
    "Z.jpg",
    "no extension",
    "umlaut-\u00fc.jpg",
    "umlaut-u\u0308.jpg",
    "emoji-\U0001f600.jpg",
    "wide-\uff5e.jpg",
    "'quotes\".jpg",
    "percent%20.jpg",
    "back\\slash.jpg",
    "star*?[a].jpg",
    "s3:/bucket.jpg",
]

Scanned = tuple[Json, pa.Table]
Scan = Callable[..., Scanned]


@pytest.fixture
def run(tiny_registry: Path, tmp_path: Path) -> Scan:
    """Scans with the tiny model; returns the result and the published rows."""

    def scan_it(source: Path, **settings: Any) -> Scanned:
        settings = {"model": "tiny", "output": str(tmp_path / "out"), **settings}
        result = scan(ScanConfig(source=str(source), **settings), registry=tiny_registry)
        path = result["verdicts"]
        rows = pq.read_table(path, partitioning=None) if path else VERDICTS.empty_table()
        return result, rows

    return scan_it


def reasons(result: Json, output: Path) -> dict[str, str | None]:
    """Why each listed image was skipped, as the manifest says."""
    manifest = pq.read_table(output / "runs" / result["run_id"] / "manifest.parquet")
    return dict(zip(manifest["image"].to_pylist(), manifest["skip"].to_pylist(), strict=True))


def scores_by_image(rows: pa.Table) -> dict[str, float | None]:
    return dict(zip(rows["image"].to_pylist(), rows["score"].to_pylist(), strict=True))


def test_one_row_per_image_in_the_order_of_utf8_bytes(
    run: Scan, picture: Callable[..., bytes], tmp_path: Path
):
    digests = {}
    for seed, name in enumerate([*ODD_NAMES, os.fsdecode(NOT_UTF8)]):
        path = tmp_path / "images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(picture(seed))
        image = name if name in ODD_NAMES else NOT_UTF8_ESCAPED
        digests[image] = hashlib.sha256(picture(seed)).hexdigest()

    result, rows = run(tmp_path / "images", shard_size=4, batch_size=3)

    assert rows["image"].to_pylist() == sorted(digests, key=str.encode)
    assert rows["sha256"].to_pylist() == [digests[name] for name in rows["image"].to_pylist()]
    assert result["judged"] == result["listed"] == len(digests)


def test_what_is_no_image_of_the_source_is_left_out(
    run: Scan, image_folder: Callable[..., Path], picture: Callable[..., bytes], tmp_path: Path
):
    source = image_folder(1, folder=tmp_path / "images")
    (source / ".hidden.jpg").write_bytes(picture(1))
    (source / ".git").mkdir()
    (source / ".git" / "a.jpg").write_bytes(picture(1))
    (source / "folder.jpg").mkdir()
    (source / "loop").symlink_to(source)
    (source / "self").symlink_to("self")
    (source / "to nothing.jpg").symlink_to("missing.jpg")
    os.mkfifo(source / "pipe.jpg")
    (tmp_path / "elsewhere.jpg").write_bytes(picture(2))
    (source / "link.jpg").symlink_to(tmp_path / "elsewhere.jpg")
    output = source / "below" / "results"

    for _ in range(2):
        _, rows = run(source, output=str(output), full=True)
        assert rows["image"].to_pylist() == ["0000.jpg", "link.jpg"]
        assert rows["status"].to_pylist() == ["ok", "ok"]


def test_the_output_is_left_out_however_it_is_reached(
    run: Scan, image_folder: Callable[..., Path], tmp_path: Path
):
    source = image_folder(2, folder=tmp_path / "images")
    (tmp_path / "link").symlink_to(source)
    for _ in range(2):
        result, _ = run(tmp_path / "link", output=str(source / "results"), full=True)
        assert result["listed"] == 2


def test_the_output_may_be_above_the_source_but_not_be_it(
    run: Scan, image_folder: Callable[..., Path], tmp_path: Path
):
    source = image_folder(2, folder=tmp_path / "images")
    result, _ = run(source, output=str(tmp_path))
    assert result["listed"] == 2
    with pytest.raises(SourceError, match="--output"):
        run(source, output=str(source))


def test_failures_are_values_and_change_no_other_verdict(
    run: Scan, image_folder: Callable[..., Path]
):
    source = image_folder(12, broken=True)
    result, rows = run(source)
    failed = rows.filter(pa.compute.equal(rows["status"], "failed")).to_pylist()
    assert {row["image"]: row["failure"] for row in failed} == {
        "broken-cut.jpg": "decode.corrupt",
        "broken-empty.png": "decode.unsupported",
        "broken-text.jpg": "decode.unsupported",
    }
    assert all(row[name] is None for row in failed for name in ("logit", "score", "label"))
    assert all(row["sha256"] for row in failed)
    assert not any(str(source) in (row["detail"] or "") for row in failed)
    assert (result["listed"], result["judged"], result["failed"]) == (15, 12, 3)
    assert result["failures"] == {"decode.corrupt": 1, "decode.unsupported": 2}

    _, alone = run(source, full=True, exclude="broken-*")
    expected, found = scores_by_image(alone), scores_by_image(rows)
    assert len(expected) == 12
    assert {name: found[name] for name in expected} == pytest.approx(expected, abs=1e-4)


def test_rows_obey_the_contract(run: Scan, image_folder: Callable[..., Path], tiny_registry: Path):
    source = image_folder(30)
    result, rows = run(source, shard_size=7)
    bundle = find_model("tiny", tiny_registry)
    description = bundle.description

    assert rows.schema.remove_metadata() == VERDICTS
    scores = rows["score"].to_numpy()
    labels = rows["label"].to_pylist()
    np.testing.assert_array_equal(
        scores, calibrate(rows["logit"].to_numpy(), description.calibration)
    )
    assert labels == [str(label) for label in decide(scores, description.thresholds)]
    assert set(labels) == {"fake", "real", "uncertain"}
    assert Counter(result["labels"]) == Counter(labels)
    assert set(rows["source"].to_pylist()) == {str(source)}
    assert set(rows["model_id"].to_pylist()) == {bundle.model_id} == {result["model_id"]}
    assert set(rows["run_id"].to_pylist()) == {result["run_id"]}
    assert set(rows["format"].to_pylist()) == {"JPEG", "PNG"}
    for row in rows.to_pylist():
        found = (source / row["image"]).stat()
        assert row["etag"] == f"{found.st_size}-{found.st_mtime_ns}"
        assert row["bytes"] == found.st_size


def test_the_footer_says_how_the_rows_were_made(run: Scan, image_folder: Callable[..., Path]):
    result, _ = run(image_folder(8), shard_size=3)
    file = pq.ParquetFile(result["verdicts"])
    footer = {key.decode(): value.decode() for key, value in file.schema_arrow.metadata.items()}
    assert footer["deepfake.schema_version"] == "2"
    assert footer["deepfake.run_id"] == result["run_id"]
    assert footer["deepfake.model_id"] == result["model_id"]
    assert footer["deepfake.precision"] == "fp32"
    assert footer["deepfake.engine"] == "openvino"
    assert json.loads(footer["deepfake.thresholds"]) == {"real_below": 0.4, "fake_from": 0.6}
    assert float(footer["deepfake.temperature"]) == 0.5
    assert len(footer["deepfake.manifest_fingerprint"]) == 64
    group = file.metadata.row_group(0)
    columns = {group.column(at).path_in_schema: group.column(at) for at in range(group.num_columns)}
    for name in ("source", "model_id", "run_id", "label", "status"):
        assert "RLE_DICTIONARY" in columns[name].encodings


def test_grouping_changes_no_score(run: Scan, image_folder: Callable[..., Path], tmp_path: Path):
    source = image_folder(40, broken=True)
    _, rows = run(source)
    expected = rows["score"].to_numpy()
    assert np.nanstd(expected) > 0.1
    rng = random.Random(0)
    for number in range(6):
        sizes = {"batch_size": rng.randint(1, 40), "shard_size": rng.randint(1, 43)}
        _, again = run(source, output=str(tmp_path / str(number)), **sizes)
        assert again["image"].equals(rows["image"])
        np.testing.assert_allclose(again["score"].to_numpy(), expected, atol=1e-4)


def test_an_image_alone_scores_as_in_a_crowd(run: Scan, image_folder: Callable[..., Path]):
    source = image_folder(20)
    crowd = scores_by_image(run(source)[1])
    for name in ("0000.jpg", "below/0004.jpg", "0011.png"):
        alone = scores_by_image(run(source, include=name, full=True)[1])
        assert alone == pytest.approx({name: crowd[name]}, abs=1e-4)


def planned(config: ScanConfig, registry: Path, now: dt.datetime | None = None) -> Plan:
    """A run that was planned and stored, and nothing more."""
    plan = make_plan(config, registry=registry, now=now)
    begin(plan)
    return plan


@pytest.mark.parametrize(
    ("field", "change"),
    [
        ("source", {"source": "other"}),
        ("model", {"model": "tiny@2"}),
        ("shard_size", {"shard_size": 6}),
        ("precision", {}),
    ],
)
def test_a_resume_with_other_settings_is_refused(
    image_folder: Callable[..., Path],
    two_models: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    field: str,
    change: dict[str, Any],
):
    monkeypatch.chdir(tmp_path)
    image_folder(3, folder=tmp_path / "images")
    image_folder(3, folder=tmp_path / "other")
    settings = {"source": "images", "output": "out", "model": "tiny@1", "run_id": "r"}
    plan = planned(ScanConfig(shard_size=5, **settings), two_models)
    if field == "precision":
        # The tiny model has one precision, so the plan is made to have had another.
        plan.run.precision = "bf16"
        plan.store_run()
    before = (tmp_path / "out" / "runs" / "r" / "run.json").read_bytes()

    with pytest.raises(PlanMismatch, match=field) as refused:
        scan(ScanConfig(**{"shard_size": 5, **settings, **change}), registry=two_models)

    assert "another run id" in str(refused.value)
    assert (tmp_path / "out" / "runs" / "r" / "run.json").read_bytes() == before


def test_a_finished_run_is_left_as_it_is(
    run: Scan, image_folder: Callable[..., Path], tmp_path: Path
):
    source = image_folder(6)
    first, _ = run(source, run_id="r")
    image_folder(9, folder=source)
    files = {path: path.stat() for path in (tmp_path / "out").rglob("*") if path.is_file()}
    # Not even other settings matter.
    again, _ = run(source, run_id="r", shard_size=2, full=True)
    assert again == first
    after = {path: path.stat() for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert {path: found.st_mtime_ns for path, found in files.items()} == {
        path: found.st_mtime_ns for path, found in after.items()
    }


def test_a_resume_continues_the_stored_list(
    image_folder: Callable[..., Path], tiny_registry: Path, tmp_path: Path
):
    source = image_folder(5)
    settings = {"source": str(source), "output": str(tmp_path / "out"), "model": "tiny"}
    planned(ScanConfig(run_id="r", **settings), tiny_registry)
    image_folder(9, folder=source)
    result = scan(ScanConfig(run_id="r", **settings), registry=tiny_registry)
    assert result["listed"] == result["judged"] == 5


def test_a_resume_after_midnight_keeps_the_date(
    run: Scan, image_folder: Callable[..., Path], tiny_registry: Path, tmp_path: Path
):
    source = image_folder(5)
    config = ScanConfig(source=str(source), output=str(tmp_path / "out"), model="tiny", run_id="r")
    started = dt.datetime(2026, 11, 24, 23, 59, 59, 123456, tzinfo=dt.UTC)
    planned(config, tiny_registry, started)
    again = make_plan(config, registry=tiny_registry, now=started + dt.timedelta(minutes=5))
    assert again.run.run_date == "2026-11-24"

    result, rows = run(source, run_id="r")
    assert result["verdicts"].endswith("verdicts/run_date=2026-11-24/r.parquet")
    assert set(rows["run_started"].to_pylist()) == {started}


SLOW_COMMAND = """
import functools, signal, sys, time
from deepfake_core import cli
from deepfake_core.scanning import scan

# It is ignored in what a shell runs in the background, and that is inherited.
signal.signal(signal.SIGINT, signal.default_int_handler)

def slow(*arguments):
    time.sleep(0.05)
    return scan.commit_shard(*arguments)

scan.scan = functools.partial(scan.scan, execution=scan.Execution(commit=slow))
sys.exit(cli.main())
"""


@pytest.mark.processes
def test_an_interrupted_run_can_be_resumed(
    run: Scan, image_folder: Callable[..., Path], tiny_registry: Path, tmp_path: Path
):
    source, output = image_folder(40), tmp_path / "out"
    arguments = [sys.executable, "-c", SLOW_COMMAND, "scan", str(source)]
    arguments += ["--registry", str(tiny_registry)]
    arguments += ["--output", str(output), "--model", "tiny", "--run-id", "r", "--shard-size", "2"]
    process = subprocess.Popen(
        arguments,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stderr=subprocess.PIPE,
        text=True,
    )
    parts = output / "runs" / "r" / "parts"
    while process.poll() is None and not list(parts.glob("*")):
        time.sleep(0.005)
    process.send_signal(signal.SIGINT)
    _, messages = process.communicate(timeout=60)

    assert process.returncode == 130
    assert messages.splitlines()[-1].endswith("--run-id r")
    assert "Traceback" not in messages
    assert not list(output.glob("verdicts/**/*.parquet"))
    committed = len(list(parts.iterdir()))
    assert 0 < committed < 20
    result, rows = run(source, run_id="r", shard_size=2)
    assert result["judged"] == len(set(rows["image"].to_pylist())) == 40


def test_max_minutes_ends_a_run_between_shards(
    run: Scan,
    image_folder: Callable[..., Path],
    tiny_registry: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    minutes = 0

    def commit(*arguments: Any) -> Json:
        nonlocal minutes
        minutes += 1
        return commit_shard(*arguments)

    clock = SimpleNamespace(monotonic=lambda: 60 * minutes)
    monkeypatch.setattr(steps, "time", clock)
    source, output = image_folder(10), tmp_path / "out"
    config = ScanConfig(
        source=str(source), output=str(output), model="tiny", shard_size=3, max_minutes=1.5
    )
    result = scan(config, registry=tiny_registry, execution=Execution(commit=commit))
    assert (result["listed"], result["judged"], result["skipped"]) == (10, 6, 4)
    assert result["skipped_reasons"] == {"time": 4}

    rest, rows = run(source)
    assert rest["skipped_reasons"] == {"known": 6}
    assert rows.num_rows == 4


def test_max_minutes_may_leave_no_time_at_all(run: Scan, image_folder: Callable[..., Path]):
    result, _ = run(image_folder(4), max_minutes=1e-9)
    assert (result["listed"], result["skipped"], result["verdicts"]) == (4, 4, None)


def test_scope(run: Scan, image_folder: Callable[..., Path], tmp_path: Path):
    source = image_folder(10)
    names = sorted(str(path.relative_to(source)) for path in source.rglob("*.*"))

    def judged(**settings: Any) -> list[str]:
        result, rows = run(source, full=True, **settings)
        images = rows["image"].to_pylist()
        why = reasons(result, tmp_path / "out")
        assert list(why) == names
        assert [name for name, reason in why.items() if reason is None] == images
        assert result["listed"] == result["judged"] + result["failed"] + result["skipped"] == 10
        return images

    assert judged(include="*.png") == [name for name in names if name.endswith(".png")]
    assert judged(include="below/*") == ["below/0004.jpg", "below/0009.jpg"]
    assert judged(exclude="*.png") == [name for name in names if name.endswith(".jpg")]
    assert judged(include="*.jpg", exclude="below/*") == [
        name for name in names if name.endswith(".jpg") and "/" not in name
    ]
    assert judged(limit=3) == names[:3]
    assert judged(limit=2, include="below/*") == ["below/0004.jpg", "below/0009.jpg"]
    assert judged(limit=99) == names


def test_since(run: Scan, image_folder: Callable[..., Path], tmp_path: Path):
    source = image_folder(4)
    times = {"0000.jpg": "2026-11-23T23:59:59", "0001.jpg": "2026-11-24T00:00:00"}
    for path in source.rglob("*.*"):
        moment = dt.datetime.fromisoformat(times.get(path.name, "2026-11-25T12:00:00"))
        seconds = moment.replace(tzinfo=dt.UTC).timestamp()
        os.utime(path, (seconds, seconds))
    result, rows = run(source, since="2026-11-24")
    assert rows["image"].to_pylist() == ["0001.jpg", "0002.png", "0003.jpg"]
    assert reasons(result, tmp_path / "out")["0000.jpg"] == "old"
    _, rows = run(source, since="2026-11-24T02:00:00+02:00", full=True)
    assert rows.num_rows == 3


def test_an_empty_source_is_refused(run: Scan, picture: Callable[..., bytes], tmp_path: Path):
    (tmp_path / "images" / "below").mkdir(parents=True)
    (tmp_path / "images" / ".hidden.jpg").write_bytes(picture(1))
    with pytest.raises(SourceError, match="no files"):
        run(tmp_path / "images")
    assert not (tmp_path / "out").exists()


def test_folders_that_cannot_be_listed_are_told(
    run: Scan,
    image_folder: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    source = image_folder(6)
    locked = os.path.join(source, os.fsdecode(b"l\xf6cked"))
    os.mkdir(locked)
    scandir = os.scandir

    def refuse(path: Any) -> Any:
        if str(path) == locked:
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    result, rows = run(source)
    assert rows.num_rows == 6
    stored = json.loads((tmp_path / "out" / "runs" / result["run_id"] / "run.json").read_text())
    assert len(stored["unlisted_folders"]) == 1
    assert result["unlisted_folders"] == stored["unlisted_folders"]
    assert unlisted_words(["a"] * 7) == [
        "7 folders could not be listed, what is in there is unknown: a, a, a, a, a and 2 more"
    ]
    (words,) = unlisted_words(result["unlisted_folders"])
    assert words.startswith("1 folder could not be listed")
    assert unlisted_words([]) == []


# One file


@pytest.mark.parametrize("name", ["0000.jpg", "below/0004.jpg"])
def test_one_file_is_scanned_as_one_of_its_folder(run: Scan, image_folder, name: str):
    folder = image_folder(6)
    whole, _ = run(folder, run_id="whole")
    assert whole["judged"] == 6
    (folder / "gone.jpg").touch()
    result, rows = run(folder / name, run_id="one", full=True)
    assert (result["listed"], result["judged"], result["skipped"]) == (1, 1, 0)
    parent, _, last = f"/{name}".rpartition("/")
    assert rows["source"].to_pylist() == [f"{folder}{parent}"]
    assert rows["image"].to_pylist() == [last]
    # Of the others nothing is known, so none is called gone.
    assert result["gone"] is None
    if parent == "":
        again, _ = run(folder, run_id="again")
        assert again["listed"] == 7
        assert again["gone"] == 0


def test_a_file_that_was_judged_with_its_folder_is_known(run: Scan, image_folder):
    folder = image_folder(3)
    run(folder)
    result, _ = run(folder / "0001.jpg")
    assert (result["listed"], result["skipped"]) == (1, 1)


def test_a_run_of_one_file_is_not_resumed_with_another(
    tiny_registry: Path, image_folder, tmp_path: Path
):
    folder = image_folder(3)

    def config(source: Path) -> ScanConfig:
        output = str(tmp_path / "out")
        return ScanConfig(source=str(source), output=output, model="tiny", run_id="r")

    plan = make_plan(config(folder / "0000.jpg"), registry=tiny_registry)
    plan.claim()
    plan.store_run()
    assert make_plan(config(folder / "0000.jpg"), registry=tiny_registry).run.file == "0000.jpg"
    for other in (folder / "0001.jpg", folder):
        with pytest.raises(PlanMismatch, match=r"with file 0000\.jpg, now"):
            make_plan(config(other), registry=tiny_registry)


def test_neither_a_pipe_nor_a_name_of_nothing_is_a_file(run: Scan, tmp_path: Path):
    os.mkfifo(tmp_path / "pipe.jpg")
    for name in ("pipe.jpg", "missing.jpg"):
        with pytest.raises(SourceError, match="cannot list"):
            run(tmp_path / name)
