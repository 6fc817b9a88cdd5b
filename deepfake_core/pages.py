"""The templates of all reports: one way to load and to write what is in them."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path

import jinja2

from deepfake_core import summary as words

FOLDER = Path(__file__).parent / "templates"


@functools.cache
def template(name: str) -> jinja2.Template:
    """A template of ``templates/``: names of files and the like are escaped, gaps are errors."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    filters: dict[str, Callable[..., str]] = {
        "auc": "{:.3f}".format,
        "count": "{:,}".format,
        "expected": words.expected_text,
        "line": words.one_line,
        "percent": words.percent,
        "score": words.score_text,
        "seconds": duration,
    }
    environment.filters |= filters
    return environment.get_template(name)


def duration(seconds: float) -> str:
    """Seconds for people."""
    if seconds < 100:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"
