"""An outage stops a run, which can be resumed; a bad file is a row."""

import errno
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from deepfake_core import cli
from deepfake_core.errors import SourceOutage
from deepfake_core.events import Notify
from deepfake_core.records import Failure, FailureCode, Json
from deepfake_core.scanning.config import ScanConfig
from deepfake_core.scanning.plan import Plan
from deepfake_core.scanning.scan import Execution, commit_shard, scan
from deepfake_core.scanning.shards import OUTAGE_AFTER, ShardJudge
from deepfake_core.storage import reading
from deepfake_core.storage.base import Archived
from deepfake_core.storage.local import LocalStorage
from deepfake_core.storage.reading import read_or_failure

Refuse = Callable[[int, OSError], None]


@pytest.fixture
def source(image_folder: Callable[..., Path], tmp_path: Path) -> Path:
    return image_folder(48, folder=tmp_path / "images")


@pytest.fixture
def run(source: Path, tiny_registry: Path, tmp_path: Path) -> Callable[..., Json]:
    """Scans the source with the tiny model under one run id."""

    def scan_it(*, commit: Any = None, **settings: Any) -> Json:
        settings = {"shard_size": 6, "run_id": "r", "model": "tiny", **settings}
        config = ScanConfig(source=str(source), output=str(tmp_path / "out"), **settings)
        return scan(config, registry=tiny_registry, execution=Execution(commit=commit))

    return scan_it


@pytest.fixture
def refuse(source: Path, monkeypatch: pytest.MonkeyPatch) -> Refuse:
    """Lets the first reads, in the order of the manifest, fail with an error."""
    names = sorted(str(path.relative_to(source)) for path in source.rglob("*.*"))
    read = LocalStorage.read
    monkeypatch.setattr(reading, "FIRST_PAUSE_SECONDS", 0)

    def make(count: int, error: OSError) -> None:
        refused = set(names[:count])

        def read_or_raise(self: LocalStorage, path: str) -> bytes:
            if path in refused:
                raise error
            return read(self, path)

        monkeypatch.setattr(LocalStorage, "read", read_or_raise)

    return make


def failures(result: Json) -> dict[str | None, int]:
    rows = pq.read_table(result["verdicts"], partitioning=None)
    return Counter(rows["failure"].to_pylist())


BROKEN_CABLE = OSError(errno.EIO, "Input/output error", "/secret/place")


@pytest.mark.parametrize("shard_size", [6, 48])
def test_many_transient_errors_in_a_row_are_an_outage(
    run: Callable[..., Json], refuse: Refuse, tmp_path: Path, shard_size: int
):
    refuse(OUTAGE_AFTER, BROKEN_CABLE)
    with pytest.raises(SourceOutage, match="--run-id r"):
        run(shard_size=shard_size)
    assert not (tmp_path / "out" / "verdicts").exists()
    refuse(0, BROKEN_CABLE)
    result = run(shard_size=shard_size)
    # Of an outage nothing is committed, however small the shards.
    assert failures(result) == {None: 48}


def test_fewer_are_rows(run: Callable[..., Json], refuse: Refuse):
    refuse(OUTAGE_AFTER - 1, BROKEN_CABLE)
    result = run()
    assert failures(result) == {"read.failed": 31, None: 17}
    rows = pq.read_table(result["verdicts"], partitioning=None)
    assert set(rows["detail"].to_pylist()[:31]) == {"OSError: Input/output error"}
    assert set(rows["sha256"].to_pylist()[:31]) == {None}


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (PermissionError(errno.EACCES, "Permission denied"), "read.denied"),
        (FileNotFoundError(errno.ENOENT, "No such file"), "read.not_found"),
    ],
)
def test_files_denied_or_gone_are_rows(
    run: Callable[..., Json], refuse: Refuse, error: OSError, code: str
):
    refuse(40, error)
    assert failures(run()) == {code: 40, None: 8}


@pytest.mark.parametrize("committed", [1, 7])
def test_a_source_that_vanishes_is_an_outage(
    run: Callable[..., Json], source: Path, tmp_path: Path, committed: int
):
    """However few images are left."""

    def commit(plan: Plan, judge: ShardJudge, index: int, notify: Notify) -> Json:
        facts = commit_shard(plan, judge, index, notify)
        if index == committed - 1:
            source.rename(tmp_path / "moved")
        return facts

    with pytest.raises(SourceOutage, match="not there any more"):
        run(commit=commit)
    (tmp_path / "moved").rename(source)
    assert failures(run()) == {None: 48}


def test_the_command_says_how_to_go_on(
    source: Path,
    refuse: Refuse,
    tiny_registry: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
):
    refuse(48, BROKEN_CABLE)
    output = str(tmp_path / "out")
    arguments = ["scan", str(source), "--output", output, "--model", "tiny", "--run-id", "r"]
    arguments += ["--registry", str(tiny_registry)]
    assert cli.main(arguments) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "stopped answering" in printed.err.splitlines()[-1]
    assert printed.err.splitlines()[-1].endswith("--run-id r")
    assert "/secret" not in printed.err


def test_transient_errors_are_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    errors, pauses = [BROKEN_CABLE, BROKEN_CABLE], []

    def read(self: LocalStorage, path: str) -> bytes:
        if errors:
            raise errors.pop()
        return b"content"

    monkeypatch.setattr(LocalStorage, "read", read)
    found = read_or_failure(LocalStorage(tmp_path), "a.jpg", pause=pauses.append)
    assert found == (b"content", False)
    assert pauses == sorted(pauses)
    assert len(pauses) == 2


def test_an_archived_object_is_no_outage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def read(self: LocalStorage, path: str) -> bytes:
        raise Archived("the object is archived")

    monkeypatch.setattr(LocalStorage, "read", read)
    failure, outage = read_or_failure(LocalStorage(tmp_path), "a.jpg")
    assert isinstance(failure, Failure)
    assert (failure.code, outage) == (FailureCode.READ_ARCHIVED, False)
