"""A shard that was committed, and what the footer of its part says of how it was judged."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

from deepfake_core.events import Facts
from deepfake_core.models.canaries import CanaryCheck
from deepfake_core.results.layout import part_name, run_file
from deepfake_core.results.store import Results
from deepfake_core.results.verdict_files import read_footer

TIMINGS_KEY, CANARIES_KEY, BRIGHTNESS_KEY = "timings", "canaries", "brightness"
# What two parts of the same rows may differ in.
HOW_JUDGED = (TIMINGS_KEY, CANARIES_KEY, BRIGHTNESS_KEY)


@dataclass(frozen=True, slots=True)
class CommittedShard:
    """A shard whose part was put.

    Attributes:
        shard: its number.
        images: how many it has.
        timings: ``seconds`` by the clock, and seconds of each stage, summed over all threads.
        canaries: how the networks that judged it answered the known pictures.
        brightness: how many of its pictures are how bright.
    """

    shard: int
    images: int
    timings: dict[str, float]
    canaries: CanaryCheck = field(default_factory=CanaryCheck)
    brightness: dict[str, int] = field(default_factory=dict)

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
            BRIGHTNESS_KEY: json.dumps(self.brightness),
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
    # Parts of earlier versions, and those that were mended, do not say all of it.
    timings, canaries, brightness = (
        footer.get(f"deepfake.{name}".encode(), b"{}") for name in HOW_JUDGED
    )
    return CommittedShard(
        index,
        images,
        json.loads(timings),
        CanaryCheck.model_validate_json(canaries),
        json.loads(brightness),
    )
