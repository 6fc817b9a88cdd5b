"""The wheel works by itself: on an empty machine one command gives a verdict."""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import time
import venv
import zipfile
from pathlib import Path

import pytest

from deepfake_core.models.registry import list_models

pytestmark = [pytest.mark.processes, pytest.mark.timeout(600)]

ROOT = Path(__file__).resolve().parents[2]
SAMPLES = ROOT / "data" / "samples"
VERDICT_SECONDS = 60


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy, so that the checkout stays as it is."""
    folder = tmp_path_factory.mktemp("wheel")
    ignored = shutil.ignore_patterns("__pycache__", "build", "*.egg-info")
    for name in ("deepfake_core", "flows", "models"):
        shutil.copytree(ROOT / name, folder / "source" / name, ignore=ignored)
    for name in ("pyproject.toml", "setup.py", "MANIFEST.in", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder / "source")
    command = ["pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w", str(folder)]
    subprocess.run([sys.executable, "-m", *command, str(folder / "source")], check=True)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def program(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The command in an environment of its own, which borrows the libraries of this one."""
    folder = tmp_path_factory.mktemp("empty") / "venv"
    venv.create(folder, symlinks=True)
    (packages,) = folder.glob("lib/python*/site-packages")
    # Its .pth files are not read, so the editable install of the checkout is not seen.
    (packages / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n")
    command = ["pip", f"--python={folder}/bin/python", "install", "--quiet", "--no-deps"]
    subprocess.run([sys.executable, "-m", *command, str(wheel)], check=True)
    return folder / "bin" / "deepfake"


def run(program: Path, *words: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "HOME": str(cwd), "PYTHONSAFEPATH": "1"}
    return subprocess.run(
        [str(program), *map(str, words)], cwd=cwd, env=environment, capture_output=True, text=True
    )


def test_the_wheel_carries_of_each_model_the_version_that_is_used(wheel: Path):
    names = zipfile.ZipFile(wheel).namelist()
    carried = {name.split("/")[1] for name in names if name.startswith("deepfake_models/")}
    separate = {"clip"}
    assert carried == set(list_models()) - separate | {"recipe.json"}
    for model in set(list_models()) - separate:
        versions = {
            name.split("/")[2]
            for name in names
            if name.startswith(f"deepfake_models/{model}/") and name.count("/") > 2
        }
        mark = ROOT / "models" / model / "current.json"
        used = json.loads(mark.read_text())["version"] if mark.exists() else None
        assert versions == {str(used or list_models()[model][-1])}
    # Package indexes take no larger file.
    assert wheel.stat().st_size < 100e6


@pytest.mark.parametrize("what", ["a folder", "one file"])
def test_an_empty_machine_gets_a_verdict_at_once(program: Path, tmp_path: Path, what: str):
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for name in ("render-01.jpg", "portrait-astronaut.jpg", "SOURCES.md"):
        shutil.copy(SAMPLES / name, pictures)
    source = pictures if what == "a folder" else pictures / "render-01.jpg"
    began = time.monotonic()
    done = run(program, "scan", source, "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert time.monotonic() - began < VERDICT_SECONDS
    result = json.loads(done.stdout)
    assert result["judged"] == (2 if what == "a folder" else 1)
    assert sum(result["labels"].values()) == result["judged"]
    assert result["failures"] == ({"decode.unsupported": 1} if what == "a folder" else {})


def test_the_models_of_the_wheel_are_found_from_anywhere(program: Path, tmp_path: Path):
    done = run(program, "models", "list", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "resnet50" in done.stdout
    # Those of the checkout are not what was found.
    shown = run(program, "models", "show", "nothing", cwd=tmp_path)
    assert shown.returncode == 2
    assert str(program.parents[1]) in shown.stderr
