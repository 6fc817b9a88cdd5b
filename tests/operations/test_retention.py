"""Old working files go, and verdicts only if asked; a plan finds what is known among many rows."""

import datetime as dt
import json
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from deepfake_core import cli
from deepfake_core.errors import OutputError
from deepfake_core.records import Json
from deepfake_core.results import latest as core_newest
from deepfake_core.results import store as results
from deepfake_core.results.layout import LATEST, published_name
from deepfake_core.results.schema import VERDICTS, with_metadata
from deepfake_core.results.store import Results
from deepfake_core.results.verdict_files import parquet_bytes, verdict_chunks
from deepfake_core.scanning import history as past
from deepfake_core.scanning.config import ScanConfig
from deepfake_core.scanning.executor import open_judge
from deepfake_core.scanning.history import History, read_history
from deepfake_core.scanning.plan import make_plan
from deepfake_core.scanning.scan import begin, commit_shard, finish
from deepfake_core.scanning.selection import build_manifest
from deepfake_core.storage.listing import Listing
from deepfake_core.storage.local import LocalStorage
from tests.support.runs import a_run

NOW = dt.datetime.now(dt.UTC)
OLD, RECENT = NOW - dt.timedelta(days=40), NOW - dt.timedelta(days=3)
SOURCE, CONFIG = "s3://photos", "f" * 64


def rows(names: list[str], run_id: str, day: dt.datetime, **other: str) -> pa.Table:
    """Verdicts of some images; `failure` makes them failed ones."""
    failure = other.get("failure")
    shared = {
        "source": SOURCE,
        "bytes": 1,
        "status": "failed" if failure else "ok",
        "failure": failure,
        "logit": None if failure else 0.0,
        "score": None if failure else 0.5,
        "label": None if failure else other.get("label", "real"),
        "model_id": other.get("model_id", "resnet50@1+00000000"),
        "run_id": run_id,
        "run_started": day,
    }
    content = [{"image": name, "etag": f"etag of {name}", **shared} for name in names]
    return pa.Table.from_pylist(content, schema=VERDICTS)


def publish(output: Path, table: pa.Table, *, config: str = CONFIG) -> None:
    run_id, day = table["run_id"][0].as_py(), table["run_started"][0].as_py().date()
    data = parquet_bytes(with_metadata(table, {"config_fingerprint": config}))
    LocalStorage(output).put(published_name(day.isoformat(), run_id), data)


def run_of(output: Path, table: pa.Table, *, state: str = "done") -> None:
    """A run as `scan` leaves it: run.json, a manifest, a part, a report, and its verdicts."""
    run_id, day = table["run_id"][0].as_py(), table["run_started"][0].as_py().date()
    storage = LocalStorage(output)
    counts = {"listed": len(table), "judged": len(table), "failed": 0, "skipped": 0}
    run = a_run(run_id=run_id, run_date=day.isoformat(), state=state, counts=counts)
    Results(storage).put_run(run)
    for name in ("manifest.parquet", "parts/part-00000.parquet", "report.html"):
        storage.put(f"runs/{run_id}/{name}", parquet_bytes(table))
    publish(output, table)
    Results(storage).update_latest(published_name(day.isoformat(), run_id))


@pytest.fixture
def output(tmp_path: Path) -> Path:
    output = tmp_path / "out"
    run_of(output, rows(["a", "b"], "old", OLD))
    run_of(output, rows(["c"], "broken-off", OLD), state="running")
    run_of(output, rows(["b", "d"], "recent", RECENT))
    return output


def files(output: Path) -> set[str]:
    return set(LocalStorage(output).list_files().paths)


def retention(output: Path, capsys: pytest.CaptureFixture[str], *options: str) -> Json:
    arguments = ["retention", "--output", str(output), "--keep-days", "30", "--json", *options]
    assert cli.main(arguments) == 0
    found: Json = json.loads(capsys.readouterr().out)
    return found


