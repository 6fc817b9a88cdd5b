"""Which images of a shard go through the network together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from deepfake_core.results.manifest import Entry

# Bytes of undecoded files that are held at once; one larger file may exceed it alone.
MAX_BYTES_AHEAD = 128 * 2**20


def groups(entries: Sequence[Entry], size: int) -> Iterator[list[Entry]]:
    """Slices of at most `size` entries and about `MAX_BYTES_AHEAD` / 4 bytes."""
    group: list[Entry] = []
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
