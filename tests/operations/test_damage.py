"""One damaged file is one damaged file: it is named, all else goes on, and repair mends it."""

import datetime as dt
import json
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from deepfake_core import cli
from deepfake_core.errors import SourceOutage
from deepfake_core.operations.retention import retain
from deepfake_core.operations.verification import verify_files
from deepfake_core.results.store import Results
from deepfake_core.scanning.config import ScanConfig
from deepfake_core.scanning.repair import repair
from deepfake_core.scanning.scan import Execution, commit_shard, scan
from deepfake_core.storage.local import LocalStorage

IMAGES, SHARD = 12, 4


def zero(data: bytes) -> bytes:
    return b""


def half(data: bytes) -> bytes:
    return data[: len(data) // 2]


def nul(data: bytes) -> bytes:
    return bytes(len(data))


def flip(data: bytes) -> bytes:
    other = bytearray(data)
    other[len(data) // 3] ^= 4
    return bytes(other)


DAMAGES = [zero, half, nul, flip]
FILES = {
    "published": "verdicts/*/fin.parquet",
    "latest": "latest.parquet",
    "run": "runs/fin/run.json",
    "manifest": "runs/fin/manifest.parquet",
    "part": "runs/fin/parts/part-00001.parquet",
    "summary": "runs/fin/summary.json",
    "chain": "runs/fin/files.json",
    "pointer": "chain.json",
    "unfinished run": "runs/unf/run.json",
    "unfinished manifest": "runs/unf/manifest.parquet",
    "unfinished part": "runs/unf/parts/part-00001.parquet",
}
OTHER = "other"


class Case:
    """A copy of an output, and what is done to it."""

    def __init__(self, base: Path, folder: Path, registry: Path) -> None:
        self.base, self.output, self.registry = base, folder / "out", registry
        self.source = json.loads((base / "runs/fin/run.json").read_text())["source"]

    def damage(self, pattern: str, how: Callable[[bytes], bytes]) -> Path:
        shutil.rmtree(self.output, ignore_errors=True)
        shutil.copytree(self.base, self.output)
        (file,) = self.output.glob(pattern)
        file.write_bytes(how(file.read_bytes()))
        return file

    def run(self, *arguments: str) -> int:
        """An exception that is not meant for people fails the test."""
        place = ["--output", str(self.output)]
        if arguments[0] in ("scan", "repair", "verify-run"):
            place += ["--registry", str(self.registry)]
        return cli.main([*arguments, *place])

    def scan(self, *more: str, source: str | None = None) -> int:
        shard = ["--shard-size", str(SHARD), "--model", "tiny"]
        return self.run("scan", source or self.source, *shard, *more)


@pytest.fixture(scope="module")
def base(
    image_folder: Callable[..., Path],
    tiny_registry: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """An output with the finished runs fin and other, and the unfinished one unf."""
    output = tmp_path_factory.mktemp("base")
    more = {"output": str(output), "model": "tiny", "shard_size": SHARD}
    source = image_folder(IMAGES)
    for run_id, folder in (("fin", source), (OTHER, image_folder(5, seed=3))):
        scan(ScanConfig(source=str(folder), run_id=run_id, **more), registry=tiny_registry)

    def stop(plan: Any, shards: Any, index: int, notify: Any) -> Any:
        if index == 2:
            raise SourceOutage("that is enough")
        return commit_shard(plan, shards, index, notify)

    config = ScanConfig(source=str(source), run_id="unf", full=True, **more)
    with pytest.raises(SourceOutage):
        scan(config, registry=tiny_registry, execution=Execution(commit=stop))
    return output


@pytest.fixture
def case(base: Path, tmp_path: Path, tiny_registry: Path) -> Case:
    return Case(base, tmp_path, tiny_registry)


def rows(output: Path, run_id: str) -> pa.Table:
    (file,) = output.glob(f"verdicts/*/{run_id}.parquet")
    return pq.read_table(file, partitioning=None)


@pytest.mark.parametrize("how", DAMAGES)
@pytest.mark.parametrize("name", FILES)
def test_other_work_goes_on(
    case: Case, name: str, how: Callable[[bytes], bytes], capsys: pytest.CaptureFixture[str]
):
    file = case.damage(FILES[name], how)
    digest = rows(case.base, OTHER)["sha256"][0].as_py()
    assert case.scan("--run-id", "new") == 0
    assert case.run("erase", digest) in (0, 1)
    for left in case.output.rglob("*.parquet"):
        if left != file and "sha256" in (columns := pq.read_schema(left).names):
            assert digest not in pq.read_table(left, columns=["sha256"])["sha256"].to_pylist()
            assert "source" in columns
    picture = case.output / "trend.png"
    assert case.run("trend", "--to", str(picture)) == 0
    assert case.run("report", OTHER, "--no-thumbnails") == 0
    assert case.run("redecide", OTHER, "--thresholds", "0.3,0.8") == 0
    assert case.run("retention", "--keep-days", "1", "--verdicts") == 0
    told = capsys.readouterr()
    if name == "published":
        assert "fin.parquet cannot be read, as it is damaged" in told.err
        assert "deepfake repair" in told.err


@pytest.mark.parametrize("how", DAMAGES)
@pytest.mark.parametrize("name", FILES)
def test_the_run_itself_is_refused_by_name_or_works(
    case: Case, name: str, how: Callable[[bytes], bytes]
):
    digest = rows(case.base, "fin")["sha256"][5].as_py()
    for arguments in (
        ["report", "fin", "--no-thumbnails"],
        ["redecide", "fin", "--thresholds", "0.3,0.8"],
        ["changes", "fin", OTHER],
        ["latest"],
        ["erase", digest],
        ["verify-run", "fin"],
    ):
        case.damage(FILES[name], how)
        assert case.run(*arguments) in (0, 1, 2)
    for run_id in ("fin", "unf"):
        case.damage(FILES[name], how)
        assert case.scan("--run-id", run_id, "--full") in (0, 1, 2)


@pytest.mark.parametrize("how", DAMAGES)
@pytest.mark.parametrize("name", FILES)
def test_repair_mends_it(
    case: Case, name: str, how: Callable[[bytes], bytes], capsys: pytest.CaptureFixture[str]
):
    case.damage(FILES[name], how)
    assert case.run("repair") == 0
    capsys.readouterr()
    assert case.run("repair") == 0
    assert capsys.readouterr().out == "nothing is damaged\n"
    before = rows(case.base, "fin").drop(["run_started"])
    assert rows(case.output, "fin").drop(["run_started"]).equals(before)
    problems = verify_files(Results(LocalStorage(case.output)), "fin").problems
    assert problems == []
    if name != "unfinished manifest":
        assert case.scan("--run-id", "unf", "--full") == 0
        assert rows(case.output, "unf")["score"].equals(rows(case.output, "fin")["score"])
    latest = pq.read_table(case.output / "latest.parquet")
    assert latest.num_rows == IMAGES + 5
    assert case.run("report", "fin", "--no-thumbnails") == 0


def test_published_rows_that_are_gone_are_missed_and_made_again(
    case: Case, capsys: pytest.CaptureFixture[str]
):
    published = case.damage(FILES["published"], flip)
    (whole,) = case.base.glob(FILES["published"])
    published.unlink()

    assert case.run("export", "fin") == 2
    assert "are gone" in capsys.readouterr().err
    assert case.run("repair") == 0
    assert pq.ParquetFile(published).read().equals(pq.ParquetFile(whole).read())
    assert verify_files(Results(LocalStorage(case.output)), "fin").problems == []


def test_what_a_retention_removed_is_not_made_again(case: Case, capsys: pytest.CaptureFixture[str]):
    published = case.damage(FILES["published"], lambda data: data)
    tomorrow = dt.datetime.now(dt.UTC).date() + dt.timedelta(days=1)
    retain(str(case.output), before=tomorrow, verdicts=True)
    capsys.readouterr()

    assert case.run("repair") == 0
    assert capsys.readouterr().out == "nothing is damaged\n"
    assert not published.exists()


def test_what_cannot_be_saved_is_set_aside_and_judged_again(
    case: Case, capsys: pytest.CaptureFixture[str]
):
    published = case.damage(FILES["published"], half)
    part = case.output / FILES["part"]
    part.write_bytes(nul(part.read_bytes()))
    assert case.run("repair") == 0
    told = capsys.readouterr().out
    assert "the verdicts of run fin are lost" in told
    assert not published.exists()
    assert len(list((case.output / "damaged").iterdir())) == 2
    assert verify_files(Results(LocalStorage(case.output)), "fin").problems == []
    assert case.scan("--run-id", "new") == 0
    assert rows(case.output, "new").num_rows == IMAGES
    # Nobody can say whom the damaged files show.
    assert case.run("erase", "0" * 64) == 0
    assert list((case.output / "damaged").iterdir()) == []


def test_a_part_is_judged_again_only_where_that_is_possible(
    case: Case, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    part = case.damage(FILES["unfinished part"], zero)
    done = repair(Results(LocalStorage(case.output)), registry=tmp_path / "none")
    assert not part.exists()
    (message,) = done.lost
    assert "deepfake scan" in message
    assert "--run-id unf" in message
    assert case.scan("--run-id", "unf", "--full") == 0
    assert rows(case.output, "unf").num_rows == IMAGES


def test_flipped_bits_give_no_other_rows(case: Case):
    """Of all files together, at random places."""
    case.damage(FILES["latest"], bytes)
    chance = random.Random(4)
    for pattern in (FILES["published"], FILES["part"], FILES["latest"]):
        (file,) = case.output.glob(pattern)
        data = file.read_bytes()
        whole = pq.read_table(file, partitioning=None)
        for _ in range(60):
            other = bytearray(data)
            other[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
            file.write_bytes(other)
            found = read_or_none(case, file)
            assert found is None or found.equals(whole)
        file.write_bytes(data)


def read_or_none(case: Case, file: Path) -> pa.Table | None:
    from deepfake_core.errors import DamagedFile
    from deepfake_core.results.verdict_files import read_verdicts

    try:
        path = os.path.relpath(file, case.output)
        return read_verdicts(LocalStorage(case.output), path).replace_schema_metadata()
    except DamagedFile:
        return None
