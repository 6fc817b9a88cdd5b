"""Which images of a shard go through the network together."""

from __future__ import annotations

from collections.abc import Iterator

from deepfake_core.records import Json

# Bytes of undecoded files that are held at once; one larger file may exceed it alone.
MAX_BYTES_AHEAD = 128 * 2**20

Rows = list[Json]


def groups(entries: Rows, size: int) -> Iterator[Rows]:
    """Slices of at most `size` entries and about `MAX_BYTES_AHEAD` / 4 bytes."""
    group: Rows = []
    group_bytes = 0
    for entry in entries:
        if group and (
            len(group) == size or group_bytes + (entry["bytes"] or 0) > MAX_BYTES_AHEAD // 4
        ):
            yield group
            group, group_bytes = [], 0
        group.append(entry)
        group_bytes += entry["bytes"] or 0
    if group:
        yield group
