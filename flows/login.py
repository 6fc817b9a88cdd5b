"""Who may use the Prefect server: its login, made at its first start and readable by its owner.

It lies beside Prefect's database. A login that Prefect's own variables name goes before it.
"""

import os
import secrets
from pathlib import Path
from urllib.parse import urlsplit

FILE, USER = "deepfake-login", "deepfake"
SECRET_BYTES = 24
# Prefect's names for the same: what the server asks for, and what its clients send.
ASKED, SENT = "PREFECT_SERVER_API_AUTH_STRING", "PREFECT_API_AUTH_STRING"


def login_file() -> Path:
    """Where the login is kept: in Prefect's home, which is not imported for that."""
    return Path(os.environ.get("PREFECT_HOME") or "~/.prefect").expanduser() / FILE


def known_login() -> str | None:
    """The login, where there is one: USER:PASSWORD."""
    named = os.environ.get(ASKED) or os.environ.get(SENT)
    if named:
        return named
    path = login_file()
    return path.read_text().strip() or None if path.is_file() else None


def login_for(api: str) -> str | None:
    """What to send to a server: the login in the file is that of this machine's own."""
    own = urlsplit(api).hostname in ("127.0.0.1", "localhost")
    return known_login() if own else os.environ.get(SENT)


def make_login() -> str:
    """The login; made, and kept for its owner alone, where there is none."""
    known = known_login()
    if known:
        return known
    path = login_file()
    path.parent.mkdir(parents=True, exist_ok=True)
    login = f"{USER}:{secrets.token_urlsafe(SECRET_BYTES)}"
    beside = path.with_name(f".{FILE}.{os.getpid()}")
    handle = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w") as stream:
        stream.write(login + "\n")
    beside.replace(path)
    return login
