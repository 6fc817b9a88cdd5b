"""The routes of the HTTP service."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Depends, FastAPI, Request
from fastapi.responses import HTMLResponse, PlainTextResponse, Response
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp

from deepfake_core import __version__
from deepfake_core.serve import problems
from deepfake_core.serve.description import page_of
from deepfake_core.serve.guard import Guard
from deepfake_core.serve.problems import Refusal, RequestCode, busy, documented, unjudged
from deepfake_core.serve.schemas import Health, ModelFacts, Probabilities, Verdict, verdict
from deepfake_core.serve.service import Service
from deepfake_core.serve.uploads import FIELD, read_uploads

ABOUT = """
Says which pictures of faces were generated. A score is a hint for a human look, not a proof.

Nothing that is uploaded is stored or logged. Every error has the shape
`{"error": {"code", "message"}}`; the codes are those of failed verdicts, or `request.` and why
a request was refused. Who accepts `application/problem+json` gets RFC 9457's shape instead, with
the same `code`.
"""
FILE = {"type": "string", "format": "binary", "description": "A picture in any common format."}
BEARER = HTTPBearer(auto_error=False, description="Needed where the service has tokens.")
UPLOAD_ERRORS = documented(400, 401, 408, 413, 415, 422, 429)


def create_app(service: Service) -> ASGIApp:
    """The application; it loads the model when the server starts it."""
    app = FastAPI(
        title="Deepfake verification",
        version=__version__,
        description=ABOUT,
        # The pages of the framework load scripts from other hosts; `_describe` adds another.
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        lifespan=service.lifespan,
    )
    problems.install(app)
    for router in (_state(service), _judging(service)):
        app.include_router(router)
    _describe(app)
    config = service.config
    if config.allow_origin:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=config.allow_origin,
            allow_methods=["GET", "POST"],
            allow_headers=["Authorization"],
        )
    paths = [*app.openapi()["paths"], "/openapi.json", "/docs"]
    return Guard(app, config=config, instruments=service.instruments, paths=paths)


def _describe(app: FastAPI) -> None:
    """Add the description for people."""

    @app.get("/docs", include_in_schema=False)
    async def docs(request: Request) -> HTMLResponse:
        headers = {"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'"}
        page = page_of(app.openapi(), str(request.base_url).rstrip("/"))
        return HTMLResponse(page, headers=headers)


def _authorised(service: Service) -> list[Any]:
    """The dependencies of a route that wants a token, where tokens are known at all."""
    if not service.has_tokens:
        return []

    async def check(
        credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(BEARER)],
    ) -> None:
        service.authorise(credentials.credentials if credentials else None)

    return [Depends(check)]


def _state(service: Service) -> APIRouter:
    """Routes that say how the service is."""
    router = APIRouter(tags=["state"])

    @router.get("/", summary="The service answers")
    async def root() -> Health:
        return Health(status="ok")

    @router.get("/healthz", summary="The process lives")
    async def healthz() -> Health:
        return Health(status="ok")

    @router.get("/readyz", summary="The model can score", responses=documented(503))
    async def readyz() -> Health:
        if not service.is_ready:
            why = busy("the model is being loaded")
            raise Refusal(503, RequestCode.BUSY, why.message, why.headers)
        return Health(status="ok")

    @router.get(
        "/metrics",
        summary="Counters for Prometheus",
        response_class=PlainTextResponse,
        responses=documented(401),
        dependencies=_authorised(service),
    )
    async def metrics() -> Response:
        return PlainTextResponse(service.instruments.render(), media_type="text/plain")

    @router.get(
        "/model",
        summary="The model that judges, its figures and its limits",
        responses=documented(401),
        dependencies=_authorised(service),
    )
    async def model() -> ModelFacts:
        return service.facts

    return router


def _judging(service: Service) -> APIRouter:
    """Routes that judge images."""
    router = APIRouter(tags=["judging"], responses=UPLOAD_ERRORS, dependencies=_authorised(service))

    @router.post(
        "/upload_image",
        summary="The probabilities of one image",
        openapi_extra=_body(FILE),
    )
    async def upload_image(request: Request) -> Probabilities:
        uploads = await read_uploads(request, max_files=service.config.max_files)
        if len(uploads) > 1:
            message = f"expected one file in {FIELD}, found {len(uploads)}; /verdicts takes several"
            raise Refusal(422, RequestCode.TOO_MANY, message)
        (judgement,) = await service.judge(uploads)
        if judgement.score is None:
            raise unjudged(judgement)
        return [judgement.score, 1 - judgement.score]

    @router.post(
        "/verdicts",
        summary="The verdicts on one or more images, in their order",
        openapi_extra=_body(
            {"type": "array", "minItems": 1, "maxItems": service.config.max_files, "items": FILE}
        ),
    )
    async def verdicts(request: Request) -> list[Verdict]:
        started = dt.datetime.now(dt.UTC)
        uploads = await read_uploads(request, max_files=service.config.max_files)
        judgements = await service.judge(uploads)
        return [
            verdict(upload, judgement, model_id=service.model_id, started=started)
            for upload, judgement in zip(uploads, judgements, strict=True)
        ]

    return router


def _body(field: Mapping[str, object]) -> dict[str, object]:
    """The description of a multipart body; the route reads it by itself, within its limits."""
    schema = {"type": "object", "required": [FIELD], "properties": {FIELD: field}}
    content = {"multipart/form-data": {"schema": schema}}
    return {"requestBody": {"required": True, "content": content}}
