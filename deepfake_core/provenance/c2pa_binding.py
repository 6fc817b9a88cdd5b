"""Whether content credentials belong to the file that carries them: the hash of its bytes.

Needs no certificate and no network, and says one thing only: a mismatch shows that the file was
changed after signing, or that the manifest was copied from another file. That it matches does not
show who signed; the signature itself is not checked here.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterable, Mapping
from typing import Any

ALGORITHMS = frozenset({"sha256", "sha384", "sha512"})
MAX_EXCLUSIONS = 64
# A manifest may leave out itself and the heads of the segments that it lies in, nothing more.
SLACK_BYTES = 4096


def is_bound(data: bytes, assertion: Mapping[Any, Any], *, store_bytes: int) -> bool | None:
    """Hold a ``c2pa.hash.data`` assertion against the file that carries it.

    Args:
        data: the bytes of the file.
        assertion: the decoded assertion: ``hash``, ``alg`` and the ranges that it leaves out.
        store_bytes: the size of the manifest store; a hash that leaves out much more than that
            leaves out the picture.

    Returns:
        Whether the hash is that of the file; None where the assertion cannot be understood.
    """
    name, expected = assertion.get("alg", "sha256"), assertion.get("hash")
    spans = _spans(assertion.get("exclusions") or (), len(data))
    if name not in ALGORITHMS or not isinstance(expected, bytes) or spans is None:
        return None
    if sum(end - start for start, end in spans) > store_bytes * 1.05 + SLACK_BYTES:
        return False
    digest, at = hashlib.new(name), 0
    view = memoryview(data)
    for start, end in spans:
        digest.update(view[at:start])
        at = end
    digest.update(view[at:])
    return digest.digest() == expected


def _spans(exclusions: object, size: int) -> list[tuple[int, int]] | None:
    """The ranges that are left out, in order; None where they make no sense."""
    if not isinstance(exclusions, Iterable):
        return None
    spans: list[tuple[int, int]] = []
    for exclusion in exclusions:
        if len(spans) == MAX_EXCLUSIONS or not isinstance(exclusion, Mapping):
            return None
        start, length = exclusion.get("start"), exclusion.get("length")
        if not isinstance(start, int) or not isinstance(length, int) or min(start, length) < 0:
            return None
        spans.append((start, min(size, start + length)))
    spans.sort()
    if any(after[0] < before[1] for before, after in itertools.pairwise(spans)):
        return None
    return spans
