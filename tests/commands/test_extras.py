"""A library that comes with an extra is missed in one line, before the work."""

import re
import sys
import tomllib
from pathlib import Path

import pytest

from deepfake_core.cli import main
from deepfake_core.commands import extras
from deepfake_core.commands.extras import EXTRAS, NEEDS, words_of

ROOT = Path(__file__).resolve().parents[2]
# Modules whose names differ from their distributions'.
MODULES = {"tensorflow-cpu": "tensorflow", "scikit-learn": "sklearn"}
WORDS = {
    "app": ["app"],
    "dataset": ["dataset", "missing"],
    "evaluate": ["evaluate", "missing", "--data", "missing"],
    "retrain": ["retrain", "--data", "missing"],
    "serve": ["serve"],
    "trend": ["trend"],
}


@pytest.mark.parametrize("extra", ["train", "serve", "cluster"])
def test_each_library_of_an_extra_is_known(extra: str):
    stated = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for requirement in stated["optional-dependencies"][extra]:
        name = re.match(r"[\w-]+", requirement)[0]
        assert EXTRAS[MODULES.get(name, name.replace("-", "_"))] == extra


@pytest.mark.parametrize(("command", "library"), [(c, name) for c in NEEDS for name in NEEDS[c]])
def test_a_missing_library_is_one_line(
    command: str,
    library: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setitem(sys.modules, library, None)
    assert main(WORDS[command]) == 2
    told = capsys.readouterr()
    assert told.out == ""
    (line,) = told.err.splitlines()
    assert line == f"deepfake: {words_of(command, library)}"
    assert f"deepfake-verification[{EXTRAS[library]}]" in line


def test_a_library_that_is_missed_in_the_middle_is_one_line_too(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    monkeypatch.setattr(extras, "NEEDS", {})
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    monkeypatch.delitem(sys.modules, "deepfake_core.serve.server", raising=False)
    assert main(["serve"]) == 2
    assert capsys.readouterr().err == f"deepfake: {words_of('serve', 'uvicorn')}\n"


def test_another_library_that_is_missing_is_an_error_of_the_program(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setitem(sys.modules, "deepfake_core.serve.server", None)
    with pytest.raises(ModuleNotFoundError):
        main(["serve"])


def test_where_there_is_no_tensorflow_another_python_is_advised(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(extras, "UNTRAINED", (3, 0))
    assert words_of("retrain", "tensorflow").endswith("use Python 3.13 to train")
    assert "train]" in words_of("retrain", "nncf")
