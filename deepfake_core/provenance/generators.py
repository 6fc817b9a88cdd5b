"""Names of image generators, as metadata spells them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from deepfake_core.provenance.c2pa import Credential
from deepfake_core.provenance.exif import clean

# IPTC's digital source types by what they mean here.
AI_SOURCES = frozenset({"trainedAlgorithmicMedia", "compositeWithTrainedAlgorithmicMedia"})
# What regular expressions are let loose on; they take a third of a second for a megabyte.
MAX_XMP_BYTES = 256 * 1024
# Begins the claim of content credentials that name a generator and no source type.
NAMED = "namesGenerator"
CAMERA_SOURCES = frozenset({"digitalCapture", "computationalCapture"})
# Text chunks that only one program writes, by their key.
CHUNK_WRITERS: Mapping[str, str] = {
    "Dream": "InvokeAI",
    "sd-metadata": "InvokeAI",
    "invokeai_metadata": "InvokeAI",
    "invokeai_graph": "InvokeAI",
    "fooocus_scheme": "Fooocus",
    "sui_image_params": "SwarmUI",
}
# The settings that AUTOMATIC1111's web interface and its relatives write.
_SETTINGS = re.compile(r"\bSteps: \d{1,6}, ")
_NODES = '"class_type"'
_NAMES = re.compile(
    r"stable[ _-]?diffusion|automatic1111|comfyui|invokeai|novelai|midjourney|dall[-·• ]?e\b|"
    r"chatgpt|gpt-4o|gpt-image|openai|adobe[ _]firefly|made with google ai|google gemini|"
    r"bing image creator|leonardo\.ai|ideogram|dreamstudio|runwayml|fooocus|draw ?things|"
    r"stylegan\d?|this ?person ?does ?not ?exist|generated\.photos",
    re.IGNORECASE,
)
_XMP = r"""\b%s\s*(?:=\s*["']([^"'<]{1,300})|>\s*(?:<[^>]{1,80}>\s*){0,3}([^<]{1,300}))"""
_XMP_KIND = re.compile(_XMP % "DigitalSourceType")
_XMP_NAMES = tuple(re.compile(_XMP % key) for key in ("CreatorTool", "Credit", "AISystemUsed"))


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that metadata says.

    Attributes:
        line: what was found and where, for people.
        generator: the generator that it names; empty where it names none.
        kind: ``c2pa``, ``iptc``, ``generator`` or ``camera``; empty where it claims no origin.
        value: the claim in short, for tables; empty likewise.
        active: whether it is of the credentials that describe this very file.
    """

    line: str
    generator: str = ""
    kind: str = ""
    value: str = ""
    active: bool = False


def in_credentials(manifests: Sequence[Credential]) -> Iterator[Finding]:
    """What content credentials say, the last step first."""
    for manifest in reversed(manifests):
        kinds = set(manifest.source_types)
        when = "" if manifest.active else " of an earlier step"
        tool = clean(manifest.tool) or "a program that gives no name"
        where = f"content credentials (C2PA){when}, written by {tool}"
        agents = ", ".join(clean(agent) for agent in manifest.agents[:4])
        by = f", made with {agents}" if agents else ""
        made = sorted(kinds & AI_SOURCES)
        known = _NAMES.search(f"{manifest.tool} {agents}".replace("_", " "))
        if made:
            name = agents or clean(manifest.tool) or "a generator that is not named"
            line = f"{where}{by}, say {made[0]}: made by a generator"
            yield Finding(line, name, "c2pa", f"{made[0]}: {name}", manifest.active)
        elif known:
            name = clean(known[0])
            yield Finding(f"{where}{by}", name, "c2pa", f"{NAMED}: {name}", manifest.active)
        elif kinds & CAMERA_SOURCES:
            kind = min(kinds & CAMERA_SOURCES)
            line = f"{where}{by}, say {kind}: made by a camera"
            yield Finding(line, "", "c2pa", f"{kind}: {agents or tool}", manifest.active)
        else:
            line = f"{where}{by}; they name no generator"
            yield Finding(line, "", "c2pa", f"other: {tool}", manifest.active)


def in_texts(texts: Mapping[str, str]) -> Iterator[Finding]:
    """What PNG text chunks and comments say; prompts are not repeated."""
    if _NODES in texts.get("prompt", "") or "workflow" in texts:
        yield _by("ComfyUI", "text chunk “workflow” or “prompt”, as ComfyUI writes it")
    for key, text in texts.items():
        if key in CHUNK_WRITERS:
            writer = CHUNK_WRITERS[key]
            yield _by(writer, f"text chunk “{key}”, as {writer} writes it")
        elif settings := in_settings(f"text chunk “{clean(key)}”", text):
            yield settings
        elif key not in ("prompt", "workflow"):
            yield from named(f"text chunk “{clean(key)}”", text)


def in_settings(where: str, text: str) -> Finding | None:
    """The settings of a Stable Diffusion run; which of several programs wrote them is unknown."""
    if not _SETTINGS.search(text):
        return None
    line = f"{where}: settings as web interfaces of Stable Diffusion write them"
    return _by("Stable Diffusion", line)


def named(where: str, text: str) -> Iterator[Finding]:
    """A generator's name in a short text; a long one only mentions it."""
    match = _NAMES.search(text) if len(text) <= 300 else None
    if match:
        yield _by(clean(match[0]), f"{where} names {clean(match[0])}")


def _by(generator: str, line: str) -> Finding:
    return Finding(line, generator, "generator", generator)


def in_xmp(packet: bytes) -> Iterator[Finding]:
    """What an XMP packet says; read without an XML parser, which hostile files could keep busy."""
    text = packet[:MAX_XMP_BYTES].decode("utf-8", "replace")
    tools = [(match[1] or match[2]).strip() for key in _XMP_NAMES for match in key.finditer(text)]
    findings = [finding for tool in tools for finding in named("XMP", tool)]
    for match in _XMP_KIND.finditer(text):
        kind = (match[1] or match[2]).strip().rstrip("/").rpartition("/")[2]
        if kind in AI_SOURCES:
            name = findings[0].generator if findings else "a generator that is not named"
            yield Finding(f"XMP says {kind}: made by a generator", name, "iptc", kind)
        elif kind in CAMERA_SOURCES:
            yield Finding(f"XMP says {kind}: made by a camera", "", "iptc", kind)
    yield from findings
