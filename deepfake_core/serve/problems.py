"""Refused requests: their codes, their one shape, and what the framework's own errors become."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException

from deepfake_core.inference.judgement import Judgement
from deepfake_core.records import Failure, FailureCode, Reason

PROBLEM = "application/problem+json"


class RequestCode(StrEnum):
    """Why a request was refused; images have the failure codes."""

    MISSING_FIELD = "request.missing_field"
    TOO_LARGE = "request.too_large"
    TOO_MANY = "request.too_many"
    BUSY = "request.busy"
    UNAUTHORISED = "request.unauthorised"
    MALFORMED = "request.malformed"
    TIMEOUT = "request.timeout"
    NOT_FOUND = "request.not_found"
    METHOD = "request.method_not_allowed"
    FAILED = "request.failed"


class ErrorFacts(BaseModel):
    """What went wrong."""

    code: str = Field(
        description="`request.` and why the request was refused, or the failure code of an image "
        "that cannot be judged.",
        examples=["request.missing_field", "decode.corrupt"],
    )
    message: str = Field(description="What was expected, what was found, what to do now.")


class Problem(BaseModel):
    """The shape of every error."""

    model_config = ConfigDict(title="Error")

    error: ErrorFacts = Field(description="The error.")


class Refusal(Exception):
    """A request that is refused; answered in the one shape of errors."""

    def __init__(
        self, status: int, code: str, message: str, headers: Mapping[str, str] | None = None
    ) -> None:
        """Say which status, which code and, in plain words, why."""
        super().__init__(message)
        self.status, self.code, self.message = status, code, message
        self.headers = dict(headers or {})

    def response(self, accept: str = "") -> JSONResponse:
        """The answer, in the shape of RFC 9457 where the request's Accept header names it."""
        headers = {**self.headers, "Vary": "Accept"}
        if accepts_problem(accept):
            standard = {
                "type": "about:blank",
                "title": HTTPStatus(self.status).phrase,
                "status": self.status,
                "detail": self.message,
                "code": str(self.code),
            }
            return JSONResponse(standard, self.status, headers, media_type=PROBLEM)
        facts = ErrorFacts(code=str(self.code), message=self.message)
        content = Problem(error=facts).model_dump()
        return JSONResponse(content, status_code=self.status, headers=headers)


def accepts_problem(accept: str) -> bool:
    """Whether an Accept header asks for problem+json, and not rather for plain JSON.

    Examples:
        >>> accepts_problem("application/problem+json"), accepts_problem("*/*")
        (True, False)
        >>> accepts_problem("application/json, application/problem+json;q=0.5")
        False
    """
    weights = dict(map(_weight, accept.lower().split(",")))
    wanted = weights.get(PROBLEM, 0.0)
    return wanted > 0 and wanted >= weights.get("application/json", 0.0)


def _weight(entry: str) -> tuple[str, float]:
    kind, *parameters = (part.strip() for part in entry.split(";"))
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            try:
                return kind, float(value)
            except ValueError:
                return kind, 0.0
    return kind, 1.0


def busy(why: str) -> Refusal:
    """The service has enough to do; the client may come back."""
    message = f"{why}; try again in a second"
    return Refusal(429, RequestCode.BUSY, message, {"Retry-After": "1"})


def too_large(limit: int) -> Refusal:
    """The body is larger than allowed."""
    message = f"the body has more than the {limit} bytes that are accepted; send less at once"
    return Refusal(413, RequestCode.TOO_LARGE, message)


def missing_field(sent: str, status: int = 422) -> Refusal:
    """There is no file in the field ``img``."""
    message = f"expected multipart/form-data with a file in the field img, found {sent}"
    return Refusal(status, RequestCode.MISSING_FIELD, message)


REFUSED: Mapping[Reason, str] = {
    Reason.NO_FACE: "no face was found in the image; send a picture that shows one",
    Reason.FACE_TOO_SMALL: "the faces in the image are too small to be judged; send a larger one",
    Reason.UNFAMILIAR: "the face is unlike those that the model was made for; it is not judged",
}


def unjudged(judgement: Judgement) -> Refusal:
    """The one image of a request has no score."""
    failure = judgement.failure
    reason = judgement.reason
    if failure is None and reason is not None and reason in REFUSED:
        return Refusal(422, f"image.{reason}", REFUSED[reason])
    failure = failure or Failure(FailureCode.SCORE_NOT_FINITE)
    return Refusal(422, failure.code, failure.detail or "the image cannot be judged")


def install(app: FastAPI) -> None:
    """Answer every error of the application in the one shape."""
    app.add_exception_handler(Refusal, _refused)
    app.add_exception_handler(HTTPException, _found_by_framework)
    app.add_exception_handler(Exception, _failed)


async def _refused(request: Request, error: Exception) -> JSONResponse:
    if not isinstance(error, Refusal):
        raise error
    return error.response(request.headers.get("accept", ""))


async def _found_by_framework(request: Request, error: Exception) -> JSONResponse:
    if not isinstance(error, HTTPException):
        raise error
    code, message = RequestCode.MALFORMED, str(error.detail)
    if error.status_code == 404:
        code, message = RequestCode.NOT_FOUND, "there is nothing here; /openapi.json says what is"
    elif error.status_code == 405:
        allowed = (error.headers or {}).get("Allow", "another method")
        code, message = RequestCode.METHOD, f"expected {allowed}, found {request.method}"
    refusal = Refusal(error.status_code, code, message, error.headers)
    return refusal.response(request.headers.get("accept", ""))


async def _failed(request: Request, error: Exception) -> JSONResponse:  # noqa: ARG001
    message = "the service failed, which is not the request's fault; its log says more"
    refusal = Refusal(500, RequestCode.FAILED, message)
    return refusal.response(request.headers.get("accept", ""))


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The errors of a route for its OpenAPI description."""
    return {status: {"model": Problem, "description": _MEANINGS[status]} for status in statuses}


_MEANINGS = {
    400: "`request.malformed`: the body is not complete multipart/form-data.",
    401: "`request.unauthorised`: the service wants a bearer token that it knows.",
    408: "`request.timeout`: the upload came too slowly.",
    413: "`request.too_large`: the body is too large.",
    415: "`request.missing_field`: the body is not multipart/form-data.",
    422: "`request.missing_field`, `request.too_many` files, or the failure code of the image.",
    429: "`request.busy`: there is enough to do; `Retry-After` says when to come back.",
    503: "`request.busy`: the model is not loaded yet.",
}
