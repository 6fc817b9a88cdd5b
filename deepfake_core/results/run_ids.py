"""Names of runs."""

from __future__ import annotations

import datetime as dt
import re
import secrets
import string

from deepfake_core.errors import UsageError


def new_run_id(now: dt.datetime) -> str:
    """``YYYYMMDDTHHMMSSZ-xxxx``: UTC and four random characters."""
    letters = string.ascii_lowercase + string.digits
    return f"{now:%Y%m%dT%H%M%SZ}-" + "".join(secrets.choice(letters) for _ in range(4))


RUN_ID_PATTERN = r"^[A-Za-z0-9._-]{1,64}$"


def is_run_id(text: str) -> bool:
    """Whether a text can name a run, and so a folder: without a path and no folder above."""
    return re.fullmatch(RUN_ID_PATTERN, text) is not None and text not in (".", "..")


def check_run_id(text: str) -> None:
    """Raise UsageError where a text names no run."""
    if not is_run_id(text):
        raise UsageError(
            f"{text!r} is not a run id; it has letters, digits, '.', '_', '-', and names a folder"
        )


def no_folder_above(run_id: str | None) -> str | None:
    """A run id as it is; for the validators of settings, which know its pattern."""
    if run_id is not None and not is_run_id(run_id):
        raise ValueError("a run id names a folder, so it cannot be . or ..")
    return run_id
