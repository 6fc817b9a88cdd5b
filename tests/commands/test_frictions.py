"""Small things that people stumble over at the command line."""

import argparse
import datetime as dt
import io
import json
import os
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from deepfake_core import cli
from deepfake_core.commands import scan as command
from deepfake_core.commands.evaluate import _to_quote
from deepfake_core.commands.plain_words import count, moment
from deepfake_core.commands.retrain_progress import RetrainProgress
from deepfake_core.commands.terminal import resumed
from deepfake_core.errors import SourceOutage
from deepfake_core.scanning import scan as core
from deepfake_core.training.recipe import TrainConfig, warmup_line
from tests.support.second_look import two_looks

ROOT = Path(__file__).resolve().parents[2]
NOW = dt.datetime(2026, 11, 27, 20, 15, 30, tzinfo=dt.UTC)
# Prints much more than a pipe holds.
LOUD = """
import sys
from deepfake_core import cli
from deepfake_core.commands import plan
plan.in_words = lambda *_: "x" * 10_000_000
sys.exit(cli.main(["plan", "--machines", "50"]))
"""


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("yesterday", "2026-11-26T00:00:00+00:00"),
        ("Yesterday ", "2026-11-26T00:00:00+00:00"),
        ("today", "2026-11-27T00:00:00+00:00"),
        ("7 days ago", "2026-11-20T00:00:00+00:00"),
        ("1 day ago", "2026-11-26T00:00:00+00:00"),
        ("a week ago", "2026-11-20T00:00:00+00:00"),
        ("2 weeks  ago", "2026-11-13T00:00:00+00:00"),
        ("12 hours ago", "2026-11-27T08:15:30+00:00"),
        ("2026-11-24", "2026-11-24"),
        ("9999999999 days ago", "9999999999 days ago"),
        ("soon", "soon"),
    ],
)
def test_words_for_a_day(words: str, expected: str):
    assert moment(words, NOW) == expected


def test_a_scan_understands_yesterday(
    image_folder: Callable[..., Path],
    tiny_registry: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
):
    source = image_folder(3)
    old = (dt.datetime.now(dt.UTC) - dt.timedelta(days=3)).timestamp()
    os.utime(source / "0000.jpg", (old, old))
    scan = ["scan", str(source), "--output", str(tmp_path / "out"), "--model", "tiny", "--json"]
    scan += ["--registry", str(tiny_registry), "--full"]
    for words, judged in (("yesterday", 2), ("2 days ago", 2), ("a week ago", 3)):
        assert cli.main([*scan, "--since", words]) == 0
        assert json.loads(capsys.readouterr().out)["judged"] == judged


@pytest.mark.parametrize("text", ["0", "-1", "many", "1.5", ""])
def test_a_count_that_is_none_is_told_in_words(text: str):
    with pytest.raises(argparse.ArgumentTypeError, match="a whole number of 1 or more"):
        count(text)
    assert count("100,000") == 100_000


def test_the_whole_command_is_printed_to_continue():
    words = ["scan", "my pictures", "--limit", "3", "--run-id", "old", "--json"]
    again = resumed(words, "--run-id", "new")
    assert again == "deepfake scan 'my pictures' --limit 3 --json --run-id new"
    assert shlex.split(resumed(["scan", "a", "--run-id=old"], "--run-id", "new"))[-2:] == [
        "--run-id",
        "new",
    ]


@pytest.mark.parametrize("stopped_by", [KeyboardInterrupt, SourceOutage("it stopped answering")])
def test_a_scan_that_stops_says_how_to_continue(
    image_folder: Callable[..., Path],
    tiny_registry: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    stopped_by: BaseException,
):
    scan = ["scan", str(image_folder(3)), "--output", str(tmp_path / "an output"), "--limit", "2"]
    scan += ["--model", "tiny", "--registry", str(tiny_registry)]
    whole = core.scan

    def stop(*arguments: object, **options: object) -> object:
        def raise_it(*_: object) -> object:
            raise stopped_by

        return whole(*arguments, **{**options, "execution": core.Execution(commit=raise_it)})

    monkeypatch.setattr(core, "scan", stop)
    assert cli.main(scan) == (130 if stopped_by is KeyboardInterrupt else 1)
    told = capsys.readouterr().err
    (line,) = [line for line in told.splitlines() if " --run-id " in line]
    again = shlex.split(line[line.index("deepfake scan") :])
    assert again[1:-2] == scan
    monkeypatch.undo()
    assert cli.main(again[1:]) == 0
    assert "2 judged" in capsys.readouterr().out


@pytest.mark.processes
@pytest.mark.parametrize("closed", ["stdout", "stderr"])
def test_a_reader_that_has_enough_is_no_error(closed: str):
    program = LOUD if closed == "stdout" else LOUD.replace('"plan", ', '"plan", "--nosuch", ')
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    process = subprocess.Popen(
        [sys.executable, "-c", program], env={**os.environ, "PYTHONPATH": str(ROOT)}, **streams
    )
    getattr(process, closed).close()
    other = process.stderr if closed == "stdout" else process.stdout
    told = other.read()
    other.close()
    assert process.wait() == (0 if closed == "stdout" else 2)
    assert told == b""


def test_places_of_results_are_said_once(
    image_folder: Callable[..., Path],
    tiny_registry: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
):
    scan = ["scan", str(image_folder(3)), "--output", str(tmp_path / "out"), "--model", "tiny"]
    assert cli.main([*scan, "--registry", str(tiny_registry)]) == 0
    told = capsys.readouterr()
    for name in ("report.html", "run_date="):
        assert (told.out + told.err).count(name) == 1


