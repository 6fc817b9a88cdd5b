"""Pictures to try the page with: those of the repository, where it is there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import streamlit as st

FOLDER = Path(__file__).resolve().parents[3] / "data" / "samples"
EXAMPLES: Mapping[str, str] = {
    "a photograph": "portrait-astronaut.jpg",
    "a generated face": "render-02.jpg",
    "another generated face": "render-01.jpg",
    "no face": "no-face-cat.webp",
    "half a file": "broken-truncated.jpg",
}


@dataclass(frozen=True, slots=True)
class Example:
    """A picture that is treated as one that was uploaded.

    Attributes:
        name: of the file.
        file_id: by which its verdict is remembered while it is shown.
    """

    name: str
    file_id: str

    def getvalue(self) -> bytes:
        """Its bytes."""
        return (FOLDER / self.name).read_bytes()


def offer() -> list[Example]:
    """Let a person choose an example; none where the pictures were not installed."""
    there = [title for title, name in EXAMPLES.items() if (FOLDER / name).is_file()]
    if not there:
        return []
    chosen = st.pills("Or try an example", there, key="example")
    if chosen is None:
        return []
    name = EXAMPLES[chosen]
    return [Example(name, f"example-{name}")]
