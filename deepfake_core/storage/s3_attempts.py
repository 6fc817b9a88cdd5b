"""Calls of S3 that are made again where that may help: one policy, in one place."""

from __future__ import annotations

import random
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from deepfake_core.errors import CredentialsRefused
from deepfake_core.storage.s3_errors import Transient, complaints, translate

# With their pauses of 0.1 s to 6.4 s the attempts bridge about 9 s.
ATTEMPTS = 5
FIRST_PAUSE_SECONDS = 0.1

T = TypeVar("T")


def tried(client: Any, call: Callable[[], Awaitable[T]]) -> T:  # noqa: ANN401 - s3fs has no types
    """Call, and call again with growing pauses where that may help.

    Args:
        client: of s3fs; its loop runs the call.
        call: one request.

    Raises:
        OSError: what the store said, in words that are for logs.
    """
    from fsspec.asyn import sync

    attempt = 0
    while True:
        try:
            answer: T = sync(client.loop, call)
            return answer
        except complaints() as error:
            translated = translate(error)
        attempt += 1
        if isinstance(translated, CredentialsRefused):
            # Whoever continues in this process shall read renewed ones.
            client.clear_instance_cache()
        if attempt == ATTEMPTS or not isinstance(translated, Transient):
            # Not from the client's error, whose words are not for logs.
            raise translated
        pause(4 ** (attempt - 1))


def pause(times: float) -> None:
    """Wait, a little longer or shorter than others that fail at the same moment."""
    time.sleep(FIRST_PAUSE_SECONDS * times * random.SystemRandom().uniform(0.75, 1.25))
