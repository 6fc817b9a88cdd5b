"""What the service answers with, field by field."""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from deepfake_core.inference.columns import judged_columns
from deepfake_core.inference.judgement import Judgement
from deepfake_core.inference.opening import Networks
from deepfake_core.models.bundle import CARD_FILE, Precision, Preprocessing
from deepfake_core.models.decision import Calibration, Thresholds
from deepfake_core.records import FailureCode, Json, Label, Reason
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


class FaceFacts(BaseModel):
    """A face that was considered."""

    x: float = Field(description="Left edge of its box, in pixels after EXIF orientation.")
    y: float = Field(description="Top edge.")
    width: float = Field(description="Of the box.")
    height: float = Field(description="Of the box.")
    size: float = Field(description="Side of the aligned crop in pixels of the picture.")
    roll: float = Field(description="Degrees by which it is turned.")
    found: Probability = Field(description="The finder's confidence.")
    logit: float | None = Field(description="Raw output of the first look.")
    second_logit: float | None = Field(description="Raw output of the second look.")
    score: Probability | None = Field(description="Calibrated probability of fake.")
    label: Label = Field(description="The decision on this face.")


class ClaimFacts(BaseModel):
    """What a file says of where it comes from."""

    kind: str = Field(description="`c2pa`, `iptc`, `generator` or `camera`.")
    value: str = Field(description="What it says.")
    verified: bool | None = Field(
        description="True where a signature holds and its signer is on the trust list, false "
        "where it is broken or another file's; null if unknown."
    )


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
    reason: Reason | None = Field(description="Why it is not applicable, or made uncertain.")
    faces: list[FaceFacts] | None = Field(
        description="Every face considered, the one that decided first; null for whole pictures."
    )
    faces_found: int | None = Field(description="How many faces there were.")
    second_model_id: str | None = Field(description="The second look, where it was taken.")
    score_low: Probability | None = Field(description="Least score under cheap re-encodings.")
    score_high: Probability | None = Field(description="Largest score under cheap re-encodings.")
    provenance: list[ClaimFacts] | None = Field(description="What the file says of itself.")
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
    faces: Literal["find", "frame"] = Field(description="Whether faces or pictures are judged.")
    finder_id: str | None = Field(description="The face finder; null where pictures are judged.")
    second_model_id: str | None = Field(description="The second look; null where there is none.")
    preprocessing: Preprocessing = Field(description="How images become its input.")
    calibration: Calibration = Field(description="From logit to score.")
    thresholds: Thresholds = Field(description="From score to label.")
    figures: Json = Field(
        description="What was measured, by data set; of both looks together where there are two."
    )
    trained_on: str = Field(description="The images it was trained on, and their terms.")
    limits: tuple[str, ...] = Field(description="What it must not be used for.")
    card: str | None = Field(description="The model card in Markdown; null where it has none.")
    request_limits: Limits = Field(description="Bounds of a request here.")


def verdict(
    upload: Upload, judgement: Judgement, *, model_id: str, started: dt.datetime
) -> Verdict:
    """The verdict on one file of a request that came at `started`."""
    columns = {name: values[0] for name, values in judged_columns([judgement]).items()}
    return Verdict(
        **columns | {"sha256": judgement.sha256 or ""},
        image=upload.name,
        source=SOURCE,
        etag=None,
        bytes=len(upload.content),
        model_id=model_id,
        run_id=None,
        run_started=started,
    )


def model_facts(networks: Networks, config: ServeConfig) -> ModelFacts:
    """The facts of the networks as they run here."""
    from deepfake_core.images.decoding import MAX_PIXELS

    bundle, described, told = networks.bundle, networks.bundle.description, networks.told
    has_card = CARD_FILE in described.files
    return ModelFacts(
        model_id=bundle.model_id,
        precision=networks.precision,
        faces=networks.faces,
        finder_id=networks.finder.model_id if networks.finder else None,
        preprocessing=described.preprocessing,
        calibration=networks.curve.calibration,
        thresholds=networks.thresholds,
        second_model_id=networks.second.look.model_id if networks.second else None,
        figures=dict(told.figures),
        trained_on=told.trained_on,
        limits=told.limits,
        card=bundle.verified(CARD_FILE).read_text("utf-8") if has_card else None,
        request_limits=Limits(
            max_body_bytes=config.max_body_bytes,
            max_files=config.max_files,
            max_pixels=MAX_PIXELS,
        ),
    )
