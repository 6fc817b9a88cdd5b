"""What a file claims of its origin, as a column of the verdict table.

A claim is never part of a score. Anybody can write, copy or remove one; what a row holds is what
the file says, and whether a part of it was found to be broken.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from deepfake_core.provenance.blocks import Blocks, read_blocks
from deepfake_core.provenance.c2pa import read_credentials
from deepfake_core.provenance.c2pa_binding import is_bound
from deepfake_core.provenance.exif import read_exif
from deepfake_core.provenance.generators import AI_SOURCES, NAMED
from deepfake_core.provenance.origin import find

# Rows stay small, whatever a file says.
MAX_CLAIMS, MAX_VALUE_CHARACTERS = 12, 120
# Precedes the value of credentials whose hash is not that of the file.
BROKEN = "broken, not this file's: "


@dataclass(frozen=True, slots=True)
class Claim:
    """One claim of a file.

    Attributes:
        kind: ``c2pa``, ``iptc``, ``generator`` or ``camera``.
        value: what is claimed, in short.
        verified: False where it was shown to be broken; None where nothing can be verified.
    """

    kind: str
    value: str
    verified: bool | None = None

    @property
    def says_generated(self) -> bool:
        """Whether it says that a generator made the picture, or a part of it."""
        if self.kind == "generator":
            return True
        source = self.value.removeprefix(BROKEN).partition(":")[0]
        return self.kind in ("c2pa", "iptc") and source in (*AI_SOURCES, NAMED)


def read_claims(data: bytes) -> tuple[Claim, ...]:
    """Read the claims of a file; any bytes are allowed, nothing raises, no pixel is decoded.

    Returns:
        At most 12, those that say *generated* first.
    """
    blocks = read_blocks(data)
    bound = _bound(data, blocks)
    claims = []
    for finding in find(blocks, read_exif(blocks.exif)):
        broken = finding.kind == "c2pa" and bound is False
        value = (BROKEN if broken else "") + finding.value
        if finding.kind:
            verified = False if broken else None
            claims.append(Claim(finding.kind, value[:MAX_VALUE_CHARACTERS], verified))
    ordered = sorted(dict.fromkeys(claims), key=lambda claim: not claim.says_generated)
    return tuple(ordered[:MAX_CLAIMS])


def declared_generators(claims: Iterable[Claim]) -> list[str]:
    """What the claims that say *generated* name, for people; empty where none says so."""
    return [claim.value for claim in claims if claim.says_generated]


def as_rows(claims: Sequence[Claim]) -> list[dict[str, object]] | None:
    """The claims as the column `provenance` holds them; None where there are none."""
    return [
        {"kind": claim.kind, "value": claim.value, "verified": claim.verified} for claim in claims
    ] or None


def from_rows(rows: Iterable[dict[str, object]] | None) -> tuple[Claim, ...]:
    """Claims from the column of a table."""
    return tuple(
        Claim(
            str(row["kind"]),
            str(row["value"]),
            row["verified"] if row["verified"] is None else bool(row["verified"]),
        )
        for row in rows or ()
    )


def _bound(data: bytes, blocks: Blocks) -> bool | None:
    """Whether the newest content credentials are those of the file; None where they do not say."""
    if not blocks.store:
        return None
    manifests = read_credentials(blocks.store)
    binding = manifests[-1].binding if manifests else None
    if binding is None:
        return None
    return is_bound(data, binding, store_bytes=len(blocks.store))
