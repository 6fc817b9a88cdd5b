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

from deepfake_core.models.second_look import find_second

pytestmark = [pytest.mark.processes, pytest.mark.timeout(600)]

ROOT = Path(__file__).resolve().parents[2]
SAMPLES = ROOT / "data" / "samples"
VERDICT_SECONDS = 60
SEPARATE = {"clip"}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy, so that the checkout stays as it is."""
    folder = tmp_path_factory.mktemp("wheel")
    ignored = shutil.ignore_patterns("__pycache__", "build", "*.egg-info")
    for name in ("deepfake_core", "flows", "models"):
        shutil.copytree(ROOT / name, folder / "source" / name, ignore=ignored)
    for name in ("pyproject.toml", "setup.py", "MANIFEST.in", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder / "source")
    (built,) = build(folder / "source", folder)
    return built


def build(source: Path, folder: Path) -> list[Path]:
    command = ["pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w", str(folder)]
    subprocess.run([sys.executable, "-m", *command, str(source)], check=True)
    return list(folder.glob("*.whl"))


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


def versions_of(model: str) -> list[str]:
    return sorted(path.name for path in (ROOT / "models" / model).iterdir() if path.name.isdigit())


def test_the_wheel_carries_of_each_model_the_version_that_is_used(wheel: Path):
    names = zipfile.ZipFile(wheel).namelist()
    shipped = [name.split("/")[1:] for name in names if name.startswith("deepfake_models/")]
    folders = {path.name for path in (ROOT / "models").iterdir() if path.is_dir()}
    models = {name for name in folders if versions_of(name)}
    assert {parts[0] for parts in shipped} == folders - SEPARATE | {"recipe.json"}
    for model in models - SEPARATE:
        carried = {parts[1] for parts in shipped if parts[0] == model and len(parts) > 2}
        mark = ROOT / "models" / model / "current.json"
        used = json.loads(mark.read_text())["version"] if mark.exists() else versions_of(model)[-1]
        assert carried == {str(used)}, model
    # Package indexes take no larger file.
    assert wheel.stat().st_size < 100e6


def test_the_second_look_comes_in_a_wheel_of_its_own(program: Path, tmp_path: Path):
    source = tmp_path / "clip"
    shutil.copytree(ROOT / "models" / "clip", source, ignore=shutil.ignore_patterns("build"))
    (built,) = build(source, tmp_path)
    assert built.stat().st_size < 100e6
    names = zipfile.ZipFile(built).namelist()
    folder = "deepfake_models/clip"
    (version,) = versions_of("clip")
    assert f"{folder}/current.json" in names
    assert f"{folder}/{version}/second_look.json" in names
    ours = [name for name in names if not name.startswith(f"{folder}/") and "dist-info" not in name]
    assert ours == []
    target = tmp_path / "there"
    zipfile.ZipFile(built).extractall(target)
    look = find_second(None, target / "deepfake_models")
    assert look is not None
    assert look.weights()


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
    pictures = 2 if what == "a folder" else 1
    assert result["judged"] + result["not_applicable"] == pictures
    assert result["failures"] == ({"decode.unsupported": 1} if what == "a folder" else {})


def test_the_models_of_the_wheel_are_found_from_anywhere(program: Path, tmp_path: Path):
    done = run(program, "models", "list", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "resnet50" in done.stdout
    # Those of the checkout are not what was found.
    shown = run(program, "models", "show", "nothing", cwd=tmp_path)
    assert shown.returncode == 2
    assert str(program.parents[1]) in shown.stderr


def test_a_second_look_that_is_missing_is_named(program: Path, tmp_path: Path):
    asked = ("scan", SAMPLES / "render-01.jpg", "--faces", "find", "--second-look", "all")
    done = run(program, *asked, cwd=tmp_path)
    assert done.returncode == 2
    assert "install deepfake-verification-second-look" in done.stderr
