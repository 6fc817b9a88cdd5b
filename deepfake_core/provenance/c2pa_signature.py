"""Whether the signature of content credentials holds, and whether its signer is on a list.

Needs the optional c2pa-python, which runs in a process of its own, see
`deepfake_core.provenance.c2pa_checker`. Nothing is looked up in a network: revocation is not
checked, and a manifest that lies elsewhere is not fetched.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from enum import StrEnum

from deepfake_core.children import ChildEnded, Children
from deepfake_core.images.formats import AVIF_BRANDS, heif_brands, is_heif
from deepfake_core.provenance.c2pa import Credential
from deepfake_core.provenance.c2pa_findings import Findings
from deepfake_core.provenance.trust_list import TrustList, timestamp_issuers

MISSING = (
    "checking signatures of content credentials needs the package c2pa-python, which is not "
    "installed; install it with `pip install 'deepfake-verification[c2pa]'`"
)
DEADLINE_SECONDS = 5.0
# Larger files are not checked; the largest pictures that are decoded are smaller.
MAX_BYTES = 128 * 2**20
SIGNED, KNOWN = "claimSignature.validated", "signingCredential.trusted"
# What only says that the signer is not known, or not any more.
OF_SIGNER = frozenset({"signingCredential.untrusted", "signingCredential.expired"})
# What the library cannot check, which shows nothing of the file.
NOT_CHECKED = frozenset({"algorithm.unsupported", "signingCredential.ocsp.inaccessible"})
BOUND = frozenset(
    {"assertion.dataHash.match", "assertion.boxesHash.match", "assertion.bmffHash.match"}
)
UNBOUND = frozenset(
    {"assertion.dataHash.mismatch", "assertion.boxesHash.mismatch", "assertion.bmffHash.mismatch"}
)
# Errors of the library that say that the credentials are damaged; others say that they are of a
# kind that it does not know.
DAMAGED = frozenset({"Assertion", "AssertionNotFound", "Decoding", "Signature", "Verify"})

checkers = Children("deepfake_core.provenance.c2pa_checker")


class Standing(StrEnum):
    """What a check of content credentials came to."""

    VERIFIED = "verified"
    INTACT = "intact"
    UNBOUND = "unbound"
    BROKEN = "broken"
    UNCHECKED = "unchecked"


@dataclass(frozen=True, slots=True)
class Signature:
    """What was found of a signature.

    Attributes:
        standing: ``verified``: it holds, the file is the one that was signed, and the signer's
            certificate leads to the trust list; ``intact``: the first two; ``unbound``: it is
            another file's; ``broken``: it does not hold; ``unchecked``: none of these is known.
        issuer: the signer's name in its certificate; only where it is verified.
    """

    standing: Standing
    issuer: str | None = None


UNKNOWN = Signature(Standing.UNCHECKED)
HOLDS = (Standing.VERIFIED, Standing.INTACT)


def can_check() -> bool:
    """Whether the optional library is installed."""
    return importlib.util.find_spec("c2pa") is not None


@dataclass(frozen=True, slots=True)
class SignatureChecker:
    """Checks signatures by a trust list; several threads may use it at once."""

    trust: TrustList

    def check(self, data: bytes, active: Credential | None) -> Signature:
        """Check the newest content credentials of a file; never raises on bad bytes.

        Args:
            data: the bytes of a file that has some.
            active: what our own reader found them to say; what is called verified or intact is
                what the library has read too.
        """
        kind = _format(data)
        if kind is None or len(data) > MAX_BYTES:
            return UNKNOWN
        told = {
            "format": kind,
            "signers": self.trust.signers,
            "timestamps": timestamp_issuers(),
        }
        try:
            answer, _ = checkers.ask(told, data, seconds=DEADLINE_SECONDS)
        except (TimeoutError, ChildEnded):
            return UNKNOWN
        findings = Findings.model_validate(answer)
        signature = judge(findings)
        if signature.standing in HOLDS and not _agrees(findings, active):
            return UNKNOWN
        return signature


def judge(findings: Findings) -> Signature:
    """What the library's findings come to."""
    if findings.error is not None:
        return Signature(Standing.BROKEN) if findings.error in DAMAGED else UNKNOWN
    # The codes of CAWG are about an identity beside the credentials.
    failure = {code for code in findings.failure if not code.startswith("cawg.")}
    if failure & UNBOUND:
        return Signature(Standing.UNBOUND)
    if failure - OF_SIGNER - NOT_CHECKED:
        return Signature(Standing.BROKEN)
    if failure & NOT_CHECKED or not (findings.success & BOUND and SIGNED in findings.success):
        return UNKNOWN
    if findings.state == "Trusted" and KNOWN in findings.success and not failure:
        return Signature(Standing.VERIFIED, findings.issuer or "a signer without a name")
    return Signature(Standing.INTACT)


def _agrees(findings: Findings, active: Credential | None) -> bool:
    """Whether the library has read what we have: two readers of one file may be told two tales."""
    return active is not None and (
        (active.label, active.tool, tuple(active.agents), tuple(active.source_types))
        == (findings.label, findings.tool, findings.agents, findings.source_types)
    )


def _format(data: bytes) -> str | None:
    if data.startswith(b"\xff\xd8"):
        return "image/jpeg"
    if data.startswith(b"\x89PNG"):
        return "image/png"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "image/webp"
    if is_heif(data):
        return "image/avif" if heif_brands(data) & AVIF_BRANDS else "image/heic"
    return None
