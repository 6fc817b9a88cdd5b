"""What a file claims of its origin, as a column of the verdict table.

A claim is never part of a score. Anybody can write, copy or remove one; what a row holds is what
the file says, and whether its content credentials were found to hold or to be broken.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from deepfake_core.provenance.blocks import Blocks, read_blocks
from deepfake_core.provenance.c2pa import read_credentials
from deepfake_core.provenance.c2pa_binding import is_bound
from deepfake_core.provenance.c2pa_signature import (
    UNKNOWN,
    Signature,
    SignatureChecker,
    Standing,
)
from deepfake_core.provenance.exif import clean, read_exif
from deepfake_core.provenance.generators import AI_SOURCES, NAMED, Finding
from deepfake_core.provenance.origin import find

# Rows stay small, whatever a file says.
MAX_CLAIMS, MAX_VALUE_CHARACTERS, MAX_SIGNER_CHARACTERS = 12, 120, 40
# Precede the value of credentials whose hash is not that of the file, or that are damaged or whose
# signature does not hold.
FOREIGN, BROKEN = "broken, not this file's: ", "broken, no valid signature: "
PREFIXES = {Standing.UNBOUND: FOREIGN, Standing.BROKEN: BROKEN}
# Follow the value of credentials whose signature holds.
INTACT, SIGNED_BY = "; intact, signer not verified", "; signed by "
# What is said of content credentials, by what is known of them.
WORDS = {
    Standing.UNBOUND: "Broken: they are not this file's. It was changed after they were signed, or "
    "they were copied from another file.",
    Standing.BROKEN: "Broken: they have no valid signature, so anybody may have written them.",
    Standing.VERIFIED: "Their signature holds, for this very file; signed by {signer}, whose "
    "certificate leads to the trust list.",
    Standing.INTACT: "Their signature holds, for this very file; who signed is not verified.",
}
NOT_CHECKED = "Their signature was not checked."


@dataclass(frozen=True, slots=True)
class Claim:
    """One claim of a file.

    Attributes:
        kind: ``c2pa``, ``iptc``, ``generator`` or ``camera``.
        value: what is claimed, in short.
        verified: True where a signature holds and its signer is on the trust list; False where it
            was shown to be broken; None where neither is known.
    """

    kind: str
    value: str
    verified: bool | None = None

    @property
    def says_generated(self) -> bool:
        """Whether it says that a generator made the picture, or a part of it."""
        if self.kind == "generator":
            return True
        source = self.value.removeprefix(FOREIGN).removeprefix(BROKEN).partition(":")[0]
        return self.kind in ("c2pa", "iptc") and source in (*AI_SOURCES, NAMED)


def read_claims(data: bytes, checker: SignatureChecker | None = None) -> tuple[Claim, ...]:
    """Read the claims of a file; any bytes are allowed, nothing raises, no pixel is decoded.

    Args:
        data: the bytes of a file.
        checker: checks the signature of content credentials; without one none is checked.

    Returns:
        At most 12, those that say *generated* first.
    """
    blocks = read_blocks(data)
    signature = _signature(data, blocks, checker)
    claims = [
        _claim(finding, signature)
        for finding in find(blocks, read_exif(blocks.exif))
        if finding.kind
    ]
    ordered = sorted(dict.fromkeys(claims), key=lambda claim: not claim.says_generated)
    return tuple(ordered[:MAX_CLAIMS])


def _claim(finding: Finding, signature: Signature) -> Claim:
    """A finding as a claim, with what is known of the credentials that it is from."""
    before, after, verified = "", "", None
    if finding.kind == "c2pa":
        before = PREFIXES.get(signature.standing, "")
        verified = False if before else None
    # What holds for the newest credentials says nothing of those of an earlier step.
    if finding.active and signature.standing is Standing.INTACT:
        after = INTACT
    if finding.active and signature.standing is Standing.VERIFIED:
        after, verified = SIGNED_BY + clean(signature.issuer or "")[:MAX_SIGNER_CHARACTERS], True
    room = MAX_VALUE_CHARACTERS - len(before) - len(after)
    # What stands behind a semicolon is said here, and never by the file.
    said = finding.value.replace(";", ",")
    return Claim(finding.kind, before + said[:room] + after, verified)


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


def standing(claim: Claim) -> Standing:
    """What is known of the content credentials that a claim is from."""
    if claim.verified:
        return Standing.VERIFIED
    if claim.verified is False:
        return Standing.UNBOUND if claim.value.startswith(FOREIGN) else Standing.BROKEN
    return Standing.INTACT if claim.value.endswith(INTACT) else Standing.UNCHECKED


def standing_words(claims: Iterable[Claim]) -> list[str]:
    """What is known of a file's newest content credentials, for people; empty without any."""
    of_c2pa = [claim for claim in claims if claim.kind == "c2pa"]
    if not of_c2pa:
        return []
    by_standing = {standing(claim): claim for claim in of_c2pa}
    for kind_of_standing, words in WORDS.items():
        if kind_of_standing in by_standing:
            _, _, signer = by_standing[kind_of_standing].value.rpartition(SIGNED_BY)
            return [words.format(signer=signer)]
    return [NOT_CHECKED]


def _signature(data: bytes, blocks: Blocks, checker: SignatureChecker | None) -> Signature:
    """What is known of the newest content credentials; unchecked where there are none."""
    if not blocks.store:
        return UNKNOWN
    manifests = read_credentials(blocks.store)
    active = manifests[-1] if manifests else None
    binding = active.binding if active else None
    # Costs less than the signature, and is stricter in what may be left out of the hash.
    if binding and is_bound(data, binding, store_bytes=len(blocks.store)) is False:
        return Signature(Standing.UNBOUND)
    return checker.check(data, active) if checker else UNKNOWN
