"""One image from a storage: retries, failures as values, outages."""

from __future__ import annotations

import time
from collections.abc import Callable

from deepfake_core.errors import CredentialsRefused, StoreError, StoreGone, reason
from deepfake_core.records import Failure, FailureCode
from deepfake_core.storage.base import Archived, NoFile, Storage, TooLarge

FIRST_PAUSE_SECONDS = 0.1


def read_or_failure(
    storage: Storage, path: str, *, pause: Callable[[float], None] = time.sleep
) -> tuple[bytes | Failure, bool]:
    """Read one image; transient errors are retried with growing pauses.

    Returns:
        The bytes, or the failure and whether it may have been an outage of the store. It is
        one for certain where the code is ``read.not_found`` or ``read.denied``: then the
        whole source is gone, or its credentials are not accepted any more.
    """
    try:
        return _read(storage, path, pause), False
    except TooLarge as error:
        return Failure(FailureCode.DECODE_TOO_LARGE, str(error)), False
    except NoFile as error:
        return Failure(FailureCode.READ_FAILED, reason(error)), False
    except StoreGone as error:
        return Failure(FailureCode.READ_NOT_FOUND, str(error)), True
    except CredentialsRefused as error:
        return Failure(FailureCode.READ_DENIED, str(error)), True
    except FileNotFoundError:
        # A whole source that vanished is an outage, not a thousand missing images.
        gone = storage.is_local and not storage.exists()
        return Failure(FailureCode.READ_NOT_FOUND, "it vanished after it was listed"), gone
    except PermissionError:
        return Failure(FailureCode.READ_DENIED, "no permission to read it"), False
    except Archived:
        return Failure(FailureCode.READ_ARCHIVED, "archived; restore it first"), False
    except OSError as error:
        return Failure(FailureCode.READ_FAILED, reason(error)), True


def _read(storage: Storage, path: str, pause: Callable[[float], None]) -> bytes:
    for attempt in range(storage.attempts - 1):
        try:
            return storage.read(path)
        except (FileNotFoundError, PermissionError, Archived, StoreError, TooLarge, NoFile):
            raise
        except OSError:
            pause(FIRST_PAUSE_SECONDS * 4**attempt)
    return storage.read(path)
