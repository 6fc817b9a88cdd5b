"""Erasing erases: after a retention, beside others, what killed scans left, in a bucket too."""

import contextlib
import datetime as dt
import os
import stat
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from deepfake_core import cli, files
from deepfake_core.errors import OutputBusy, RunTaken, UsageError
from deepfake_core.models.decision import Thresholds
from deepfake_core.operations.erasure import erase
from deepfake_core.operations.redecision import redecide
from deepfake_core.operations.retention import retain
from deepfake_core.operations.verification import verify_files
from deepfake_core.reporting.run_report import report_again
from deepfake_core.results.latest import newest
from deepfake_core.results.store import Results
from deepfake_core.results.verdict_files import read_verdicts
from deepfake_core.scanning.config import ScanConfig
from deepfake_core.scanning.plan import make_plan
from deepfake_core.scanning.scan import scan
from deepfake_core.storage.base import Storage
from deepfake_core.storage.local import LocalStorage
from deepfake_core.storage.opening import open_storage
from tests.support.children import process
from tests.support.s3_server import bucket, environment, server, without_pauses

__all__ = ["bucket", "environment", "server", "without_pauses"]

CLI = ("-m", "deepfake_core.cli")
SCAN = """
import sys, time
from pathlib import Path
from deepfake_core.scanning.config import ScanConfig
from deepfake_core.scanning.scan import scan
def notify(event, facts):
    if event == "committed":
        print("committed", flush=True)
        sys.stdin.readline()
config = ScanConfig(source=sys.argv[1], output=sys.argv[2], model="tiny", shard_size=4, run_id="r")
scan(config, notify=notify, registry=Path(sys.argv[3]))
"""


@pytest.fixture
def run(image_folder: Callable[..., Path], tiny_registry: Path) -> Callable[..., Any]:
    folder = image_folder(12)

    def go(output: str | Path, **more: Any) -> Any:
        given = {"source": str(folder), "model": "tiny", "shard_size": 4, **more}
        return scan(ScanConfig(output=str(output), **given), registry=tiny_registry)

    return go


