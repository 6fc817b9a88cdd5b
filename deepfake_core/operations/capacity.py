"""What a large scan takes: machines, hours, cost, and what breaks first.

A run on a cluster has one process that lists, plans, sends shards and publishes (the coordinator),
and machines that judge. Everything is computed from figures whose origin is kept with them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from deepfake_core.operations.capacity_figures import Figure

HOUR = 3600.0
PAGE, GB, GIB = 1000, 1e9, 2**30


@dataclass(frozen=True, slots=True)
class Phase:
    """A part of a run.

    Attributes:
        name: what happens.
        seconds: how long it takes.
        limit: what sets its pace.
        machines: how many are paid for meanwhile, the coordinator's included.
    """

    name: str
    seconds: float
    limit: str
    machines: int


@dataclass(frozen=True, slots=True)
class Break:
    """Something that does not grow with the number of machines.

    Attributes:
        what: what breaks, and what helps.
        images: from how many images on, in one run.
    """

    what: str
    images: float


@dataclass(frozen=True, slots=True)
class Capacity:
    """What a run takes.

    Attributes:
        images: how many are judged.
        machines: that judge them.
        phases: in their order.
        rates: images per second that each limit of judging allows, the lowest first.
        dollars: by what is paid for.
        breaks: what breaks first comes first.
        memory_bytes: what the coordinator needs.
        useful_machines: more of them wait for something that is not theirs.
    """

    images: int
    machines: int
    phases: tuple[Phase, ...]
    rates: dict[str, float]
    dollars: dict[str, float]
    breaks: tuple[Break, ...]
    memory_bytes: float
    useful_machines: int

    @property
    def hours(self) -> float:
        """From the start of listing to the report."""
        return sum(phase.seconds for phase in self.phases) / HOUR


def simulate(images: int, machines: int, figures: Mapping[str, Figure]) -> Capacity:
    """A first run over images that nobody has judged.

    Args:
        images: listed and judged.
        machines: that judge; the coordinator comes on top.
        figures: as `deepfake_core.operations.capacity_figures.read_figures` gives them.
    """
    of = {name: figure.value for name, figure in figures.items()}
    rates = judging_rates(machines, of)
    limit, rate = next(iter(rates.items()))
    shards = math.ceil(images / of["shard_size"])
    # Machines end their last shards together only if each has as many.
    rounds = math.ceil(shards / machines)
    judging = max(rounds * of["shard_size"] * machines, images) / rate + of["start_s"]
    if shards < machines:
        limit = f"one shard per machine, {machines - shards} machines idle"
    pages = math.ceil(images / PAGE)
    phases = (
        Phase("list", pages * of["page_s"], "one page after the other", 1),
        Phase("plan", images * of["plan_us"] / 1e6, "one process", 1),
        Phase("judge", judging, limit, machines + 1),
        Phase("publish and report", images * of["finish_us"] / 1e6, "one process", 1),
    )
    used = sum(phase.seconds * phase.machines for phase in phases) / HOUR
    dollars = {
        "machines": used * of["machine_dollars_per_hour"],
        "GET requests": images * of["get_dollars_per_1000"] / 1000,
        "LIST and PUT requests": (pages + shards) * of["put_dollars_per_1000"] / 1000,
    }
    return Capacity(
        images=images,
        machines=machines,
        phases=phases,
        rates=rates,
        dollars=dollars,
        breaks=tuple(_breaks(of)),
        memory_bytes=images * of["coordinator_bytes"],
        useful_machines=useful_machines(of),
    )


def judging_rates(machines: int, of: Mapping[str, float]) -> dict[str, float]:
    """Images per second that each limit allows, the lowest first."""
    kept = of["from_store_share"] * of["cluster_share"]
    per_image = of["image_kb"] * 1000
    rates = {
        "processors": machines * of["machine_cores"] * of["images_per_s_per_core"] * kept,
        "network of the machines": machines * of["machine_gbit_per_s"] * GB / 8 / per_image,
        "GET requests per prefix": of["prefixes"] * of["gets_per_s_per_prefix"],
        "scheduler": of["shard_size"] * 1000 / of["send_ms"],
    }
    return dict(sorted(rates.items(), key=lambda rate: rate[1]))


def machines_for(images: int, hours: float, figures: Mapping[str, Figure]) -> int | None:
    """The fewest machines that do it within some hours; None where no number of them can."""
    of = {name: figure.value for name, figure in figures.items()}
    most = useful_machines(of)
    if simulate(images, most, figures).hours > hours:
        return None
    few, enough = 0, most
    while enough - few > 1:
        middle = (few + enough) // 2
        if simulate(images, middle, figures).hours <= hours:
            enough = middle
        else:
            few = middle
    return enough


def useful_machines(of: Mapping[str, float]) -> int:
    """How many machines it takes until a limit that is not theirs sets the pace."""
    alone = judging_rates(1, of)
    own = min(alone["processors"], alone["network of the machines"])
    return math.ceil(min(alone["GET requests per prefix"], alone["scheduler"]) / own)


def _breaks(of: Mapping[str, float]) -> list[Break]:
    allowed = of["sequential_hours"] * HOUR
    breaks = [
        Break(
            f"the coordinator's memory ({of['machine_gib']:.0f} GiB): take a larger machine for "
            "it, or scan prefixes as runs of their own",
            of["machine_gib"] * GIB / of["coordinator_bytes"],
        ),
        Break(
            f"listing takes more than {of['sequential_hours']:g} h: scan prefixes as runs of their "
            "own, at once",
            allowed / of["page_s"] * PAGE,
        ),
        Break(
            f"planning and publishing take more than {of['sequential_hours']:g} h: likewise",
            allowed / ((of["plan_us"] + of["finish_us"]) / 1e6),
        ),
        Break(
            f"a published file is larger than {of['largest_object_gb']:g} GB, the most that a "
            "store takes: scan prefixes as runs of their own",
            of["largest_object_gb"] * GB / of["row_bytes"],
        ),
    ]
    return sorted(breaks, key=lambda point: point.images)