def test_working_files_of_old_finished_runs_go(output: Path, capsys: pytest.CaptureFixture[str]):
    before, latest = files(output), (output / LATEST).read_bytes()
    gone = {"runs/old/manifest.parquet", "runs/old/parts/part-00000.parquet"}
    size = sum((output / name).stat().st_size for name in gone)
    told = retention(output, capsys, "--dry-run")
    assert files(output) == before
    removed = retention(output, capsys)
    assert before - files(output) == gone
    assert {**told, "dry_run": False} == removed
    assert {name: removed[name] for name in ("runs", "parts", "manifests", "verdicts")} == {
        "runs": 1,
        "parts": 1,
        "manifests": 1,
        "verdicts": 0,
    }
    assert removed["kept_runs"] == ["broken-off"]
    assert removed["bytes"] == size
    assert (output / LATEST).read_bytes() == latest
    assert retention(output, capsys)["bytes"] == 0


def test_parts_stay_where_their_verdicts_are_missing(
    output: Path, capsys: pytest.CaptureFixture[str]
):
    (output / published_name(OLD.date().isoformat(), "old")).unlink()
    removed = retention(output, capsys)
    assert removed["kept_runs"] == ["broken-off", "old"]
    assert (output / "runs/old/parts/part-00000.parquet").exists()


def test_old_verdicts_go_if_asked_and_latest_holds_what_is_left(
    output: Path, capsys: pytest.CaptureFixture[str]
):
    removed = retention(output, capsys, "--verdicts", "--dry-run")
    # The newest verdict of b is recent; the run that was broken off keeps its own.
    assert (removed["verdicts"], removed["forgotten"]) == (1, 1)
    assert pq.read_table(output / LATEST)["image"].to_pylist() == ["a", "b", "c", "d"]
    retention(output, capsys, "--verdicts")
    assert pq.read_table(output / LATEST)["image"].to_pylist() == ["b", "c", "d"]
    assert not (output / published_name(OLD.date().isoformat(), "old")).exists()
    assert (output / "runs/old/report.html").exists()


def test_a_retention_that_was_killed_is_finished_by_the_next(
    output: Path, capsys: pytest.CaptureFixture[str]
):
    (output / published_name(OLD.date().isoformat(), "old")).unlink()
    assert retention(output, capsys, "--verdicts")["forgotten"] == 1
    assert pq.read_table(output / LATEST)["image"].to_pylist() == ["b", "c", "d"]
    assert retention(output, capsys, "--verdicts")["forgotten"] == 0


