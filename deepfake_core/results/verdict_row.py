"""A row of the verdict table as plain values; `deepfake_core.results.schema` says what it means."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, TypedDict

if TYPE_CHECKING:
    from typing_extensions import ReadOnly


class FaceRow(TypedDict):
    """A face that was considered: box and sizes in pixels after EXIF orientation."""

    x: float
    y: float
    width: float
    height: float
    size: float
    roll: float
    found: float
    logit: float | None
    second_logit: float | None
    score: float | None
    label: str


class ClaimRow(TypedDict):
    """What a file says of itself, and whether a signature holds."""

    kind: str
    value: str
    verified: bool | None


class PictureRow(TypedDict):
    """Which picture a row is of, and where it lies."""

    image: str
    source: str
    sha256: ReadOnly[str | None]


class ShownRow(PictureRow):
    """A picture with the faces that were found in it."""

    faces: list[FaceRow] | None


class VerdictRow(ShownRow):
    """All columns of a verdict; of one outside a scan ``run_started`` is text, ISO 8601."""

    etag: str | None
    bytes: int | None
    status: str
    failure: str | None
    detail: str | None
    format: ReadOnly[str | None]
    width: ReadOnly[int | None]
    height: ReadOnly[int | None]
    logit: float | None
    score: ReadOnly[float | None]
    label: ReadOnly[str | None]
    reason: str | None
    faces_found: int | None
    second_model_id: str | None
    score_low: float | None
    score_high: float | None
    provenance: list[ClaimRow] | None
    model_id: str
    run_id: str | None
    run_started: dt.datetime | str


class DecidedRow(VerdictRow):
    """A row whose label a score led to: it was read, decoded and judged."""

    sha256: str
    score: float
    label: str
    format: str
    width: int
    height: int
