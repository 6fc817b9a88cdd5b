"""What a scan can be told; the descriptions appear in ``--help`` and in the Prefect form."""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    field_validator,
)

from deepfake_core.results.run_ids import RUN_ID_PATTERN, no_folder_above
from deepfake_core.scanning.globs import alternatives


def _several(globs: object) -> object:
    # One glob, or null for none, is what older configurations hold.
    if globs is None:
        return ()
    return (globs,) if isinstance(globs, str) else globs


def _countable(glob: str) -> str:
    alternatives(glob)
    return glob


Glob = Annotated[str, StringConstraints(min_length=1), AfterValidator(_countable)]
Globs = Annotated[
    tuple[Glob, ...],
    BeforeValidator(_several, json_schema_input_type=tuple[Glob, ...] | str | None),
]


class ScanConfig(BaseModel):
    """Settings of one scan."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    source: str = Field(
        min_length=1,
        description="Folder of images, or one image: a local path or a URL such as "
        "s3://bucket/prefix.",
    )
    output: str = Field(
        "reports", min_length=1, description="Folder for verdicts and reports, local or a URL."
    )
    model: str = Field("resnet50", description="Model as NAME or NAME@VERSION.")
    run_id: str | None = Field(
        None,
        pattern=RUN_ID_PATTERN,
        description="Name of the run; an unfinished run of that name is continued.",
    )
    full: bool = Field(False, description="Judge all images again, known ones too.")
    precision: Literal["auto", "fp32", "bf16", "int8"] = Field(
        "auto",
        description="Arithmetic of the network; auto takes the fastest that the model is "
        "qualified for and the processor has.",
    )
    faces: Literal["find", "frame"] | None = Field(
        None,
        description="find: judge the faces in a picture; frame: judge each picture as one face, "
        "for folders of ready-made crops. By default as the model was made.",
    )
    second_look: Literal["auto", "off", "all"] = Field(
        "auto",
        description="Which faces are given a second, slower and more exact look: auto, those that "
        "the first one cannot clear; all; off, none.",
    )
    policy: str | None = Field(
        None,
        min_length=1,
        description="File or URL of a policy: the line of fake that was derived from photographs "
        "of your own, by deepfake calibrate.",
    )
    trust_list: str | None = Field(
        None,
        min_length=1,
        description="File or URL of certificates (PEM) that may sign content credentials, in place "
        "of the list of C2PA that ships.",
    )
    stability: bool = Field(
        True,
        description="Judge what is flagged or uncertain again after cheap re-encodings; a flag "
        "that does not survive them is uncertain.",
    )
    stop_if_suspect: bool = Field(
        False,
        description="End the run where the networks answer known pictures otherwise than when they "
        "were released; without it such a run is marked as suspect.",
    )
    engine: Literal["openvino", "keras"] = Field(
        "openvino", description="What runs the network: openvino on processors, keras on GPUs."
    )
    include: Globs = Field(
        (),
        description="Only images whose path matches this glob, such as *.{jpg,png}; "
        "may be repeated.",
    )
    exclude: Globs = Field(
        (), description="No images whose path matches this glob; may be repeated."
    )
    since: dt.datetime | None = Field(
        None,
        description="Only images modified since this date, such as 2026-11-24 (UTC); on the "
        "command line also yesterday or 7 days ago.",
    )
    limit: int | None = Field(None, ge=1, description="At most this many images are judged.")
    max_minutes: float | None = Field(
        None, gt=0, description="Start no further shard after this many minutes."
    )
    shard_size: int = Field(4096, ge=1, description="Images that are committed together.")
    batch_size: int = Field(
        16, ge=1, le=1024, description="Images that go through the network together."
    )
    sign_with: str | None = Field(
        None,
        min_length=1,
        exclude=True,
        description="File with an Ed25519 private key (PEM) that signs the run's list of files.",
    )
    prior: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="Share of fakes among your pictures, if you know it, such as 0.01; the report "
        "then says how many flags are photographs.",
    )
    tag_objects: bool = Field(
        False,
        description="Say on each judged object of a bucket what was found, by its tag "
        "deepfake-scan: flagged, none-found, uncertain, not-applicable or failed.",
    )
    thumbnails: bool = Field(True, description="Whether the report shows small pictures.")

    @field_validator("since", mode="before")
    @classmethod
    def _a_date(cls, since: object) -> object:
        # A number would be taken as seconds since 1970, and 20261124 is a day in August of 1970.
        if isinstance(since, int | float) or (
            isinstance(since, str) and since.strip().lstrip("+-").replace(".", "").isdecimal()
        ):
            raise ValueError("expected a date such as 2026-11-24, or 2026-11-24T06:00+02:00")
        return since

    _folder = field_validator("run_id")(no_folder_above)
