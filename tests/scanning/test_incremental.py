"""A scan judges what is new, and the newest verdict of every image is at hand."""

import datetime as dt
import errno
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deepfake_core import cli
from deepfake_core.inference import classifier
from deepfake_core.records import TRIED_AGAIN, Decoded, Failure, FailureCode, Json
from deepfake_core.results.latest import newest
from deepfake_core.results.layout import LATEST
from deepfake_core.results.schema import VERDICTS
from deepfake_core.results.store import Results
from deepfake_core.scanning.config import ScanConfig
from deepfake_core.scanning.plan import make_plan
from deepfake_core.scanning.scan import scan
from deepfake_core.storage import reading
from deepfake_core.storage.local import LocalStorage

ROOT = Path(__file__).resolve().parents[2]
RULES = settings(max_examples=60, deadline=None, derandomize=True)
Run = Callable[..., Json]


@pytest.fixture
def source(image_folder: Callable[..., Path], tmp_path: Path) -> Path:
    return image_folder(8, broken=True, folder=tmp_path / "images")


@pytest.fixture
def run(source: Path, two_models: Path, tmp_path: Path) -> Run:
    """Scans the source, by default with the tiny model's first version."""

    def scan_it(**options: Any) -> Json:
        options = {"source": str(source), "model": "tiny@1", **options}
        config = ScanConfig(output=str(tmp_path / "out"), **options)
        return scan(config, registry=two_models)

    return scan_it


def images(result: Json) -> list[str]:
    """What a run judged, failures included."""
    if result["verdicts"] is None:
        return []
    return pq.read_table(result["verdicts"], partitioning=None)["image"].to_pylist()


def latest(output: Path) -> dict[str, Json]:
    rows = pq.read_table(output / LATEST).to_pylist()
    found = {row["image"]: row for row in rows}
    assert len(found) == len(rows)
    return found


def published(output: Path) -> list[Path]:
    return sorted(path for path in output.glob("verdicts/**/*") if path.is_file())


def test_a_second_scan_judges_and_publishes_nothing(run: Run, tmp_path: Path):
    first = run()
    before = (tmp_path / "out" / LATEST).read_bytes()
    second = run()
    assert first["judged"] == 8
    assert (second["listed"], second["judged"], second["failed"]) == (11, 0, 0)
    assert second["skipped_reasons"] == {"known": 11}
    assert second["verdicts"] is None
    assert len(published(tmp_path / "out")) == 1
    assert (tmp_path / "out" / LATEST).read_bytes() == before
    assert Path(second["report"]).is_file()
    assert second["run_id"] != first["run_id"]


def test_a_second_run_id_alone_judges_nothing_again(run: Run):
    run(run_id="one")
    assert images(run(run_id="two")) == []


def test_full_judges_everything_again(run: Run):
    run()
    assert len(images(run(full=True))) == 11


def test_a_new_file_and_a_changed_file_are_judged(
    run: Run, source: Path, picture: Callable[..., bytes]
):
    run()
    (source / "new.jpg").write_bytes(picture(77))
    (source / "0003.jpg").write_bytes(picture(78))
    assert images(run()) == ["0003.jpg", "new.jpg"]
    assert images(run()) == []


def test_the_same_bytes_at_another_time_are_another_file(run: Run, source: Path):
    run()
    os.utime(source / "0000.jpg", (1, 1))
    assert images(run()) == ["0000.jpg"]


def test_another_source_is_judged(run: Run, source: Path, tmp_path: Path):
    run()
    shutil.copytree(source, tmp_path / "copy")
    assert len(images(run(source=str(tmp_path / "copy")))) == 11
    rows = pq.read_table(tmp_path / "out" / LATEST)
    assert rows.num_rows == 22


def test_another_model_judges_again_and_does_not_forget(run: Run):
    run()
    assert len(images(run(model="tiny@2"))) == 11
    assert images(run(model="tiny@2")) == []
    assert images(run()) == []


def test_another_configuration_judges_again(
    source: Path, two_models: Path, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
):
    run()
    # The tiny model has one precision, so another is put in its place.
    resolve = "deepfake_core.inference.opening.resolve_precision"
    monkeypatch.setattr(resolve, lambda bundle, wanted, available: "bf16")
    config = ScanConfig(source=str(source), output=str(tmp_path / "out"), model="tiny@1")
    assert make_plan(config, registry=two_models).wanted.num_rows == 11


