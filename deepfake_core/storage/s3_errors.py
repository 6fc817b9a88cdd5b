"""What S3 and its client complain of, as the few errors that storages raise.

No message holds what the server said: it may name a key, a path or a signature.
"""

from __future__ import annotations

import errno

from deepfake_core.errors import CredentialsRefused, StoreError, StoreGone
from deepfake_core.storage.base import Archived, Changed

DENIED = {"AccessDenied", "AllAccessDisabled", "AccountProblem", "InvalidPayer", "403"}
MISSING = {"NoSuchKey", "NoSuchVersion", "404"}
CREDENTIALS = {
    "ExpiredToken",
    "ExpiredTokenException",
    "InvalidAccessKeyId",
    "InvalidClientTokenId",
    "InvalidToken",
    "RequestTimeTooSkewed",
    "SignatureDoesNotMatch",
    "TokenRefreshRequired",
    "UnrecognizedClientException",
}
# Another write was faster, or is going on.
CHANGED = {"PreconditionFailed", "412", "ConditionalRequestConflict", "OperationAborted", "409"}
UNKNOWN_CONDITION = {"NotImplemented", "501"}
EMPTY = {"InvalidRange", "416"}
TRANSIENT = {"InternalError", "RequestTimeout", "ServiceUnavailable", "SlowDown", "Throttling"}


class Unconditional(OSError):
    """The store does not know conditional writes."""


class NoRange(StoreError):
    """The object has no such part, as it is empty."""


class Transient(StoreError):
    """It may go well when tried again."""

    def __init__(self, message: str) -> None:
        """Take the message; the number tells an orchestrator that it may pass."""
        super().__init__(errno.EBUSY, message)


def complaints() -> tuple[type[Exception], ...]:
    """All that the client raises; TypeError is what it makes of an error code with parts."""
    import aiohttp
    from botocore.exceptions import (  # type: ignore[import-untyped]
        BotoCoreError,
        ClientError,
    )

    return (OSError, ClientError, BotoCoreError, aiohttp.ClientError, TypeError)


def translate(error: Exception) -> OSError:
    """One of these complaints as an error of a storage."""
    from botocore.exceptions import ClientError

    # s3fs makes OSErrors of answers, and keeps their code only in the cause.
    answer = error.__cause__ if isinstance(error.__cause__, ClientError) else error
    if isinstance(answer, ClientError):
        facts = answer.response
        status = int(facts.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
        return _answered(str(facts.get("Error", {}).get("Code", status)), status)
    return _unanswered(error)


def _answered(code: str, status: int) -> OSError:
    if code == "NoSuchBucket":
        return StoreGone("there is no such bucket")
    if code == "InvalidObjectState":
        return Archived(errno.EACCES, "the object is archived")
    if code in CREDENTIALS:
        return CredentialsRefused(f"the credentials are not accepted ({code}); renew them")
    if code in MISSING:
        return FileNotFoundError(errno.ENOENT, "no such object")
    if code in DENIED:
        return PermissionError(errno.EACCES, "access denied")
    if code in CHANGED:
        return Changed(errno.EBUSY, "it was changed meanwhile")
    if code in UNKNOWN_CONDITION:
        return Unconditional(errno.ENOSYS, "not implemented")
    if code in EMPTY:
        return NoRange("the object has no such part")
    if code in TRANSIENT or status >= 500 or status in (408, 429):
        return Transient(f"the store answers {code}")
    return StoreError(f"the store refuses the request: {code}")


def _unanswered(error: Exception) -> OSError:
    from botocore import exceptions  # type: ignore[import-untyped]

    without_credentials = (
        exceptions.NoCredentialsError,
        exceptions.PartialCredentialsError,
        exceptions.CredentialRetrievalError,
        exceptions.TokenRetrievalError,
        exceptions.SSOError,
        exceptions.ProfileNotFound,
    )
    name = type(error).__name__
    if isinstance(error, without_credentials):
        return CredentialsRefused(
            f"there are no credentials ({name}); set them in the environment, a profile or a role"
        )
    configured = (
        exceptions.ParamValidationError,
        exceptions.NoRegionError,
        exceptions.InvalidRegionError,
        exceptions.ConfigParseError,
    )
    if isinstance(error, configured):
        return StoreError(
            f"the store cannot be asked ({name}); check the bucket's name and the region"
        )
    if isinstance(error, TypeError):
        return Transient("the store's answer cannot be understood")
    return Transient(f"the store does not answer ({name})")
