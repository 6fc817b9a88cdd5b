"""The image: linted, its steps followed in folders, its command started and found healthy."""

import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest
import yaml

from tests.support.container import Stage, build, steps
from tests.support.ports import free_port

pytestmark = pytest.mark.processes

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Stage:
    return build(ROOT, tmp_path_factory.mktemp("image"))


def test_the_linter_finds_nothing() -> None:
    linter = Path(sys.executable).parent / "hadolint"
    found = subprocess.run([linter, ROOT / "Dockerfile"], capture_output=True, text=True)
    assert (found.returncode, found.stdout) == (0, "")


def test_the_compose_file_offers_each_part_on_this_machine_only() -> None:
    services = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]
    assert set(services) == {"service", "page", "prefect"}
    for service in services.values():
        assert all(port.startswith("127.0.0.1:") for port in service["ports"])
        assert "no-new-privileges:true" in service["security_opt"]


def test_the_prefect_server_is_ours_behind_its_door() -> None:
    server = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]["prefect"]
    # Its versions are those of the lock file, as in every image.
    assert server["build"]["args"] == {"EXTRA": "flows"}
    assert server["entrypoint"] == ["python", "-m", "flows.door"]
    assert server["environment"]["PREFECT_HOME"] in " ".join(server["volumes"])


def test_the_command_runs_without_root() -> None:
    users = [rest for name, rest in steps(ROOT / "Dockerfile") if name == "USER"]
    assert users
    assert users[-1] not in ("root", "0")


@pytest.mark.timeout(600)
def test_the_image_holds_no_training_and_serves(image: Stage, tmp_path: Path) -> None:
    python = image.place / ".venv" / "bin" / "python"
    missing = "import importlib.util as u; print(u.find_spec('tensorflow'), u.find_spec('pytest'))"
    found = subprocess.run([python, "-c", missing], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "None None"
    port = free_port()
    variables = image.variables() | {"PORT": str(port)}
    # The port comes from the environment, as on Cloud Run; here it stays on the loopback.
    command = [*image.entrypoint, *image.command]
    command[command.index("0.0.0.0")] = "127.0.0.1"
    command[0] = str(image.place / ".venv" / "bin" / command[0])
    log = (tmp_path / "log").open("w")
    process = subprocess.Popen(command, cwd=image.place, env=variables, stdout=log, stderr=log)
    try:
        assert _healthy(image, variables, process), (tmp_path / "log").read_text()
        picture = (ROOT / "data" / "samples" / "render-01.jpg").read_bytes()
        url = f"http://127.0.0.1:{port}/upload_image"
        answer = httpx.post(url, files={"img": ("picture.jpg", picture)}, timeout=60)
        assert answer.status_code == 200, answer.text
        assert sum(answer.json()) == pytest.approx(1)
    finally:
        process.terminate()
        assert process.wait(30) in (0, -15)
        log.close()


def _healthy(image: Stage, variables: dict[str, str], process: subprocess.Popen) -> bool:
    """Whether the image's own health check passes within a minute and a half."""
    python = str(image.place / ".venv" / "bin" / "python")
    ends = time.monotonic() + 90
    while time.monotonic() < ends and process.poll() is None:
        check = [python, *image.healthcheck[1:]]
        if not subprocess.run(check, env=variables, stderr=subprocess.DEVNULL).returncode:
            return True
        time.sleep(0.5)
    return False
