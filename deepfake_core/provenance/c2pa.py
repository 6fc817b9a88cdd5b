"""Content credentials (C2PA): what the manifests inside an image say of how it was made.

Only what is written is read here, which anyone may have written. Whether a manifest belongs to the
file is another matter, see `deepfake_core.provenance.c2pa_binding`, and so is whether its signature
holds, see `deepfake_core.provenance.c2pa_signature`.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

MAX_DEPTH = 16
MAX_BOXES = 2_000
# A byte may become an empty dictionary: so many of them are 19 MB.
MAX_CBOR_BYTES = 256 * 1024
CLAIMS = ("c2pa.claim", "c2pa.claim.v2")
ACTIONS = ("c2pa.actions", "c2pa.actions.v2")
BINDING = "c2pa.hash.data"
# The tags that the decoder would make objects of.
TAGS = (0, 1, 2, 3, 4, 5, 25, 28, 29, 30, 35, 36, 37, 100, 256, 258, 260, 261, 1004, 43000, 55799)
PASSED_OVER = dict.fromkeys(TAGS, lambda value, _: value)


@dataclass(slots=True)
class Credential:
    """One step in the making of an image.

    Attributes:
        label: the manifest's name.
        active: whether it is the last one, which describes this very file.
        tool: the program that wrote the claim; empty where it does not say.
        agents: programs that did something to the image.
        source_types: the last part of each IPTC digital source type, such as
            ``trainedAlgorithmicMedia`` or ``digitalCapture``.
        binding: the assertion that holds the hash of the file; None where there is none.
    """

    label: str
    active: bool = False
    tool: str = ""
    agents: list[str] = field(default_factory=list)
    source_types: list[str] = field(default_factory=list)
    binding: Mapping[Any, Any] | None = None


@dataclass(frozen=True, slots=True)
class _Content:
    """A CBOR box, with the labels of the boxes around it, outermost first."""

    labels: tuple[str, ...]
    data: bytes


def read_credentials(store: bytes) -> list[Credential]:
    """The manifests of a JUMBF store, oldest first; what is damaged is left out, nothing raises."""
    manifests: dict[str, Credential] = {}
    for content in _contents(store):
        if len(content.labels) < 3:
            continue
        manifest = manifests.setdefault(content.labels[1], Credential(content.labels[1]))
        name = content.labels[-1].partition("__")[0]
        if name not in (*CLAIMS, *ACTIONS, BINDING):
            continue
        value = decode_cbor(content.data)
        if not isinstance(value, dict):
            continue
        if name in CLAIMS:
            manifest.tool = _tool(value)
        elif name == BINDING:
            manifest.binding = value
        else:
            _add_actions(manifest, value)
    credentials = list(manifests.values())
    if credentials:
        credentials[-1].active = True
    return credentials


def read_steps(
    label: str, claim: Mapping[Any, Any], actions: Iterable[Mapping[Any, Any]]
) -> Credential:
    """A credential from a claim and its actions that were decoded elsewhere."""
    credential = Credential(label, active=True, tool=_tool(claim))
    for assertion in actions:
        _add_actions(credential, assertion)
    return credential


def _tool(claim: Mapping[Any, Any]) -> str:
    info = claim.get("claim_generator_info")
    first = info[0] if isinstance(info, list) and info else info
    if isinstance(first, dict) and isinstance(first.get("name"), str):
        return str(first["name"])
    text = claim.get("claim_generator")
    # Such as "Adobe_Firefly adobe_c2pa/0.12.4": a product, then the libraries that it uses.
    return text.split(" ")[0].replace("_", " ") if isinstance(text, str) else ""


def _add_actions(manifest: Credential, assertion: Mapping[Any, Any]) -> None:
    actions = assertion.get("actions")
    for action in actions if isinstance(actions, list) else ():
        if not isinstance(action, dict):
            continue
        agent, kind = action.get("softwareAgent"), action.get("digitalSourceType")
        name = agent.get("name") if isinstance(agent, dict) else agent
        if isinstance(name, str) and name not in manifest.agents:
            manifest.agents.append(name)
        if isinstance(kind, str):
            manifest.source_types.append(kind.rstrip("/").rpartition("/")[2])


def _contents(store: bytes) -> Iterator[_Content]:
    """The CBOR boxes of a store; a stack instead of recursion, with an end to the work."""
    stack: list[tuple[int, int, tuple[str, ...]]] = [(0, len(store), ())]
    for _ in range(MAX_BOXES):
        if not stack:
            return
        start, end, labels = stack.pop()
        kind, body, next_box = _box(store, start, end)
        if next_box < end:
            stack.append((next_box, end, labels))
        if kind == b"jumb" and len(labels) < MAX_DEPTH:
            inner, label_start, content_start = _box(store, body, next_box)
            if inner == b"jumd":
                label = _label(store[label_start:content_start])
                stack.append((content_start, next_box, (*labels, label)))
        elif kind == b"cbor":
            yield _Content(labels, store[body:next_box])


def _box(store: bytes, start: int, end: int) -> tuple[bytes, int, int]:
    """A box's kind, where its body starts and where it ends; damaged ones reach to `end`."""
    size, body = int.from_bytes(store[start : start + 4], "big"), start + 8
    if size == 1:
        size, body = int.from_bytes(store[start + 8 : start + 16], "big"), start + 16
    whole = body <= start + size <= end
    return store[start + 4 : start + 8], body, start + size if whole else end


def _label(description: bytes) -> str:
    """The label in a description box: sixteen bytes of kind, one of flags, then a text."""
    return description[17:].partition(b"\0")[0].decode("utf-8", "replace")


def decode_cbor(data: bytes) -> Any:  # noqa: ANN401 - CBOR holds anything
    """The value that CBOR bytes begin with; None where they are damaged, too deep or too long.

    Tags are passed over: of what they may make, such as regular expressions and references that
    lead back to themselves, nothing is wanted here. Keys must be texts, as no hash of a text can
    be forged.
    """
    from cbor2 import CBORDecodeError, CBORDecoder

    if len(data) > MAX_CBOR_BYTES:
        return None
    decoder = CBORDecoder(
        io.BytesIO(data),
        tag_hook=lambda tag, _: tag.value,
        semantic_decoders=PASSED_OVER,
        str_errors="replace",
        max_depth=MAX_DEPTH,
        strict_hashable_types=True,
    )
    try:
        return decoder.decode()
    except CBORDecodeError:
        return None
