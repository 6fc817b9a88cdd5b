"""Scans and pictures for the review console, each read once."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pyarrow as pa
import streamlit as st

from deepfake_core.images.thumbnails import thumbnail
from deepfake_core.records import Failure
from deepfake_core.results.verdict_row import PictureRow, ShownRow
from deepfake_core.serve.page import scans
from deepfake_core.serve.page.review_pictures import fingerprint, near_identical
from deepfake_core.serve.page.review_queue import Reviewable, reviewable

LARGE, SMALL = 560, 160
# Pictures after the current one among which near-identical ones are looked for.
AHEAD = 40


@st.cache_resource(show_spinner="The scan is being read …", max_entries=4)
def loaded_scan(reports: str, path: str, run_id: str) -> Reviewable:
    """What can be reviewed of a published file; such a file never changes."""
    return reviewable(scans.read_scan(reports, path), run_id)


def shown_picture(row: ShownRow, *, small: bool = False) -> tuple[bytes | None, str]:
    """A picture with its boxes, or why there is none."""
    wanted: ShownRow = {
        "image": row["image"],
        "source": row["source"],
        "sha256": row["sha256"],
        "faces": row["faces"],
    }
    return _picture(json.dumps(wanted), SMALL if small else LARGE)


@st.cache_data(show_spinner=False, max_entries=600)
def _picture(wanted: str, side: int) -> tuple[bytes | None, str]:
    row: ShownRow = json.loads(wanted)
    content = scans.read_image(row)
    if isinstance(content, Failure):
        return None, content.detail or str(content.code)
    return thumbnail(content, side=side, faces=row["faces"] or ()), "it cannot be decoded"


def file_of(row: PictureRow) -> bytes | None:
    """The bytes of a picture as it was judged; None where they cannot be had."""
    content = scans.read_image(row)
    return None if isinstance(content, Failure) else content


def group_of(judged: pa.Table, order: Sequence[int], position: int) -> list[int]:
    """The picture and those of the next ones that are nearly identical to it."""
    start = order.index(position)
    near = order[start : start + AHEAD]
    prints = [_fingerprint(*_place(judged, at)) for at in near]
    groups = near_identical(prints)
    return [near[at] for at in groups[0]]


def _place(judged: pa.Table, position: int) -> tuple[str, str, str]:
    row = [judged[name][position].as_py() for name in ("source", "image", "sha256")]
    return row[0], row[1], row[2]


@st.cache_data(show_spinner=False, max_entries=20_000)
def _fingerprint(source: str, image: str, sha256: str) -> int | None:
    content = scans.read_image({"source": source, "image": image, "sha256": sha256})
    return None if isinstance(content, Failure) else fingerprint(content)
