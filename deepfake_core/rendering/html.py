"""The templates of all reports: one way to load and to write what is in them."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path

import jinja2

from deepfake_core.rendering.evidence import label_words
from deepfake_core.rendering.figure_names import set_name
from deepfake_core.rendering.text import (
    duration,
    expected_text,
    line_text,
    one_line,
    percent,
    score_text,
)

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
        "expected": expected_text,
        "set_name": set_name,
        "label": label_words,
        "line": one_line,
        "percent": percent,
        "score": score_text,
        "seconds": duration,
        "threshold": line_text,
    }
    environment.filters |= filters
    return environment.get_template(name)
