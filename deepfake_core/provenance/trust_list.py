"""The certificates that may sign content credentials: the dated list that ships, or a user's."""

from __future__ import annotations

import functools
import hashlib
from dataclasses import dataclass
from pathlib import Path

from deepfake_core.errors import UsageError

FOLDER = Path(__file__).parent / "trust"
DATE = "2026-08-13"
SHIPPED = f"C2PA {DATE}"
# The list of C2PA is 38 kB.
MAX_BYTES = 2 * 2**20


@dataclass(frozen=True, slots=True)
class TrustList:
    """Who may sign.

    Attributes:
        name: the date of the list that ships, or the hash of another; what a run's record says.
        signers: certificates (PEM) of those who may issue certificates that sign claims.
    """

    name: str
    signers: str


@functools.cache
def shipped_list() -> TrustList:
    """The list of C2PA that ships with this version."""
    return TrustList(SHIPPED, (FOLDER / f"signers-{DATE}.pem").read_text("utf-8"))


@functools.cache
def timestamp_issuers() -> str:
    """Certificates (PEM) of those who may say at what time a claim was signed, of the same date."""
    return (FOLDER / f"timestamps-{DATE}.pem").read_text("utf-8")


def parse_trust_list(data: bytes, where: str) -> TrustList:
    """A user's list.

    Args:
        data: certificates, PEM.
        where: they are from, for messages.

    Raises:
        UsageError: there is no certificate in it, or one is damaged.
    """
    from cryptography import x509

    try:
        certificates = x509.load_pem_x509_certificates(data[: MAX_BYTES + 1])
    except ValueError as error:
        raise UsageError(
            f"--trust-list: {where} holds no certificates in PEM form that can be read; give a "
            "file with one or more blocks BEGIN CERTIFICATE"
        ) from error
    if len(data) > MAX_BYTES:
        raise UsageError(f"--trust-list: {where} is larger than {MAX_BYTES:,} bytes")
    # Written anew: whatever lies between the certificates is not handed on.
    from cryptography.hazmat.primitives.serialization import Encoding

    pem = "".join(certificate.public_bytes(Encoding.PEM).decode() for certificate in certificates)
    return TrustList(f"sha256:{hashlib.sha256(pem.encode()).hexdigest()[:16]}", pem)
