"""No command, flow, service, page or import talks to anyone but source, output and model.

Everything runs as its own process on a terminal, without the variables of continuous
integration, which silence telemetry and would hide it.
"""

import argparse
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from deepfake_core.cli import build_parser
from tests.conftest import make_bundle
from tests.support.credentials import make_signer, photograph
from tests.support.labelled import RECIPE, save_pictures
from tests.support.lookups import Watched
from tests.support.onnx_files import write_onnx
from tests.support.ports import free_port

pytestmark = [pytest.mark.processes, pytest.mark.timeout(600)]

ROOT = Path(__file__).resolve().parents[2]
MAIN = ("-m", "deepfake_core.cli")
IMAGE = "0" * 64
# These may end with another status: they refuse what such small data make of such a model.
REFUSING = ("retrain", "models", "pair", "calibrate", "strangers")
# Words of each command; {name} is a path below the folder of the test.
COMMANDS: dict[str, tuple[str, ...]] = {
    "scan": (
        "scan {pictures} --output {out} --model tiny --registry {models} --run-id again --full",
    ),
    "report": ("report r1 --output {out}",),
    "latest": ("latest --output {out}",),
    "redecide": ("redecide r1 --thresholds 0.3,0.8 --output {out}",),
    "changes": ("changes r1 r1 --output {out}",),
    "dataset": ("dataset {labelled} --output {folder}/dataset",),
    "retrain": (
        "retrain --data {labelled} --config {recipe} --name small --registry {models} "
        "--output {folder}/retrain",
    ),
    "evaluate": (
        "evaluate tiny --data {labelled} --registry {models} --no-tiers --output {folder}/eval",
    ),
    "models": (
        "models list --registry {models}",
        "models show tiny --registry {models}",
        "models promote tiny@2 --force --why test --registry {models}",
        "models rollback tiny --registry {models}",
        "models import {onnx} --name other --fake-output 1 --data {labelled} --registry {models}",
    ),
    "plan": ("plan --images 1000000",),
    "erase": (f"erase {IMAGE} --output {{out}}",),
    "retention": ("retention --keep-days 1 --dry-run --output {out}",),
    "export": ("export r1 --output {out}",),
    "diff": ("diff tiny@1 tiny@2 --data {pictures} --registry {models}",),
    "statement": ("statement --from 2026-01-01 --to 2099-01-01 --output {out}",),
    "verify-run": ("verify-run r1 --output {out} --registry {models}",),
    "repair": ("repair --output {out} --registry {models}",),
    "pair": ("pair tiny --data {labelled} --registry {models}",),
    "strangers": ("strangers tiny --data {labelled} --strangers {labelled} --registry {models}",),
    "calibrate": (
        "calibrate --real {labelled}/valid/real --fpr 0.3 --to {folder}/policy.json --model tiny "
        "--registry {models}",
    ),
    "trend": ("trend --output {out} --to {folder}/trend.png",),
}
SERVERS = {
    "serve": "serve --model tiny --registry {models} --port {port}",
    "app": "app --model tiny --registry {models} --reports {out} --port {port}",
}
ALIVE = {"serve": "/readyz", "app": "/_stcore/health"}


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    folder = tmp_path_factory.mktemp("nobody")
    for version in (2, 1):
        make_bundle(folder / "models", version=version, seed=version)
    places: dict[str, object] = {"folder": folder, "port": free_port()}
    places |= {name: folder / name for name in ("models", "out", "pictures", "labelled")}
    save_pictures(folder / "pictures", {"": 3})
    # Says that its credentials lie, and the state of its certificate is told, somewhere else.
    elsewhere = "http://credentials.example.org"
    signed = make_signer(ocsp=elsewhere).sign(photograph(), url=f"{elsewhere}/manifest")
    (folder / "pictures" / "signed.jpg").write_bytes(signed)
    save_pictures(folder / "labelled", {"train": 20, "valid": 30})
    places["recipe"] = folder / "recipe.json"
    (folder / "recipe.json").write_text(RECIPE.model_dump_json())
    places["onnx"] = write_onnx(folder / "other.onnx")
    first = "scan {pictures} --output {out} --model tiny --registry {models} --run-id r1"
    status, said = Watched(folder).run((*MAIN, *words_of(first, places)), cwd=folder)
    assert status == 0, said
    return places


@pytest.fixture
def watched(tmp_path: Path) -> Watched:
    return Watched(tmp_path)


def words_of(command: str, places: dict[str, object]) -> list[str]:
    return [word.format(**places) for word in command.split()]


