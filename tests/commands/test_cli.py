"""The command: exit status, one line that helps, the result on stdout and progress on stderr."""

import io
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from deepfake_core import __version__, cli
from deepfake_core.commands.progress import Progress
from deepfake_core.scanning.config import ScanConfig

ROOT = Path(__file__).resolve().parents[2]
CONTRACT = {
    "run_id",
    "run_date",
    "listed",
    "skipped",
    "judged",
    "failed",
    "labels",
    "failures",
    "model_id",
    "precision",
    "verdicts",
    "report",
}


@dataclass
class Done:
    """What a command left."""

    status: int
    out: str
    err: str

    def complaint(self) -> str:
        """The one line that says why it failed."""
        assert self.out == ""
        assert "Traceback" not in self.err
        lines = self.err.splitlines()
        assert lines[-1].startswith("deepfake: ")
        assert not [line for line in lines[:-1] if line.startswith("deepfake")]
        return lines[-1]


Command = Callable[..., Done]


@pytest.fixture
def deepfake(tiny_registry: Path, capsys: pytest.CaptureFixture[str]) -> Command:
    """Runs a command in this process, with scans by the tiny model unless another is named."""

    def run(*arguments: str | Path) -> Done:
        words = [str(word) for word in arguments]
        if words[:1] == ["scan"]:
            words += ["--registry", str(tiny_registry)]
            words += [] if "--model" in words else ["--model", "tiny"]
        capsys.readouterr()
        try:
            status = cli.main(words)
        except SystemExit as ended:
            status = ended.code
        return Done(status, *capsys.readouterr())

    return run


@pytest.fixture
def process(tiny_registry: Path) -> Command:
    """Runs a command in a process of its own, from the root folder, with the tiny model."""

    def run(*arguments: str | Path) -> Done:
        done = subprocess.run(
            [sys.executable, "-m", "deepfake_core.cli", *arguments, "--registry", tiny_registry],
            cwd="/",
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
        )
        return Done(done.returncode, done.stdout, done.stderr)

    return run


@pytest.mark.processes
def test_json_is_one_object_and_progress_is_elsewhere(
    process: Command, image_folder: Callable[..., Path], tmp_path: Path
):
    source = image_folder(9, broken=True)
    options = [source, "--output", tmp_path / "out", "--model", "tiny", "--json"]
    done = process("scan", *options, "--shard-size", "4")
    assert done.status == 0, done.err
    result = json.loads(done.out)
    assert set(result) >= CONTRACT
    assert (result["listed"], result["judged"], result["failed"], result["skipped"]) == (
        12,
        9,
        3,
        0,
    )
    assert sum(result["labels"].values()) == 9
    assert result["failures"] == {"decode.corrupt": 1, "decode.unsupported": 2}
    assert pq.read_metadata(result["verdicts"]).num_rows == 12
    assert Path(result["report"]).is_file()
    assert result["run_date"] == Path(result["verdicts"]).parent.name.removeprefix("run_date=")

    # Plain lines, as there is no terminal.
    assert "\r" not in done.err
    lines = done.err.splitlines()
    assert lines[0] == f"run {result['run_id']}: 12 listed, 12 to judge in 3 shards"
    assert any(line.startswith("judged 12 of 12") for line in lines)