def test_models_say_which_is_current(tiny_registry: Path, capsys: pytest.CaptureFixture[str]):
    assert cli.main(["models"]) == 0
    first, *others = capsys.readouterr().out.splitlines()
    assert first.startswith("resnet50@")
    assert "is current" in first
    assert any(line.startswith("resnet50: versions [") for line in others)
    assert cli.main(["models", "show", "tiny", "--registry", str(tiny_registry)]) == 0
    assert capsys.readouterr().out.startswith("tiny@1+")


def test_a_card_is_shown_without_what_is_for_machines(capsys: pytest.CaptureFixture[str]):
    assert cli.main(["models", "show", "resnet50"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].endswith("is the current version of its name")
    assert lines[2].startswith("# resnet50@")
    assert "---" not in lines


def test_choices_of_an_option_are_found_in_its_type():
    field = command.ScanConfig.model_fields["faces"]
    assert command._choices(field.annotation) == ["find", "frame"]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("valid_report", "valid_report, the half of valid on which nothing was chosen"),
        ("valid_chosen", "nothing; the model was trained or tuned on valid_chosen"),
        ("train", "nothing; the model was trained or tuned on train"),
        ("mine", "mine, if none of its images was used to make the model"),
    ],
)
def test_an_evaluation_says_what_may_be_quoted(name: str, words: str):
    assert _to_quote(name).startswith(f"may be quoted: {words}")


def test_a_retraining_says_the_whole_command_that_goes_on():
    stream = io.StringIO()
    progress = RetrainProgress(stream, words=["retrain", "--data", "my faces", "--json"])
    progress("retraining", {"run_id": "r", "work": "a b/work", "finished": False})
    line = stream.getvalue()
    assert line == f"run r; to go on after a stop: {progress.resume}\n"
    assert shlex.split(progress.resume) == [
        "deepfake", "retrain", "--data", "my faces", "--json", "--work", "a b/work",
    ]  # fmt: skip


def test_a_warm_up_that_swallows_the_rate_is_told():
    config = TrainConfig(steps=50, warmup=200, rate=1e-3)
    assert "rises over 200 steps and the training has 50: it reaches 0.00025" in warmup_line(
        config, 50
    )


NOISY = """
import os, sys
from deepfake_core.commands.library_noise import without_notices
print("before", file=sys.stderr)
with without_notices():
    os.write(2, b"WARNING: All log messages before absl::InitializeLog() is called\\n")
    os.write(2, b"I0000 00:00:1795811192.142481   31904 port.cc:153] custom operations\\n")
    os.write(2, b"E0000 00:00:1795811192.142481   31904 a.cc:1] out of memory\\n")
    print("I0000 00:00:1.1 said by Python", file=sys.stderr)
print("after", file=sys.stderr)
raise SystemExit(3)
"""


def test_notices_of_libraries_are_dropped_and_errors_are_not():
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", NOISY], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 3
    assert sorted(done.stderr.splitlines()) == [
        "E0000 00:00:1795811192.142481   31904 a.cc:1] out of memory",
        "I0000 00:00:1.1 said by Python",
        "after",
        "before",
    ]


@pytest.mark.parametrize(
    "words",
    ["report x", "latest", "redecide x --thresholds 0.3,0.8", "changes a b", "trend", "export x",
     "statement --from 2026-11-01 --to 2026-11-02", "verify-run x", "repair",
     "retention --keep-days 3", f"erase {'0' * 64}"],
)  # fmt: skip
@pytest.mark.parametrize("missing", [True, False])
def test_a_mistyped_folder_of_results_is_never_an_empty_one(
    words: str, missing: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    folder = tmp_path / "pictures"
    if not missing:
        folder.mkdir()
        (folder / "one.jpg").write_bytes(b"1")

    assert cli.main([*words.split(), "--output", str(folder)]) == 2

    said = capsys.readouterr().err
    assert str(folder) in said
    assert ("no folder" if missing else "no results") in said
    assert folder.exists() is not missing
    assert missing or [path.name for path in folder.iterdir()] == ["one.jpg"]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("retention --keep-days soon", "expected a whole number, found 'soon'"),
        ("calibrate --real x --to y --fpr nan", "expected a number, found 'nan'"),
        ("plan --hours eight", "expected a number, found 'eight'"),
        ("verify-run x --sample 1.5", "expected a whole number, found '1.5'"),
    ],
)
def test_numbers_are_asked_for_in_words(
    words: str, expected: str, capsys: pytest.CaptureFixture[str]
):
    with pytest.raises(SystemExit) as ended:
        cli.main(words.split())

    assert ended.value.code == 2
    assert expected in capsys.readouterr().err


@pytest.mark.parametrize("address", ["ftp://127.0.0.1:1/d", "http://127.0.0.1:1/d", "what://x/y"])
def test_an_address_that_cannot_be_reached_is_named(
    address: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    assert cli.main(["scan", address, "--output", str(tmp_path / "out")]) == 2

    said = capsys.readouterr().err
    assert address in said
    assert "Traceback" not in said


def test_models_lists_and_shows_second_looks_too(tmp_path, tiny_registry, capsys):
    registry = str(two_looks(tmp_path / "models", tiny_registry))
    assert cli.main(["models", "list", "--registry", registry]) == 0
    said = capsys.readouterr().out
    assert "tiny: versions [1], current 1, a first look" in said
    assert "clip: versions [1], current 1, a second look" in said
    assert cli.main(["models", "show", "clip", "--registry", registry]) == 0
    assert "clip@1+" in capsys.readouterr().out
    assert cli.main(["models", "show", "clip@7", "--registry", registry]) == 2
    assert "no model clip@7" in capsys.readouterr().err
    # It came with the project, and nothing is logged of how it became current.
    assert cli.main(["models", "promote", "clip@1", "--registry", registry]) == 0
    assert "clip@1 is current" in capsys.readouterr().out
