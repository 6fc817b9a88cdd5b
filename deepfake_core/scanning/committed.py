"""A shard whose part was put: what its footer says of the time that it took."""

from __future__ import annotations

import json
from dataclasses import dataclass

from deepfake_core.events import Facts
from deepfake_core.results.layout import part_name, run_file
from deepfake_core.results.store import Results
from deepfake_core.results.verdict_files import read_footer

TIMINGS_KEY = "timings"


@dataclass(frozen=True, slots=True)
class CommittedShard:
    """A shard whose part was put.

    Attributes:
        shard: its number.
        images: how many it has.
        timings: ``seconds`` by the clock, and seconds of each stage, summed over all threads.
    """

    shard: int
    images: int
    timings: dict[str, float]

    def facts(self) -> Facts:
        """The same as facts of an event."""
        return {
            "shard": self.shard,
            "images": self.images,
            "seconds": self.timings["seconds"],
            "timings": self.timings,
        }


def part_timings(results: Results, run_id: str, index: int) -> dict[str, float]:
    """Where the time of a committed shard went, from its part's footer."""
    footer = read_footer(results.storage, run_file(run_id, f"parts/{part_name(index)}"))
    timings: dict[str, float] = json.loads(footer[f"deepfake.{TIMINGS_KEY}".encode()])
    return timings
