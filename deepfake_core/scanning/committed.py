"""A shard that was committed, and what the footer of its part says of how it was judged."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

from deepfake_core.events import Facts
from deepfake_core.models.canaries import CanaryCheck
from deepfake_core.results.layout import part_name, run_file
from deepfake_core.results.store import Results
from deepfake_core.results.verdict_files import read_footer

TIMINGS_KEY, CANARIES_KEY = "timings", "canaries"
# What two parts of the same rows may differ in.
HOW_JUDGED = (TIMINGS_KEY, CANARIES_KEY)


@dataclass(frozen=True, slots=True)
class CommittedShard:
    """A shard whose part was put.

    Attributes:
        shard: its number.
        images: how many it has.
        timings: ``seconds`` by the clock, and seconds of each stage, summed over all threads.
        canaries: how the networks that judged it answered the known pictures.
    """

    shard: int
    images: int
    timings: dict[str, float]
    canaries: CanaryCheck = field(default_factory=CanaryCheck)

    def facts(self) -> Facts:
        """The same as facts of an event."""
        return {
            "shard": self.shard,
            "images": self.images,
            "seconds": self.timings["seconds"],
            "timings": self.timings,
        }

    @property
    def footer(self) -> dict[str, str]:
        """What the part's footer says of it."""
        return {
            TIMINGS_KEY: json.dumps(self.timings),
            CANARIES_KEY: self.canaries.model_dump_json(),
        }


def read_committed(results: Results, run_id: str, index: int, *, images: int) -> CommittedShard:
    """A shard that was committed by somebody else, or earlier, from its part's footer.

    Args:
        results: where the part is.
        run_id: the run.
        index: the shard.
        images: how many it has.
    """
    footer = read_footer(results.storage, run_file(run_id, f"parts/{part_name(index)}"))
    return CommittedShard(
        index,
        images,
        json.loads(footer[f"deepfake.{TIMINGS_KEY}".encode()]),
        # Parts of earlier versions say nothing of it.
        CanaryCheck.model_validate_json(footer.get(f"deepfake.{CANARIES_KEY}".encode(), b"{}")),
    )
