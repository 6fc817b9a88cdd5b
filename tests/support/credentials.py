"""Pictures with content credentials, signed by certificates made on the spot."""

import datetime as dt
import io
import json
from dataclasses import dataclass
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID, NameOID
from PIL import Image

GENERATED = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
CLAIM = {
    "claim_generator_info": [{"name": "Tester", "version": "1"}],
    "assertions": [
        {
            "label": "c2pa.actions.v2",
            "data": {
                "actions": [
                    {
                        "action": "c2pa.created",
                        "softwareAgent": {"name": "Maker"},
                        "digitalSourceType": GENERATED,
                    }
                ]
            },
        }
    ],
}
DAY = dt.timedelta(days=1)


@dataclass(frozen=True)
class Signer:
    """A certificate with its chain, and its key."""

    root: bytes
    chain: bytes
    key: bytes

    def sign(
        self,
        data: bytes,
        kind: str = "image/jpeg",
        claim: dict[str, Any] = CLAIM,
        *,
        url: str = "",
        edits: bool = False,
    ) -> bytes:
        """A picture with credentials in it.

        Args:
            data: a picture; with `edits` one that has credentials, which then are an earlier step.
            kind: its MIME type.
            claim: what they say.
            url: where they say that they lie, too.
            edits: whether the picture is said to be made from itself.
        """
        # Here, so that the tests beside need nothing of it.
        import c2pa

        info = c2pa.C2paSignerInfo(
            alg=b"es256", sign_cert=self.chain, private_key=self.key, ta_url=None
        )
        settings = {
            "verify": {"verify_after_sign": False, "remote_manifest_fetch": False},
            "builder": {"thumbnail": {"enabled": False}},
        }
        stream = io.BytesIO()
        with (
            c2pa.Signer.from_info(info) as signer,
            c2pa.Builder(json.dumps(claim), c2pa.Context.from_dict(settings)) as builder,
        ):
            if edits:
                builder.set_intent(c2pa.C2paBuilderIntent.EDIT)
            if url:
                builder.set_remote_url(url)
            builder.sign(signer, kind, io.BytesIO(data), stream)
        return stream.getvalue()


def make_signer(name: str = "Test Press", *, days: int = 30, ocsp: str = "") -> Signer:
    """A root and a certificate that it issued to `name`, which runs out after `days`."""
    now = dt.datetime.now(dt.UTC)
    root_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    root_name = _name("Test Root", "Test Root")
    root = (
        _certificate(root_name, root_name, root_key, now + 100 * DAY)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(_usage(certificates=True), critical=True)
        .sign(root_key, hashes.SHA256())
    )
    builder = (
        _certificate(_name(name, "Signer"), root_name, key, now + days * DAY)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(certificates=False), critical=True)
        .add_extension(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), critical=False
        )
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(root_key.public_key()),
            critical=False,
        )
    )
    if ocsp:
        where = x509.AccessDescription(
            AuthorityInformationAccessOID.OCSP, x509.UniformResourceIdentifier(ocsp)
        )
        builder = builder.add_extension(x509.AuthorityInformationAccess([where]), critical=False)
    own = builder.sign(root_key, hashes.SHA256())
    root_pem, own_pem = (one.public_bytes(Encoding.PEM) for one in (root, own))
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return Signer(root_pem, own_pem + root_pem, pem)


def photograph(kind: str = "JPEG", *, seed: int = 0) -> bytes:
    """A small picture that is its own."""
    stream = io.BytesIO()
    Image.linear_gradient("L").rotate(seed).convert("RGB").save(stream, kind)
    return stream.getvalue()


def _certificate(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, until: dt.datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(until - 200 * DAY)
        .not_valid_after(until)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _name(organisation: str, common: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, organisation),
            x509.NameAttribute(NameOID.COMMON_NAME, common),
        ]
    )


def _usage(*, certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=certificates,
        crl_sign=certificates,
        encipher_only=False,
        decipher_only=False,
    )
