"""The page ``/docs``: the service's OpenAPI description for people, with nothing from elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from deepfake_core.rendering.html import template
from deepfake_core.serve.uploads import FIELD

OpenApi = dict[str, Any]
PICTURE = "picture.jpg"


def page_of(description: OpenApi, base: str) -> str:
    """The page as HTML, without scripts.

    Args:
        description: the OpenAPI description.
        base: the address of the service, for the examples.
    """
    return template("api.html.j2").render(
        title=description["info"]["title"],
        version=description["info"]["version"],
        about=[text.replace("`", "") for text in description["info"]["description"].split("\n\n")],
        routes=list(_routes(description, base)),
    )


def _routes(description: OpenApi, base: str) -> Iterator[dict[str, object]]:
    for path, methods in description["paths"].items():
        for method, route in methods.items():
            secured = bool(route.get("security"))
            yield {
                "method": method.upper(),
                "path": path,
                "summary": route["summary"],
                "secured": secured,
                "example": _example(base + path, has_body="requestBody" in route, secured=secured),
                "answers": [
                    (status, answer["description"].replace("`", ""))
                    for status, answer in route["responses"].items()
                ],
            }


def _example(url: str, *, has_body: bool, secured: bool) -> str:
    """The request as a line for a shell."""
    token = " -H 'Authorization: Bearer TOKEN'" if secured else ""
    return f"curl{token}{f' -F {FIELD}=@{PICTURE}' if has_body else ''} {url}"