def test_failed_reads_are_tried_again_and_failed_decodes_are_not(
    run: Run, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    read = LocalStorage.read
    refused = {
        "0000.jpg": OSError(errno.EIO, "Input/output error"),
        "0001.jpg": PermissionError(errno.EACCES, "Permission denied"),
        "0002.png": FileNotFoundError(errno.ENOENT, "No such file or directory"),
    }

    def read_or_raise(self: LocalStorage, path: str) -> bytes:
        if path in refused:
            raise refused[path]
        return read(self, path)

    monkeypatch.setattr(reading, "FIRST_PAUSE_SECONDS", 0)
    monkeypatch.setattr(LocalStorage, "read", read_or_raise)
    first = run()
    assert first["failures"] == {
        "decode.corrupt": 1,
        "decode.unsupported": 2,
        "read.denied": 1,
        "read.failed": 1,
        "read.not_found": 1,
    }
    assert latest(tmp_path / "out")["0000.jpg"]["failure"] == "read.failed"

    monkeypatch.undo()
    assert images(run()) == ["0000.jpg", "0001.jpg", "0002.png"]
    assert latest(tmp_path / "out")["0000.jpg"]["status"] == "ok"
    assert images(run()) == []


@pytest.mark.parametrize("code", ["decode.timeout", "decode.out_of_memory"])
def test_decodes_that_time_or_memory_ended_are_tried_again(
    run: Run, code: str, monkeypatch: pytest.MonkeyPatch
):
    whole = classifier.decode

    def decode_too_slowly(data: bytes, **options: Any) -> Decoded | Failure:
        decoded = whole(data, **options)
        return decoded if isinstance(decoded, Failure) else Failure(FailureCode(code), "too slow")

    monkeypatch.setattr(classifier, "decode", decode_too_slowly)
    assert run()["failures"][code] == 8

    monkeypatch.undo()
    assert len(images(run())) == 8
    assert images(run()) == []


def test_a_failed_read_replaces_no_verdict(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    run()
    before = latest(tmp_path / "out")

    def refuse(self: LocalStorage, path: str) -> bytes:
        raise PermissionError(errno.EACCES, "Permission denied")

    read = LocalStorage.read
    monkeypatch.setattr(
        LocalStorage,
        "read",
        lambda self, path: (refuse if "images" in str(self.root) else read)(self, path),
    )
    assert run(full=True)["failures"] == {"read.denied": 11}
    assert latest(tmp_path / "out") == before


def test_latest_holds_the_newest_verdict(run: Run, source: Path, tmp_path: Path):
    first, second = run(), run(full=True, limit=4)
    assert (first["judged"], second["judged"]) == (8, 4)
    found = latest(tmp_path / "out")
    assert len(found) == 11
    by_run = {name: row["run_id"] for name, row in found.items()}
    assert [name for name in by_run if by_run[name] == second["run_id"]] == images(second)
    # A file that is gone keeps its last verdict.
    (source / "0000.jpg").unlink()
    run(full=True)
    assert latest(tmp_path / "out")["0000.jpg"]["run_id"] == second["run_id"]


def test_an_older_run_that_ends_later_replaces_nothing(
    run: Run, source: Path, two_models: Path, tmp_path: Path
):
    config = ScanConfig(
        source=str(source), output=str(tmp_path / "out"), model="tiny@1", run_id="old"
    )
    plan = make_plan(config, registry=two_models, now=dt.datetime(2026, 1, 1, tzinfo=dt.UTC))
    plan.store_manifest()
    plan.store_run()
    new = run(run_id="new")
    assert scan(config, registry=two_models)["judged"] == new["judged"]
    assert {row["run_id"] for row in latest(tmp_path / "out").values()} == {"new"}


def test_the_command_rebuilds_latest(
    run: Run, source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    run()
    run(full=True, limit=3)
    before = pq.read_table(tmp_path / "out" / LATEST)
    (tmp_path / "out" / LATEST).unlink()
    assert cli.main(["latest", "--output", str(tmp_path / "out")]) == 0
    assert pq.read_table(tmp_path / "out" / LATEST).equals(before)
    assert "11 images" in capsys.readouterr().out


def rows_of(run_id: str, started: int, verdicts: dict[str, str | None]) -> pa.Table:
    """The rows of a run by image, each `ok` or a failure code."""
    moment = dt.datetime(2026, 1, 1, tzinfo=dt.UTC) + dt.timedelta(seconds=started)
    ok = {"status": "ok", "logit": 0.0, "score": 0.5, "label": "uncertain"}
    rows = [
        {
            "image": name,
            "source": "/images",
            "bytes": 1,
            "model_id": "tiny@1+00000000",
            "run_id": run_id,
            "run_started": moment,
            **(ok if failure is None else {"status": "failed", "failure": failure}),
        }
        for name, failure in verdicts.items()
    ]
    return pa.Table.from_pylist(rows, schema=VERDICTS)


VERDICT = st.sampled_from(
    [None, None, "read.failed", "read.denied", "decode.timeout", "decode.corrupt"]
)
RUNS = st.lists(
    st.tuples(st.integers(0, 5), st.dictionaries(st.sampled_from("abcd"), VERDICT)), max_size=6
)


@RULES
@given(runs=RUNS)
def test_bringing_runs_in_one_by_one_equals_a_rebuild(
    runs: list[tuple[int, dict[str, str | None]]],
):
    tables = [rows_of(f"run{at}", started, rows) for at, (started, rows) in enumerate(runs)]
    every = pa.concat_tables([VERDICTS.empty_table(), *tables])
    rebuilt = newest(every)
    one_by_one = VERDICTS.empty_table()
    for table in tables:
        one_by_one = newest(pa.concat_tables([one_by_one, table]))
    backwards = newest(pa.concat_tables([VERDICTS.empty_table(), *reversed(tables)]))
    assert one_by_one.equals(rebuilt)
    assert backwards.equals(rebuilt)

    candidates = every.to_pylist()
    assert rebuilt["image"].to_pylist() == sorted({row["image"] for row in candidates})
    for row in rebuilt.to_pylist():
        same = [other for other in candidates if other["image"] == row["image"]]
        verdicts = [one for one in same if one["failure"] not in TRIED_AGAIN]
        best = max(verdicts or same, key=lambda one: (one["run_started"], one["run_id"]))
        assert row == best


TWO_RUNS = """
import sys
from pathlib import Path
from deepfake_core.scanning.config import ScanConfig
from deepfake_core.scanning.scan import scan

_, registry, source, output = sys.argv
def wait(event, facts):
    if event == "published":
        print(flush=True)
        sys.stdin.readline()
scan(ScanConfig(source=source, output=output, model="tiny@1"), notify=wait,
     registry=Path(registry))
"""


@pytest.mark.processes
def test_two_runs_that_end_at_once_lose_nothing(
    image_folder: Callable[..., Path], two_models: Path, tmp_path: Path
):
    sources = [str(image_folder(4, seed=seed)) for seed in (1, 2)]
    runs = [
        subprocess.Popen(
            [sys.executable, "-c", TWO_RUNS, str(two_models), source, str(tmp_path / "out")],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        for source in sources
    ]
    for run in runs:
        run.stdout.readline()
    for run in runs:
        run.stdin.write(b"\n")
        run.stdin.flush()
    for run in runs:
        run.communicate(timeout=60)
        assert run.returncode == 0
    rows = pq.read_table(tmp_path / "out" / LATEST)
    assert sorted(rows["source"].to_pylist()) == sorted(sources * 4)


@pytest.mark.processes
def test_writers_of_latest_wait_for_each_other(tmp_path: Path):
    results = Results(LocalStorage(tmp_path))
    others = [rows_of(f"run{at}", at, {str(at): None}) for at in range(8)]
    paths = []
    for at, rows in enumerate(others):
        path = f"verdicts/run_date=2026-01-01/run{at}.parquet"
        metadata = {b"deepfake.schema_version": b"1"}
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(rows.replace_schema_metadata(metadata), tmp_path / path)
        paths.append(path)
    code = (
        "import sys; from pathlib import Path; from deepfake_core.results.store import Results;"
        "from deepfake_core.storage.local import LocalStorage;"
        "[Results(LocalStorage(Path(sys.argv[1]))).update_latest(path) for path in sys.argv[2:]]"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    half = [sys.executable, "-c", code, str(tmp_path), *paths[:4]]
    other = subprocess.Popen(half, env=environment)
    for path in paths[4:]:
        results.update_latest(path)
    assert other.wait(timeout=60) == 0
    assert sorted(latest(tmp_path)) == [str(at) for at in range(8)]


def test_a_run_without_a_stored_list_is_planned_again(run: Run, tmp_path: Path):
    """A kill between the manifest and run.json leaves only the manifest."""
    folder = tmp_path / "out" / "runs" / "r"
    folder.mkdir(parents=True)
    (folder / "manifest.parquet").write_bytes(b"of an earlier, killed start")
    assert run(run_id="r")["judged"] == 8
    assert json.loads((folder / "run.json").read_text())["state"] == "done"