@pytest.mark.processes
def test_a_relative_output_is_reported_as_it_is_found(
    deepfake: Command,
    image_folder: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.chdir(tmp_path)
    done = deepfake("scan", image_folder(2), "--json")
    result = json.loads(done.out)
    assert Path(result["verdicts"]) == Path(result["verdicts"]).resolve()
    assert Path(result["verdicts"]).is_relative_to(tmp_path / "reports")
    assert Path(result["report"]).is_file()


@pytest.mark.processes
def test_the_result_in_words(deepfake: Command, image_folder: Callable[..., Path], tmp_path: Path):
    scan_it = ["scan", image_folder(5, broken=True), "--output", tmp_path / "out"]
    first = deepfake(*scan_it)
    assert first.status == 0
    assert "8 listed = 5 judged + 3 failed + 0 skipped" in first.out
    assert "2 decode.unsupported" in first.out
    second = deepfake(*scan_it)
    assert second.status == 0
    assert second.out.startswith("nothing new")
    assert json.loads(deepfake(*scan_it, "--json").out)["verdicts"] is None


@pytest.mark.processes
def test_what_cannot_be_scanned(deepfake: Command, tmp_path: Path):
    (tmp_path / "empty").mkdir()
    expected = {
        "missing": "No such file or directory; give an existing, readable folder",
        "empty": "there are no files in",
    }
    for name, advice in expected.items():
        done = deepfake("scan", tmp_path / name, "--output", tmp_path / "out")
        assert done.status == 2
        assert advice in done.complaint()
        assert str(tmp_path / name) in done.complaint()
    assert not (tmp_path / "out").exists()


@pytest.mark.processes
def test_an_unreadable_source(deepfake: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    scandir = os.scandir

    def refuse(path: str | Path) -> object:
        if Path(path) == tmp_path:
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    # Root may read everything, so that a mode would not do.
    monkeypatch.setattr(os, "scandir", refuse)
    done = deepfake("scan", tmp_path, "--output", tmp_path / "out")
    assert done.status == 2
    assert "Permission denied; give an existing, readable folder" in done.complaint()


@pytest.mark.processes
@pytest.mark.parametrize("run_id", [(), ("--run-id", "r")])
def test_an_output_that_cannot_be_written(
    deepfake: Command, image_folder: Callable[..., Path], tmp_path: Path, run_id: tuple[str, ...]
):
    (tmp_path / "file").write_text("not a folder")
    for output in (tmp_path / "file", tmp_path / "file" / "below", Path("/proc/nothing/here")):
        done = deepfake("scan", image_folder(1), "--output", output, *run_id)
        assert done.status == 2
        assert "cannot write" in done.complaint()
        assert "--output" in done.complaint()
    assert (tmp_path / "file").read_text() == "not a folder"


@pytest.mark.processes
@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--model", "nosuch"], ["nosuch", "there are: tiny"]),
        (["--model", "tiny@7"], ["tiny@7", "there are: tiny@1"]),
        (["--model", "../tiny"], ["../tiny"]),
        (["--precision", "int8"], ["int8", "use auto or fp32"]),
        (["--precision", "fp8"], ["--precision", "fp8", "auto, fp32, bf16 or int8"]),
        (["--batch-size", "many"], ["--batch-size", "many", "expected a whole number"]),
        (["--batch-size", "0"], ["--batch-size", "0", "expected 1 or more"]),
        (["--batch-size", "2000"], ["--batch-size", "expected 1024 or less"]),
        (["--shard-size", "-1"], ["--shard-size", "-1"]),
        (["--shard-size", "1.5"], ["--shard-size", "expected a whole number"]),
        (["--max-minutes", "nan"], ["--max-minutes", "nan"]),
        (["--max-minutes", "soon"], ["--max-minutes", "expected a number"]),
        (["--limit", "0"], ["--limit", "0"]),
        (["--max-minutes", "-1"], ["--max-minutes", "-1"]),
        (["--since", "tuesday"], ["--since", "tuesday", "a date such as 2026-11-24"]),
        (["--since", "20261124"], ["--since", "20261124", "a date such as 2026-11-24"]),
        (["--since", "2026-02-30"], ["--since", "2026-02-30", "a date such as 2026-11-24"]),
        (["--run-id", "../up"], ["--run-id", "../up"]),
        (["--run-id", ".."], ["--run-id", ".."]),
        (["--run-id", "x" * 65], ["--run-id", "at most 64 letters, digits"]),
        (["--run-id", "a/b"], ["--run-id", "a/b"]),
        (["--run-id", "line\n"], ["--run-id"]),
        (["--output", ""], ["--output"]),
        (["--engine", "abacus"], ["--engine", "abacus"]),
    ],
)
def test_wrong_settings(
    deepfake: Command,
    image_folder: Callable[..., Path],
    tmp_path: Path,
    options: list[str],
    words: list[str],
):
    output = () if "--output" in options else ("--output", tmp_path / "out")
    done = deepfake("scan", image_folder(1), *output, *options)
    assert done.status == 2
    assert not [word for word in words if word not in done.complaint()]
    for raw in ("Value error", "Input should", "String should", "valid ", "pydantic", "^["):
        assert raw not in done.complaint()
    assert not (tmp_path / "out").exists()


@pytest.mark.processes
def test_another_plan_is_exit_status_2(
    deepfake: Command, image_folder: Callable[..., Path], tmp_path: Path
):
    source = image_folder(3)
    options = ["--output", tmp_path / "out", "--run-id", "r", "--max-minutes", "1"]
    assert deepfake("scan", source, *options, "--shard-size", "2").status == 0
    run_file = tmp_path / "out" / "runs" / "r" / "run.json"
    run_file.write_text(run_file.read_text().replace('"state": "done"', '"state": "planned"'))
    done = deepfake("scan", source, *options, "--shard-size", "3")
    assert done.status == 2
    assert "shard_size 2, now 3" in done.complaint()
    assert deepfake("scan", source, *options, "--shard-size", "2").status == 0


