"""Ed25519 signatures of an operator's, with the optional package ``cryptography``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from deepfake_core.errors import UsageError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

_ADVICE = "make one with `openssl genpkey -algorithm ed25519 -out FILE`"
_MISSING = (
    "signatures need the package cryptography, which is not installed; install it with "
    "`pip install 'deepfake-verification[signing]'`"
)


class KeySigner:
    """Signs with a private key."""

    def __init__(self, key: Ed25519PrivateKey) -> None:
        """Take the key; it is never stored."""
        self._key = key
        self.public = key.public_key().public_bytes_raw().hex()

    def sign(self, message: bytes) -> dict[str, str]:
        """See `deepfake_core.results.file_hashes.Signer`."""
        return {
            "algorithm": "ed25519",
            "public_key": self.public,
            "signature": self._key.sign(message).hex(),
        }


def open_signer(path: str) -> KeySigner:
    """The signer of a PEM file with an Ed25519 private key, which has no password.

    Raises:
        UsageError: the file holds no such key, or the package for it is not installed.
    """
    try:
        from cryptography.exceptions import UnsupportedAlgorithm
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
        from cryptography.hazmat.primitives.serialization import load_pem_private_key
    except ImportError as error:
        raise UsageError(_MISSING) from error
    try:
        key = load_pem_private_key(Path(path).read_bytes(), password=None)
    except OSError as error:
        raise UsageError(f"the key {path} cannot be read: {error.strerror}; {_ADVICE}") from error
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise UsageError(
            f"{path} is not a private key without a password in PEM; {_ADVICE}"
        ) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise UsageError(f"{path} is a key of another kind than Ed25519; {_ADVICE}")
    return KeySigner(key)


def read_public_key(path: str) -> str:
    """The public key in a PEM file, in hex; of a private key its public one.

    Raises:
        UsageError: the file holds none, or the package for it is not installed.
    """
    try:
        from cryptography.exceptions import UnsupportedAlgorithm
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
        from cryptography.hazmat.primitives.serialization import load_pem_public_key
    except ImportError as error:
        raise UsageError(_MISSING) from error
    try:
        data = Path(path).read_bytes()
        if b"PRIVATE KEY" in data:
            return open_signer(path).public
        key = load_pem_public_key(data)
    except OSError as error:
        raise UsageError(f"the key {path} cannot be read: {error.strerror}") from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise UsageError(f"{path} is not a public key in PEM") from error
    if not isinstance(key, Ed25519PublicKey):
        raise UsageError(f"{path} is a key of another kind than Ed25519")
    return key.public_bytes_raw().hex()


def is_signed(message: bytes, signature: Mapping[str, str]) -> bool:
    """Whether a signature is that of a message, by the public key it names.

    Raises:
        UsageError: the package for it is not installed.
    """
    try:
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    except ImportError as error:
        raise UsageError(_MISSING) from error
    try:
        key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(signature["public_key"]))
        key.verify(bytes.fromhex(signature["signature"]), message)
    except (InvalidSignature, ValueError, KeyError, TypeError):
        return False
    return True
