"""The registry changes only by whole versions, and its log says who, when and why."""

import fcntl
import itertools
import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from deepfake_core.cli import main
from deepfake_core.errors import CandidateRefused, ModelError, OutputError, UsageError
from deepfake_core.models.bundle import Bundle, store_weights, write_description
from deepfake_core.models.registry import (
    current_version,
    find_model,
    list_models,
    promote,
    record_gate,
    register,
    rollback,
)
from deepfake_core.models.registry_log import LOG_FILE, read_log
from tests.support.full_disk import files_up_to

PASSED = {"passed": True, "reasons": []}
FAILED = {"passed": False, "reasons": ["AUC on clean: 0.5, the limit is 0.9"]}


Make = Callable[..., Bundle]


@pytest.fixture
def make(tiny_registry: Path, tmp_path: Path) -> Make:
    """Makes a bundle of the model ``tiny``, outside any registry."""
    tiny = find_model("tiny", tiny_registry)

    def make_one(version: int, *, change: float = 1.0) -> Bundle:
        folder = tmp_path / "made" / f"{version}-{change}"
        folder.mkdir(parents=True)
        store_weights(folder, {name: array * change for name, array in tiny.weights().items()})
        return write_description(folder, tiny.description.model_copy(update={"version": version}))

    return make_one


@pytest.fixture
def candidates(make: Make) -> list[Bundle]:
    """Three bundles of the model ``tiny``, outside any registry."""
    return [make(version) for version in (1, 2, 3)]


@pytest.fixture
def registry(candidates: list[Bundle], tmp_path: Path) -> Path:
    """Three versions of ``tiny`` that were promoted one after the other; the third is current."""
    folder = tmp_path / "models"
    before = None
    for version, candidate in enumerate(candidates, start=1):
        registered = register(candidate, registry=folder)
        record_gate(registered, before, PASSED, registry=folder)
        promote("tiny", version, why=f"step {version}", registry=folder)
        before = registered
    return folder