@pytest.mark.processes
@pytest.mark.parametrize(
    "words", [[], ["frobnicate"], ["scan"], ["scan", "a", "b"], ["scan", "a", "--nosuch"]]
)
def test_wrong_usage(deepfake: Command, words: list[str]):
    done = deepfake(*words)
    assert done.status == 2
    assert done.out == ""
    assert "usage: deepfake" in done.err


@pytest.mark.processes
@pytest.mark.parametrize("command", [[], ["scan"], ["report"], ["models"], ["latest"]])
def test_help(deepfake: Command, command: list[str]):
    done = deepfake(*command, "--help")
    assert done.status == 0
    assert done.out.startswith(f"usage: {' '.join(['deepfake', *command])}")
    assert done.err == ""


@pytest.mark.processes
def test_help_of_scan_shows_every_option(deepfake: Command):
    shown = " ".join(deepfake("scan", "--help").out.split())
    for name, field in ScanConfig.model_fields.items():
        assert name == "source" or f"--{name.replace('_', '-')}" in shown
        assert " ".join(field.description.split()) in shown
        if isinstance(field.default, str | int) and not isinstance(field.default, bool):
            assert f"(default: {field.default})" in shown
    for choices in ("{auto,fp32,bf16,int8}", "{find,frame}", "{openvino,keras}"):
        assert choices in shown
    assert "(default: on)" in shown
    assert "(default: off)" in shown


@pytest.mark.processes
def test_version(deepfake: Command):
    assert deepfake("--version").out == f"deepfake {__version__}\n"


@pytest.mark.processes
def test_a_report_is_rendered_again(
    deepfake: Command, image_folder: Callable[..., Path], tmp_path: Path
):
    output = ["--output", tmp_path / "out"]
    deepfake("scan", image_folder(3), *output, "--run-id", "r")
    report = tmp_path / "out" / "runs" / "r" / "report.html"
    report.unlink()
    done = deepfake("report", "r", *output, "--json")
    assert (done.status, json.loads(done.out)) == (0, {"report": str(report)})
    assert report.is_file()
    for run_id in ("other", "../r", ".."):
        assert deepfake("report", run_id, *output).status == 2


@pytest.mark.processes
def test_latest_needs_a_folder(deepfake: Command, tmp_path: Path):
    done = deepfake("latest", "--output", tmp_path / "missing")
    assert done.status == 2
    assert "missing" in done.complaint()


@pytest.mark.processes
def test_models_that_are_not_there(deepfake: Command):
    assert "nosuch" in deepfake("models", "show", "nosuch").complaint()
    assert "NAME" in deepfake("models", "show").complaint()
    assert deepfake("models", "list", "--json").status == 0


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of a quarter of a megabyte."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = shutil.which("mount")
    command = [mount or "mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(folder)]
    if mount is None or subprocess.run(command, capture_output=True).returncode != 0:
        pytest.skip("a small file system cannot be mounted here; it takes root")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.mark.processes
def test_a_full_disk_stops_a_run_that_goes_on_when_there_is_room(
    deepfake: Command, image_folder: Callable[..., Path], small_disk: Path
):
    source, filler = image_folder(12), small_disk / "filler"
    options = ["--output", small_disk / "out", "--run-id", "r", "--shard-size", "2"]
    filler.write_bytes(bytes(216 * 1024))
    done = deepfake("scan", source, *options)
    assert done.status != 0
    assert "No space left on device; make room" in done.complaint()
    assert "--run-id" in done.complaint()
    assert not list(small_disk.glob("out/verdicts/**/*.parquet"))
    assert list(small_disk.glob("out/runs/r/parts/*.parquet"))

    filler.unlink()
    again = deepfake("scan", source, *options, "--no-thumbnails", "--json")
    assert again.status == 0, again.err
    assert json.loads(again.out)["judged"] == 12
    assert "continued" in again.err


class Terminal(io.StringIO):
    """Says that a person is looking."""

    def isatty(self) -> bool:
        return True


def test_a_terminal_gets_a_bar_that_goes_away():
    stream = Terminal()
    progress = Progress(stream)
    progress("planned", {"run_id": "r", "listed": 30, "wanted": 30, "shards": 3})
    progress("resumed", {"done": 10})
    progress("judged", {"images": 20})
    progress.close()
    shown = stream.getvalue()
    assert "continued: 10 of 30 are committed" in shown
    assert "10/30" in shown
    assert shown.rpartition("\r")[2].strip() == ""