def assert_nobody_was_told(watched: Watched) -> None:
    assert watched.looked_up() == []
    # Where the libraries of OpenVINO keep a client's id and count its uses.
    assert not (watched.folder / "home" / "intel").exists()


def test_the_hook_hears_what_a_library_does(watched: Watched, tmp_path: Path):
    """As it comes, OpenVINO tells; else nothing below could fail."""
    watched.run(("-c", "import openvino, time; time.sleep(2)"), cwd=tmp_path)
    assert [line.split()[0] for line in watched.looked_up()] == ["www.google-analytics.com"]
    assert (watched.folder / "home" / "intel").exists()


def test_every_command_is_among_these():
    (commands,) = [
        action
        for action in build_parser()._actions
        if isinstance(action, argparse._SubParsersAction)
    ]
    assert set(commands.choices) == set(COMMANDS) | set(SERVERS)


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_tells_nobody(name: str, watched: Watched, places: dict[str, object]):
    for command in COMMANDS[name]:
        status, said = watched.run((*MAIN, *words_of(command, places)), cwd=watched.folder)
        assert status == 0 or name in REFUSING, said
        assert "Traceback" not in said
    assert_nobody_was_told(watched)


@contextmanager
def started(words: list[str], watched: Watched, url: str) -> Iterator[None]:
    process = subprocess.Popen(
        [sys.executable, *MAIN, *words], cwd=watched.folder, env=watched.environment()
    )
    try:
        until = time.monotonic() + 120
        while True:
            try:
                if httpx.get(url).is_success:
                    break
            except httpx.TransportError:
                assert process.poll() is None
            assert time.monotonic() < until
            time.sleep(0.2)
        yield
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(60)


@pytest.mark.parametrize("name", SERVERS)
def test_service_and_page_tell_nobody(name: str, watched: Watched, places: dict[str, object]):
    address = f"http://127.0.0.1:{places['port']}"
    with started(words_of(SERVERS[name], places), watched, address + ALIVE[name]):
        if name == "serve":
            picture = next(Path(str(places["pictures"])).rglob("*.jpg")).read_bytes()
            assert httpx.post(f"{address}/verdicts", files={"img": picture}).is_success
        else:
            assert httpx.get(address).is_success
    assert_nobody_was_told(watched)


def test_the_scan_on_a_cluster_tells_nobody(watched: Watched, places: dict[str, object]):
    command = "scan {pictures} --output {folder}/c --model tiny --registry {models} --cluster "
    words = (*MAIN, *words_of(command + "local:1", places))
    status, said = watched.run(words, cwd=watched.folder)
    assert status == 0, said
    assert_nobody_was_told(watched)


@pytest.mark.parametrize("name", ["scan", "retrain"])
def test_a_flow_by_itself_tells_nobody(name: str, watched: Watched, places: dict[str, object]):
    """Its server is an embedded one; away from the repository no setting of it is read."""
    what = "pictures" if name == "scan" else "missing"
    words = (ROOT / "flows" / f"{name}.py", places["folder"] / what)  # type: ignore[operator]
    status, said = watched.run(words, cwd=watched.folder, timeout=500)
    assert status == (0 if name == "scan" else 1), said
    assert "telemetry" not in said.lower()
    assert_nobody_was_told(watched)


def test_the_benchmark_tells_nobody(watched: Watched, places: dict[str, object]):
    command = "-m deepfake_core.bench --quick --part first_verdict --model tiny"
    words = words_of(command + " --registry {models} --output {folder}/bench", places)
    status, said = watched.run(words, cwd=ROOT)
    assert status == 0, said
    assert_nobody_was_told(watched)


def test_importing_all_of_it_tells_nobody(watched: Watched, tmp_path: Path):
    program = (
        "import importlib, pkgutil, deepfake_core, flows\n"
        "for package in (deepfake_core, flows):\n"
        "    for module in pkgutil.walk_packages(package.__path__, package.__name__ + '.'):\n"
        "        if not module.name.endswith('__main__'):\n"
        "            importlib.import_module(module.name)\n"
        "from deepfake_core.engines.libraries import nncf\n"
    )
    status, said = watched.run(("-c", program), cwd=tmp_path)
    assert status == 0, said
    assert_nobody_was_told(watched)


def test_the_telemetry_of_others_is_left_alone(watched: Watched, tmp_path: Path):
    """Whoever wants to use it in the same program still can."""
    program = (
        "import deepfake_core.engines.libraries, sys\n"
        "assert 'openvino_telemetry' not in sys.modules\n"
        "import openvino_telemetry\n"
    )
    assert watched.run(("-c", program), cwd=tmp_path)[0] == 0