def what_is_in(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_version_is_registered_whole_and_not_current(
    make: Make, candidates: list[Bundle], tmp_path: Path
):
    folder = tmp_path / "models"
    registered = register(candidates[0], why="a first one", registry=folder)
    assert registered.model_id == candidates[0].model_id
    assert sorted(os.listdir(registered.folder)) == sorted(os.listdir(candidates[0].folder))
    assert list_models(folder) == {"tiny": [1]}
    told = r"no version of tiny is current in .*tiny@1.*models promote tiny@1"
    with pytest.raises(ModelError, match=told):
        current_version("tiny", folder)
    (line,) = read_log(folder / "tiny")
    assert (line["what"], line["version"], line["why"]) == ("register", 1, "a first one")
    assert line["who"].endswith(f"@{socket.gethostname()}")
    assert line["when"].endswith("+00:00")

    assert register(candidates[0], registry=folder) == registered
    assert len(read_log(folder / "tiny")) == 1
    with pytest.raises(ModelError, match="took this version meanwhile"):
        register(make(1, change=1.1), registry=folder)


def test_rollback_goes_back_step_by_step(registry: Path):
    assert current_version("tiny", registry) == 3
    line = rollback("tiny", why="it was worse", registry=registry)
    assert (line["what"], line["from"], line["to"]) == ("rollback", 3, 2)
    assert rollback("tiny", registry=registry)["to"] == 1
    with pytest.raises(ModelError, match="no version that was current before 1"):
        rollback("tiny", registry=registry)
    assert current_version("tiny", registry) == 1
    whats = [one["what"] for one in read_log(registry / "tiny")]
    assert whats == ["register", "gate", "promote"] * 3 + ["rollback"] * 2


def test_only_what_passed_the_gate_against_the_current_is_promoted(
    registry: Path, make: Make, candidates: list[Bundle]
):
    candidate = register(make(4), registry=registry)
    with pytest.raises(CandidateRefused, match="no gate record"):
        promote("tiny", 4, registry=registry)
    record_gate(candidate, candidates[2], FAILED, registry=registry)
    with pytest.raises(CandidateRefused, match=r"AUC on clean: 0\.5"):
        promote("tiny", 4, registry=registry)
    record_gate(candidate, candidates[1], PASSED, registry=registry)
    with pytest.raises(CandidateRefused, match=r"compared it with tiny@2.*current is tiny@3"):
        promote("tiny", 4, registry=registry)
    assert current_version("tiny", registry) == 3

    with pytest.raises(UsageError, match="--why"):
        promote("tiny", 4, force=True, registry=registry)
    line = promote("tiny", 4, force=True, why="the old one is broken", registry=registry)
    assert line["gate"]["forced"] is True
    assert "compared it with" in line["gate"]["refusal"]
    assert current_version("tiny", registry) == 4
    record_gate(candidate, candidates[2], PASSED, registry=registry)
    rollback("tiny", registry=registry)
    assert promote("tiny", 4, registry=registry)["gate"]["forced"] is False


def test_a_damaged_version_is_not_promoted(registry: Path):
    rollback("tiny", registry=registry)
    weights = registry / "tiny" / "3" / "weights.npz"
    weights.write_bytes(weights.read_bytes()[:-1] + b"?")
    before = what_is_in(registry)
    with pytest.raises(ModelError, match="changed or damaged"):
        promote("tiny", 3, why="anyway", force=True, registry=registry)
    assert what_is_in(registry) == before


def test_a_full_disk_changes_nothing(registry: Path, make: Make):
    candidate = make(4)
    before = what_is_in(registry)
    size = (candidate.folder / "weights.npz").stat().st_size - 1
    refused = pytest.raises(OutputError, match=r"cannot change the registry.*File too large")
    with refused, files_up_to(size):
        register(candidate, registry=registry)
    assert what_is_in(registry) == before
    assert not list((registry / "tiny").glob(".*"))
    # Room for the file that says what is current, none for the whole line in the log.
    size = (registry / "tiny" / LOG_FILE).stat().st_size + 20
    with pytest.raises(OutputError, match="File too large"), files_up_to(size):
        rollback("tiny", registry=registry)
    assert what_is_in(registry) == before
    assert register(candidate, registry=registry).model_id == candidate.model_id


@pytest.mark.skipif(os.getuid() == 0, reason="permissions do not bind root")
def test_a_folder_that_cannot_be_written(registry: Path):
    (registry / "tiny" / LOG_FILE).chmod(0o400)
    with pytest.raises(OutputError, match="take a user who may write there"):
        rollback("tiny", registry=registry)


ROOT = Path(__file__).resolve().parents[2]
# In processes of their own: a fork would inherit the threads of all tests before.
HAMMER = """
import sys
from pathlib import Path
from deepfake_core.models.registry import promote

registry, number = Path(sys.argv[1]), int(sys.argv[2])
for count in range(5):
    why = f"process {number}, {count}"
    promote("tiny", 1 + (number + count) % 3, force=True, why=why, registry=registry)
"""


@pytest.mark.processes
def test_promotions_at_once_lose_no_line(registry: Path):
    lines = len(read_log(registry / "tiny"))
    command = [sys.executable, "-c", HAMMER, str(registry)]
    processes = [
        subprocess.Popen([*command, str(number)], cwd=ROOT, stderr=subprocess.PIPE, text=True)
        for number in range(4)
    ]
    while any(process.poll() is None for process in processes):
        assert find_model("tiny", registry).description.version in (1, 2, 3)
    for process in processes:
        _, messages = process.communicate(timeout=60)
        assert process.returncode == 0, messages
    log = read_log(registry / "tiny")
    # What is current already is not promoted again.
    assert lines + 4 < len(log) <= lines + 20
    assert log[-1]["to"] == current_version("tiny", registry)
    moves = [line for line in log if line["what"] == "promote"]
    for earlier, later in itertools.pairwise(moves):
        assert later["from"] == earlier["to"]


ROLL_BACK = """
import sys
from pathlib import Path
from deepfake_core.models.registry import rollback

print("ready", flush=True)
rollback("tiny", registry=Path(sys.argv[1]))
"""


@pytest.mark.processes
def test_others_wait_while_the_log_is_held(registry: Path):
    with (registry / "tiny" / LOG_FILE).open("ab") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        process = subprocess.Popen(
            [sys.executable, "-c", ROLL_BACK, str(registry)], cwd=ROOT, stdout=subprocess.PIPE
        )
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.5)
        assert current_version("tiny", registry) == 3
    process.communicate(timeout=60)
    assert process.returncode == 0
    assert current_version("tiny", registry) == 2


def test_the_commands(
    registry: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr("deepfake_core.models.registry.DEFAULT_REGISTRY", registry)

    def told(*words: str) -> str:
        assert main(["models", *words]) == 0
        return capsys.readouterr().out

    assert told() == told("list") == "tiny: versions [1, 2, 3], current 3, a first look\n"
    assert json.loads(told("--json")) == json.loads(told("list", "--json"))
    assert told("rollback", "tiny", "--why", "worse") == "tiny@2 is current, tiny@3 was\n"
    shown = json.loads(told("show", "tiny@3", "--json"))
    assert shown["gate"]["passed"] is True
    assert shown["log"][-1]["why"] == "worse"
    line = json.loads(told("promote", "tiny", "--why", "newest", "--json"))
    assert (line["from"], line["to"], line["why"]) == (2, 3, "newest")

    (registry / "tiny" / LOG_FILE).unlink()
    assert main(["models", "promote", "tiny@1"]) == 1
    complaint = capsys.readouterr().err
    assert "no gate record" in complaint
    assert "--data DIR" in complaint
    assert main(["models", "promote", "tiny@1", "--force"]) == 2
    assert main(["models", "promote", "tiny@9"]) == 2
    capsys.readouterr()
    told("promote", "tiny@1", "--force", "--why", "by hand")
    assert current_version("tiny", registry) == 1
