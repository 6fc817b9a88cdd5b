"""Pictures that somebody gave to the page, with all that is known of them."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

from deepfake_core.images.thumbnails import thumbnail
from deepfake_core.inference.classifier import Classifier
from deepfake_core.inference.judgement import Judgement
from deepfake_core.provenance.claims import standing_words
from deepfake_core.provenance.origin import Origin, read_origin
from deepfake_core.records import FailureCode, Label
from deepfake_core.results.verdict_row import VerdictRow
from deepfake_core.serve.schemas import verdict
from deepfake_core.serve.uploads import NAMELESS, Upload

SHOWN_PIXELS = 480


@dataclass(frozen=True, slots=True)
class JudgedPicture:
    """One picture with its verdict.

    Attributes:
        name: of the file, as its owner called it; for the screen only.
        verdict: the columns of a verdict row, without the file's name.
        origin: what the file says of itself; None where it cannot be judged.
        credentials: what is known of its content credentials, in sentences; empty without any.
        picture: a small JPEG to show, with a box around each face; None likewise.
    """

    name: str
    verdict: VerdictRow
    origin: Origin | None
    picture: bytes | None
    credentials: tuple[str, ...] = ()

    @property
    def label(self) -> Label | None:
        """The label; None where the picture could not be judged."""
        return Label(self.verdict["label"]) if self.verdict["label"] else None

    @property
    def failure(self) -> FailureCode | None:
        """Why there is no label."""
        return FailureCode(self.verdict["failure"]) if self.verdict["failure"] else None


def judge_files(classifier: Classifier, files: Sequence[tuple[str, bytes]]) -> list[JudgedPicture]:
    """Judge files, given as name and content; one result each, in order."""
    judgements = classifier.judge([content for _, content in files]).judgements
    model_id = classifier.bundle.model_id
    return [
        _judged_picture(name, content, judgement, _verdict(content, judgement, model_id))
        for (name, content), judgement in zip(files, judgements, strict=True)
    ]


def _judged_picture(
    name: str, content: bytes, judgement: Judgement, row: VerdictRow
) -> JudgedPicture:
    faces, failed = row["faces"] or (), judgement.failure is not None
    return JudgedPicture(
        name=name,
        verdict=row,
        origin=None if failed else read_origin(content),
        picture=None if failed else thumbnail(content, side=SHOWN_PIXELS, faces=faces),
        credentials=tuple(standing_words(judgement.provenance)),
    )


def _verdict(content: bytes, judgement: Judgement, model_id: str) -> VerdictRow:
    """As the HTTP service gives it; a file's name is nobody's business later on."""
    now = dt.datetime.now(dt.UTC)
    upload = Upload(NAMELESS, content)
    row = verdict(upload, judgement, model_id=model_id, started=now)
    return cast(VerdictRow, row.model_dump(mode="json"))
