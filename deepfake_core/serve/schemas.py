"""What the service answers with, field by field."""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from deepfake_core.inference.judgement import Judgement
from deepfake_core.models.bundle import CARD_FILE, Bundle, Precision, Preprocessing
from deepfake_core.models.decision import Calibration, Thresholds
from deepfake_core.records import FailureCode, Json, Label
from deepfake_core.serve.config import ServeConfig
from deepfake_core.serve.uploads import Upload

SOURCE = "upload"
Probability = Annotated[float, Field(ge=0, le=1)]
Probabilities = Annotated[
    list[Probability],
    Field(
        min_length=2,
        max_length=2,
        description="`[p_fake, p_real]`; they sum to 1, and `[1, 0]` is certainly fake.",
    ),
]


class Health(BaseModel):
    """That the service answers."""

    status: Literal["ok"] = Field("ok", description="Always `ok`.")


class Verdict(BaseModel):
    """What is said of one image: the columns of the verdict table of scans."""

    image: str = Field(description="The client's name of the file, made safe; never a path.")
    source: Literal["upload"] = Field(description="Where the image came from.")
    etag: None = Field(description="Null: uploads have none.")
    sha256: str = Field(description="Hex digest of the bytes judged.")
    bytes: int = Field(ge=0, description="Size of the file.")
    status: Literal["ok", "failed"] = Field(description="Whether the image could be judged.")
    failure: FailureCode | None = Field(description="Why it could not; null where it could.")
    detail: str | None = Field(max_length=200, description="More about the failure, for people.")
    format: str | None = Field(description="`JPEG`, `PNG`, ... from the content, not the name.")
    width: int | None = Field(description="Pixels after EXIF orientation.")
    height: int | None = Field(description="Pixels after EXIF orientation.")
    logit: float | None = Field(description="Raw output; positive means fake.")
    score: Probability | None = Field(description="Calibrated probability of fake.")
    label: Label | None = Field(description="The decision; null where there is none.")
    model_id: str = Field(description="`name@version+hash8` of the model.")
    run_id: None = Field(description="Null: no run of a scan.")
    run_started: dt.datetime = Field(description="When the request came, UTC.")


class Limits(BaseModel):
    """What a request may have at most."""

    max_body_bytes: int = Field(description="Bytes of a body.")
    max_files: int = Field(description="Files in a request.")
    max_pixels: int = Field(description="Pixels of an image; larger ones are not decoded.")


class ModelFacts(BaseModel):
    """What is known of the model that judges."""

    model_config = ConfigDict(protected_namespaces=())

    model_id: str = Field(description="`name@version+hash8`.")
    precision: Precision = Field(description="Arithmetic that it runs in here.")
    preprocessing: Preprocessing = Field(description="How images become its input.")
    calibration: Calibration = Field(description="From logit to score.")
    thresholds: Thresholds = Field(description="From score to label.")
    figures: Json = Field(description="What was measured, by data set.")
    trained_on: str = Field(description="The images it was trained on, and their terms.")
    limits: tuple[str, ...] = Field(description="What it must not be used for.")
    card: str | None = Field(description="The model card in Markdown; null where it has none.")
    request_limits: Limits = Field(description="Bounds of a request here.")


def verdict(
    upload: Upload, judgement: Judgement, *, model_id: str, started: dt.datetime
) -> Verdict:
    """The verdict on one file of a request that came at `started`."""
    failure = judgement.failure
    return Verdict(
        image=upload.name,
        source=SOURCE,
        etag=None,
        sha256=judgement.sha256 or "",
        bytes=len(upload.content),
        status="failed" if failure else "ok",
        failure=failure.code if failure else None,
        detail=(failure.detail or None) if failure else None,
        format=judgement.format,
        width=judgement.width,
        height=judgement.height,
        logit=judgement.logit,
        score=judgement.score,
        label=judgement.label,
        model_id=model_id,
        run_id=None,
        run_started=started,
    )


def model_facts(bundle: Bundle, precision: Precision, config: ServeConfig) -> ModelFacts:
    """The facts of a bundle as it runs here."""
    from deepfake_core.images.decoding import MAX_PIXELS

    described = bundle.description
    has_card = CARD_FILE in described.files
    return ModelFacts(
        model_id=bundle.model_id,
        precision=precision,
        preprocessing=described.preprocessing,
        calibration=described.calibration,
        thresholds=described.thresholds,
        figures=described.figures,
        trained_on=described.trained_on,
        limits=described.limits,
        card=bundle.verified(CARD_FILE).read_text("utf-8") if has_card else None,
        request_limits=Limits(
            max_body_bytes=config.max_body_bytes,
            max_files=config.max_files,
            max_pixels=MAX_PIXELS,
        ),
    )
