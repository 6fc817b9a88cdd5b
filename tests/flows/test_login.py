"""The login of the Prefect server, and where its runs work."""

import os
import stat
from pathlib import Path

import pytest

from flows.login import known_login, login_file, login_for, make_login
from flows.place import enter


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path / "prefect"))
    for name in ("PREFECT_SERVER_API_AUTH_STRING", "PREFECT_API_AUTH_STRING"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "prefect"


def test_a_login_is_made_once_for_its_owner_alone(home: Path):
    assert known_login() is None
    made = make_login()
    user, _, password = made.partition(":")
    assert user == "deepfake"
    assert len(password) >= 32
    assert make_login() == known_login() == made
    assert stat.S_IMODE(login_file().stat().st_mode) == 0o600
    assert [path.name for path in home.iterdir()] == ["deepfake-login"]


def test_a_login_of_the_environment_is_kept_nowhere(home: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PREFECT_SERVER_API_AUTH_STRING", "me:mine")
    assert make_login() == "me:mine"
    assert not home.exists()


def test_the_login_of_this_machine_is_sent_to_no_other(monkeypatch: pytest.MonkeyPatch):
    made = make_login()
    assert login_for("http://127.0.0.1:4200/api") == made
    assert login_for("http://localhost:4200/api") == made
    for other in ("https://prefect.example/api", "http://127.0.0.1.evil.example/api"):
        assert login_for(other) is None
    monkeypatch.setenv("PREFECT_API_AUTH_STRING", "me:mine")
    assert login_for("https://prefect.example/api") == "me:mine"


def test_a_run_works_in_the_folder_of_its_worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    checkout = Path(__file__).resolve().parents[2]
    monkeypatch.delenv("DEEPFAKE_HOME", raising=False)
    assert enter() == {"directory": str(checkout)}
    assert Path.cwd() == checkout
    monkeypatch.setenv("DEEPFAKE_HOME", str(tmp_path))
    assert enter() == {"directory": str(tmp_path)}
    assert os.getcwd() == str(tmp_path)
