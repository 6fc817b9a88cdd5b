"""Files of a multipart request, in memory only."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from email.message import Message

from fastapi import Request
from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from deepfake_core.serve.problems import Refusal, RequestCode, missing_field, too_large

FIELD = "img"
MAX_NAME_CHARACTERS = 200
MAX_FIELDS = 16
MAX_FIELD_BYTES = 64 * 1024
NAMELESS = "upload"
# Control characters, unpaired surrogates, and marks that reverse the direction of writing.
_INVISIBLE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)


class InMemoryParser(MultiPartParser):
    """Never writes a file to a temporary folder; the body is limited before it comes here."""

    spool_max_size = 0
    _has_ended = False

    async def parse(self) -> FormData:
        """See `MultiPartParser`; a body without its closing boundary is refused as well."""
        async with aclosing(self.stream) as stream:
            self.stream = self._to_the_end(stream)
            return await super().parse()

    def on_end(self) -> None:
        """Note the closing boundary, without which the last file may be missing or cut."""
        self._has_ended = True

    async def _to_the_end(self, stream: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
        async for chunk in stream:
            yield chunk
        if not self._has_ended:
            raise MultiPartException("The closing boundary is missing.")


@dataclass(frozen=True, slots=True)
class Upload:
    """A file of a request.

    Attributes:
        name: the client's name of it, made safe; never a path.
        content: its bytes.
    """

    name: str
    content: bytes


async def read_uploads(request: Request, *, max_files: int) -> list[Upload]:
    """The files in the field ``img``, in their order.

    Raises:
        Refusal: there is none, there are too many, or the body is broken.
    """
    kind = media_type(request.headers.get("content-type", ""))
    if kind != "multipart/form-data":
        raise missing_field(kind or "no content type", 415 if kind else 422)
    parser = InMemoryParser(
        request.headers,
        request.stream(),
        max_files=max_files,
        max_fields=MAX_FIELDS,
        max_part_size=MAX_FIELD_BYTES,
    )
    try:
        form = await parser.parse()
    except MultiPartException as error:
        raise _refusal(error.message) from error
    except (ValueError, LookupError) as error:
        # Of the headers: a charset that decodes nothing, or a name that none can decode.
        raise _refusal(f"Its headers are broken ({type(error).__name__}).") from error
    try:
        files = [part for part in form.getlist(FIELD) if isinstance(part, UploadFile)]
        uploads = [Upload(safe_name(part.filename), await part.read()) for part in files]
        # What browsers send where no file was chosen.
        chosen = [
            upload
            for upload, file in zip(uploads, files, strict=True)
            if upload.content or file.filename
        ]
        if not chosen:
            raise missing_field(_instead(list(form)))
        return chosen
    finally:
        await form.close()


def media_type(header: str) -> str:
    """The type that a Content-Type header names, in small letters; empty where it names none."""
    if not header:
        return ""
    message = Message()
    message["content-type"] = header.replace("\r", " ").replace("\n", " ")
    return message.get_content_type()


def safe_name(name: str | None) -> str:
    """The last part of a file name without invisible characters; never empty, never a path."""
    last = re.split(r"[/\\]", name or "")[-1]
    visible = _INVISIBLE.sub("\N{REPLACEMENT CHARACTER}", last).strip()[:MAX_NAME_CHARACTERS]
    return NAMELESS if visible in ("", ".", "..") else visible


def _instead(names: list[str]) -> str:
    if FIELD in names:
        return f"no file in {FIELD}, but an empty or a text field"
    return "only fields of other names" if names else "no field"


def _refusal(message: str) -> Refusal:
    """What the parser found, told apart by its messages, the only difference it makes."""
    if message.startswith("Too many"):
        return Refusal(422, RequestCode.TOO_MANY, f"{message} Send several requests.")
    if message.startswith("Part exceeded"):
        return too_large(MAX_FIELD_BYTES)
    advice = "send complete multipart/form-data with a file in the field img"
    return Refusal(400, RequestCode.MALFORMED, f"the body cannot be read: {message} {advice}")
