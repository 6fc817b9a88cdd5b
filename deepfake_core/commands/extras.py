"""Libraries that come with an extra: missed before a command works, and in one line."""

from __future__ import annotations

import sys
from importlib.util import find_spec

from deepfake_core.errors import UsageError

# The extra of pyproject.toml with which each library comes.
EXTRAS = {
    "tensorflow": "train",
    "keras": "train",
    "nncf": "train",
    "imagehash": "train",
    "matplotlib": "train",
    "sklearn": "train",
    "scipy": "train",
    "fastapi": "serve",
    "starlette": "serve",
    "uvicorn": "serve",
    "python_multipart": "serve",
    "prometheus_client": "serve",
    "streamlit": "serve",
    "dask": "cluster",
    "distributed": "cluster",
}
CHECKS = ("imagehash", "matplotlib", "scipy", "sklearn")
# What a command cannot end without. Others need a library only with some option.
NEEDS = {
    "app": ("starlette", "streamlit"),
    "dataset": CHECKS,
    "evaluate": ("matplotlib",),
    "retrain": (*CHECKS, "tensorflow", "keras", "nncf"),
    "serve": ("fastapi", "starlette", "uvicorn", "python_multipart", "prometheus_client"),
    "trend": ("matplotlib",),
}
# TensorFlow has no wheels from this version on.
UNTRAINED = (3, 14)


def check_needs(command: str) -> None:
    """Raise UsageError where a library is missing that a command cannot end without."""
    for name in NEEDS.get(command, ()):
        if find_spec(name) is None:
            raise UsageError(words_of(command, name))


def words_of(what: str, library: str) -> str:
    """What is missing, and how to get it."""
    needed = f"{what} needs {library}, which is not installed"
    if library in ("tensorflow", "keras") and sys.version_info >= UNTRAINED:
        return f"{needed} and has no release for this Python: use Python 3.13 to train"
    return (
        f"{needed}; it comes with the extra {EXTRAS[library]}: "
        f"pip install 'deepfake-verification[{EXTRAS[library]}]'"
    )


def missing_extra(command: str, error: ModuleNotFoundError) -> UsageError | None:
    """The same of a library that was missed in the middle of a command; None of any other."""
    name = (error.name or "").partition(".")[0]
    return UsageError(words_of(command, name)) if name in EXTRAS else None
