"""What the HTTP service can be told; the descriptions appear in ``--help``."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class ServeConfig(BaseModel):
    """Settings of the service; each limit has a refusal of its own."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    host: str = Field("127.0.0.1", min_length=1, description="Address to listen on.")
    port: int = Field(
        8000,
        ge=0,
        le=65535,
        description="Port to listen on; 0 takes a free one. The variable PORT changes the default.",
    )
    model: str = Field("resnet50", description="Model as NAME or NAME@VERSION.")
    precision: Literal["auto", "fp32", "bf16", "int8"] = Field(
        "auto",
        description="Arithmetic of the network; auto takes the fastest that the model is "
        "qualified for and the processor has.",
    )
    faces: Literal["find", "frame"] | None = Field(
        None,
        description="find: judge the faces in a picture; frame: judge each picture as one face. "
        "By default as the model was made.",
    )
    trust_list: str | None = Field(
        None,
        min_length=1,
        description="File or URL of certificates (PEM) that may sign content credentials, in place "
        "of the list of C2PA that ships.",
    )
    tokens: str | None = Field(
        None, description="File of the hashed tokens of which a request needs one."
    )
    allow_origin: tuple[str, ...] = Field(
        (), description="Web origin whose pages may call the service; may be given repeatedly."
    )
    max_body_bytes: int = Field(32 * 2**20, ge=1024, description="Largest body of a request.")
    max_files: int = Field(32, ge=1, le=1000, description="Most files in a request.")
    max_requests: int = Field(
        256, ge=1, description="Most uploads that are received or judged at once."
    )
    max_waiting: int = Field(256, ge=1, description="Most images that wait for their scores.")
    max_bytes_held: int = Field(
        256 * 2**20, ge=1024, description="Most bytes of uploads that are held in memory at once."
    )
    # Below the 1,024 files that a process may usually have open.
    max_connections: int = Field(800, ge=1, description="Most connections at once.")
    wait_ms: float = Field(
        5, ge=0, le=1000, description="How long an image waits for others, to be judged together."
    )
    grace_seconds: float = Field(
        10, gt=0, description="How long a request may take to send its head, or to go on."
    )
    least_bytes_per_second: int = Field(
        16 * 1024, ge=1, description="Slower uploads are given up once the grace is spent."
    )
    shutdown_seconds: int = Field(
        30, ge=0, description="How long a stop waits for the requests that have begun."
    )