def test_what_was_judged_is_still_known(
    tiny_registry: Path,
    image_folder: Callable[..., Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
):
    source, output = image_folder(3), tmp_path / "out"
    config = ScanConfig(source=str(source), output=str(output), model="tiny")
    plan = make_plan(config, now=OLD, registry=tiny_registry)
    begin(plan)
    with open_judge(plan) as judge:
        commit_shard(plan, judge, 0)
    finish(plan)
    assert retention(output, capsys)["parts"] == 1
    arguments = ["redecide", plan.run_id, "--thresholds", "0.3,0.8", "--output", str(output)]
    assert cli.main(arguments) != 0
    assert "retention" in capsys.readouterr().err
    again = make_plan(config, registry=tiny_registry)
    assert again.wanted.num_rows == 0
    assert retention(output, capsys, "--verdicts")["forgotten"] == 3
    assert make_plan(config, registry=tiny_registry).wanted.num_rows == 3


@pytest.mark.parametrize("arguments", [["--keep-days", "0"], ["--keep-days", "9", "--output", "x"]])
def test_wrong_usage(arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "reports").mkdir()
    assert cli.main(["retention", *arguments]) == 2


def listed(names: list[str]) -> pa.Table:
    count = len(names)
    etags: list[str | None] = [f"etag of {name}" for name in names]
    return build_manifest(Listing(list(names), [1] * count, etags, [0.0] * count))


def looked(output: Path, names: list[str]) -> History:
    return read_history(Results(LocalStorage(output)), SOURCE, CONFIG, listed=listed(names))


@pytest.mark.parametrize("rows_at_once", [1, 3, 200_000])
def test_any_number_of_rows_at_once_finds_the_same(
    rows_at_once: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(past, "ROWS_AT_ONCE", rows_at_once)
    names = [f"{index:02d}.jpg" for index in range(20)]
    publish(tmp_path, rows(names[:8], "1", OLD, label="fake"))
    publish(tmp_path, rows(names[4:12], "2", RECENT, model_id="resnet50@2+1"), config="other")
    publish(tmp_path, rows(names[12:14], "3", RECENT, failure="read.failed"))
    found = looked(tmp_path, [*names[2:], "zz"])
    known = found.listed.filter(pa.array(found.known))["image"].to_pylist()
    assert known == names[2:8]
    assert found.gone == 2
    label = dict(zip(names[2:], found.listed["seen_label"].to_pylist(), strict=False))
    assert [label[name] for name in names[2:14]] == ["fake"] * 2 + ["real"] * 8 + [None] * 2
    seen = found.listed["seen"].to_pylist()
    assert seen == [OLD] * 2 + [RECENT] * 10 + [None] * 7


def test_an_image_is_known_by_its_name_and_etag(tmp_path: Path):
    table = rows(["a", "b", "c", "d"], "1", RECENT)
    etags = pa.array(["etag of a", "other", None, "etag of a"])
    publish(tmp_path, table.set_column(2, VERDICTS.field("etag"), etags))
    manifest = listed(["a", "b", "c", "d"])
    found = read_history(Results(LocalStorage(tmp_path)), SOURCE, CONFIG, listed=manifest)
    assert found.known.tolist() == [True, False, False, False]
    other = read_history(Results(LocalStorage(tmp_path)), "s3://other", CONFIG, listed=manifest)
    assert not other.known.any()
    assert other.gone == 0


def test_nothing_listed_and_nothing_published(tmp_path: Path):
    assert looked(tmp_path, ["a"]).known.tolist() == [False]
    publish(tmp_path, rows(["a"], "1", RECENT))
    found = looked(tmp_path, [])
    assert (len(found.known), found.gone) == (0, 1)


def test_a_file_that_is_no_verdicts_is_named(tmp_path: Path):
    publish(tmp_path, rows(["a"], "1", RECENT))
    path = published_name(RECENT.date().isoformat(), "1")
    storage = LocalStorage(tmp_path)
    storage.put(path, b"no parquet")
    with pytest.raises(OutputError, match=r"1\.parquet cannot be read"):
        list(verdict_chunks(storage, path, ("image",), rows=10))
    storage.put(path, parquet_bytes(pa.table({"image": ["a"]})))
    with pytest.raises(OutputError, match="schema version none"):
        list(verdict_chunks(storage, path, ("image",), rows=10))


@pytest.mark.parametrize("rows_at_once", [1, 2, 100])
def test_latest_brought_up_to_date_is_latest_made_again(
    rows_at_once: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(results, "MERGED_AT_ONCE", rows_at_once)
    monkeypatch.setattr(core_newest, "SORTED_AT_ONCE", rows_at_once)
    monkeypatch.setattr(core_newest, "ROWS_HELD", rows_at_once)
    monkeypatch.setattr(core_newest, "FILES_AT_ONCE", 2)
    output = Results(LocalStorage(tmp_path))
    nights = [["b", "d", "f"], ["a", "d", "z"], ["c", "f"]]
    for index, names in enumerate(nights):
        day = OLD + dt.timedelta(days=index)
        failure = {"failure": "read.failed"} if index == 2 else {}
        publish(tmp_path, rows(names, str(index), day, **failure))
        output.update_latest(published_name(day.date().isoformat(), str(index)))
    updated = pq.read_table(tmp_path / LATEST)
    assert output.rebuild_latest() == 6
    assert pq.read_table(tmp_path / LATEST).equals(updated)
    assert updated["run_id"].to_pylist() == ["1", "0", "2", "1", "0", "1"]