@pytest.fixture(params=["local", "s3"])
def output(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "local":
        return str(tmp_path / "out")
    request.getfixturevalue("without_pauses")
    return f"{request.getfixturevalue('bucket').url}/out"


def published(output: str) -> list[pa.Table]:
    results = Results(open_storage(output))
    return [read_verdicts(results.storage, path) for path in results.published()]


def digests(output: str) -> list[str]:
    return published(output)[0]["sha256"].to_pylist()


def still_in(output: str, digest: str) -> list[str]:
    """The files that name an image, whatever they are."""
    storage: Storage = open_storage(output)
    if isinstance(storage, LocalStorage):
        paths = [
            str(path.relative_to(storage.root))
            for path in storage.root.rglob("*")
            if path.is_file()
        ]
    else:
        paths = storage.list_files().paths
    found = []
    for path in paths:
        data = storage.read(path)
        if data[:4] == b"PAR1" and "sha256" in pq.read_schema(pa.BufferReader(data)).names:
            held = pq.read_table(pa.BufferReader(data))["sha256"].to_pylist()
            found += [path] if digest in held else []
        elif digest.encode() in data:
            found.append(path)
    return found


def check_runs(output: str) -> None:
    """Counts add up, lists of hashes are right, latest holds what is published."""
    results = Results(open_storage(output))
    for path in results.published():
        run_id = path.rpartition("/")[2].removesuffix(".parquet")
        record = results.get_run(run_id)
        assert record is not None
        rows = read_verdicts(results.storage, path)
        assert record.counts.listed == record.counts.accounted_for
        judged = record.counts.judged + record.counts.not_applicable + record.counts.failed
        assert rows.num_rows == judged
        assert verify_files(results, run_id).problems == []
    tables = [table.replace_schema_metadata() for table in published(output)]
    latest = read_verdicts(results.storage, "latest.parquet").replace_schema_metadata()
    assert latest.equals(newest(pa.concat_tables(tables)))


def test_after_a_retention(output: str, run: Callable[..., Any]):
    run(output, run_id="old", limit=8)
    run(output, run_id="backlog", full=True)
    tomorrow = dt.datetime.now(dt.UTC).date() + dt.timedelta(days=1)
    assert retain(output, before=tomorrow).manifests == 2
    run(output, run_id="newer", full=True)
    for digest in digests(output)[3:5]:
        counts = erase(output, digest)
        assert (counts["verdicts"], counts["reports"], counts["latest"]) == (3, 3, 1)
        assert still_in(output, digest) == []
    check_runs(output)
    report_again("old", output, thumbnails=False)
    check_runs(output)


def test_four_at_once_lose_nothing(output: str, run: Callable[..., Any]):
    run(output, run_id="first")
    run(output, run_id="second", full=True)
    some = digests(output)[:4]
    with contextlib.ExitStack() as stack:
        erasing = [
            stack.enter_context(
                process("-m", "deepfake_core.cli", "erase", one, "--output", output)
            )
            for one in some
        ]
        assert [one.wait(timeout=120) for one in erasing] == [0] * 4
    assert [still_in(output, digest) for digest in some] == [[]] * 4
    check_runs(output)
    assert {table.num_rows for table in published(output)} == {8}


def test_beside_redecisions_and_rebuilds_no_image_comes_back(output: str, run: Callable[..., Any]):
    run(output, run_id="first")
    some = digests(output)[:3]
    place = ["--output", output]
    commands = [["erase", one] for one in some]
    commands += [["redecide", "first", "--thresholds", pair] for pair in ("0.2,0.8", "0.1,0.9")]
    commands += [["latest"]]
    with contextlib.ExitStack() as stack:
        started = [stack.enter_context(process(*CLI, *one, *place)) for one in commands]
        assert [one.wait(timeout=120) for one in started] == [0] * len(commands)
    assert [still_in(output, digest) for digest in some] == [[]] * 3
    check_runs(output)
    assert len(published(output)) == 3


def test_an_erasure_beside_a_scan_is_refused_by_name_or_waits(
    output: str, run: Callable[..., Any], image_folder: Callable[..., Path], tiny_registry: Path
):
    run(output, run_id="first", limit=4)
    digest = digests(output)[0]
    with process("-c", SCAN, str(image_folder(12)), output, str(tiny_registry)) as scanning:
        assert scanning.stdout.readline() == "committed\n"
        with pytest.raises(OutputBusy, match=rf"a scan of .* \(process {scanning.pid} of"):
            erase(output, digest)
        with pytest.raises(RunTaken, match=rf"run r is being worked on by .*{scanning.pid}"):
            run(output, run_id="r") if output.startswith("/") else taken_in_a_store(run, output)
        ending = threading.Timer(1.0, lambda: scanning.communicate("\n" * 9))
        ending.start()
        said: list[str] = []
        assert erase(output, digest, wait_seconds=120, say=said.append)["verdicts"] >= 1
        ending.join()
    assert still_in(output, digest) == []
    check_runs(output)


def taken_in_a_store(run: Callable[..., Any], output: str) -> None:
    """There whoever comes second waits longer, as the first may have died on another machine."""
    from deepfake_core.storage import output_lock

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(output_lock, "SILENT_SECONDS", 0.1)
        run(output, run_id="r")


def test_what_a_killed_scan_left_half_written_goes(
    run: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    output = tmp_path / "out"
    run(output, run_id="first")
    digest = digests(str(output))[3]
    (file,) = output.glob("verdicts/*/first.parquet")
    # As `create` leaves it between giving the final name and removing the other.
    child = subprocess.Popen(["true"])
    child.wait()
    with LocalStorage(output).spool() as own:
        left = own.with_name(own.name.replace(str(os.getpid()), str(child.pid), 1))
    os.link(file, left)
    assert str(left.relative_to(output)) in still_in(str(output), digest)
    erase(str(output), digest)
    assert still_in(str(output), digest) == []
    assert not left.exists()


def test_another_process_that_writes_an_answer_is_not_disturbed(tmp_path: Path):
    storage = LocalStorage(tmp_path)
    (tmp_path / "feedback").mkdir()
    with storage.spool() as file:
        file.write_bytes(b"an answer")
        with process(
            "-m", "deepfake_core.cli", "erase", "0" * 64, "--output", str(tmp_path)
        ) as one:
            assert one.wait(timeout=60) == 0
        assert file.read_bytes() == b"an answer"


def modes(output: Path) -> dict[str, set[int]]:
    found: dict[str, set[int]] = {"files": set(), "folders": set()}
    for path in (output, *output.rglob("*")):
        kind = "folders" if path.is_dir() else "files"
        found[kind].add(stat.S_IMODE(path.stat().st_mode))
    return found


def test_results_are_for_their_owner_only(run: Callable[..., Any], tmp_path: Path):
    run(tmp_path / "out", run_id="first")
    erase(str(tmp_path / "out"), digests(str(tmp_path / "out"))[0])
    assert modes(tmp_path / "out") == {"files": {0o600}, "folders": {0o700}}


def test_results_are_shared_where_that_is_said(
    run: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv(files.UMASK, "027")
    run(tmp_path / "out", run_id="first")
    assert modes(tmp_path / "out") == {"files": {0o640}, "folders": {0o750}}
    (file,) = (tmp_path / "out").glob("verdicts/*/first.parquet")
    assert stat.S_IMODE(file.stat().st_mode) == 0o640
    monkeypatch.setenv(files.UMASK, "group")
    with pytest.raises(UsageError, match="octal mask"):
        LocalStorage(tmp_path / "out").put("a", b"")


def test_a_run_dated_in_the_future_is_warned_of_and_hides_nothing(
    run: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny_registry: Path
):
    output = tmp_path / "out"
    from deepfake_core.scanning import scan as module

    ahead = dt.datetime.now(dt.UTC) + dt.timedelta(days=40)
    with monkeypatch.context() as patch:
        patch.setattr(
            module, "make_plan", lambda config, **more: make_plan(config, now=ahead, **more)
        )
        run(output, run_id="ahead")
    assert set(latest_runs(output)) == {"ahead"}
    told: list[str] = []
    source = Results(LocalStorage(output)).get_run("ahead").source
    config = ScanConfig(
        source=source, output=str(output), model="tiny", run_id="now", full=True, shard_size=4
    )
    scan(
        config,
        registry=tiny_registry,
        notify=lambda event, facts: told.append(facts["words"]) if event == "warned" else None,
    )
    assert any("which is in the future" in line for line in told)
    assert set(latest_runs(output)) == {"now"}
    Results(LocalStorage(output)).rebuild_latest()
    assert set(latest_runs(output)) == {"now"}


def latest_runs(output: Path) -> list[str]:
    return pq.read_table(output / "latest.parquet")["run_id"].to_pylist()


def test_two_redecisions_at_the_same_second_are_two_runs(run: Callable[..., Any], tmp_path: Path):
    output, now = str(tmp_path / "out"), dt.datetime.now(dt.UTC)
    run(output, run_id="first")
    names = set()
    for line in (0.7, 0.8, 0.9):
        thresholds = Thresholds(real_below=0.2, fake_from=line)
        names.add(redecide("first", thresholds, output=output, now=now)["run_id"])
    assert len(names) == 3
    check_runs(output)


def test_waiting_can_be_asked_for(run: Callable[..., Any], tmp_path: Path):
    run(tmp_path / "out", run_id="first")
    began = time.monotonic()
    assert cli.main(["erase", "0" * 64, "--output", str(tmp_path / "out"), "--wait", "1"]) == 0
    assert time.monotonic() - began < 30
