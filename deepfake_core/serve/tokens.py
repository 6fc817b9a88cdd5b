"""Bearer tokens: made once, stored as hashes, compared in constant time."""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import secrets
from pathlib import Path

from deepfake_core.errors import UsageError

_LINE = re.compile(r"^(?P<name>[A-Za-z0-9._-]{1,64}) sha256:(?P<digest>[0-9a-f]{64})$")


def add_token(path: Path, name: str) -> str:
    """Make a token and append its hash to a file that only its owner can read.

    A token has 256 random bits, so that a plain hash of it cannot be guessed back.

    Returns:
        The token, which is stored nowhere.

    Raises:
        UsageError: the name is unfit or taken, or the file cannot be written.
    """
    token = secrets.token_urlsafe(32)
    line = f"{name} sha256:{_digest(token)}"
    if not _LINE.match(line):
        raise UsageError(f"a token's name has 1 to 64 letters, digits, '.', '_', '-', not {name!r}")
    if path.exists() and name in read_tokens(path):
        raise UsageError(f"{path} has a token {name} already; remove its line or choose a name")
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        with os.fdopen(descriptor, "w") as stream:
            stream.write(f"{line}\n")
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}") from error
    return token


def read_tokens(path: Path) -> dict[str, str]:
    """The hashes of a file by the names of their tokens.

    Raises:
        UsageError: the file cannot be read, or a line is none of a token.
    """
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} is not a readable file of tokens: {error}") from error
    digests: dict[str, str] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip() or line.startswith("#"):
            continue
        match = _LINE.match(line)
        if match is None:
            raise UsageError(f"{path}, line {number}: expected NAME sha256:DIGEST")
        digests[match["name"]] = match["digest"]
    return digests


def is_known(token: str, digests: dict[str, str]) -> bool:
    """Whether a token's hash is among those known; takes as long for any token."""
    digest = _digest(token)
    return sum(hmac.compare_digest(digest, known) for known in digests.values()) > 0


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest()
