"""Where the shards of a run are judged: by this process, or wherever else `Shards` can be had."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from deepfake_core.events import Notify
from deepfake_core.inference.canary_watch import CanaryWatch
from deepfake_core.scanning.committed import CommittedShard
from deepfake_core.scanning.credentials import checker_of
from deepfake_core.scanning.plan import Plan
from deepfake_core.scanning.shards import ShardJudge


class Shards(Protocol):
    """The shards of a run, ready to be judged: a `ShardJudge` here, or a cluster's.

    Attributes:
        begun: no shard of a higher number has been begun.
    """

    begun: int

    def commit(self, plan: Plan, index: int) -> CommittedShard:
        """Return when a shard's part is there; see `judge_and_commit`."""
        ...


@dataclass(frozen=True, slots=True)
class Work:
    """What is left of a run.

    Attributes:
        indices: the shards that are not committed, rising; they are asked for in this order.
        in_time: whether another shard may be begun.
        notify: is told ``judged`` as images are.
    """

    indices: list[int]
    in_time: Callable[[], bool]
    notify: Notify


# Makes the shards of a run ready to be judged, and gives up what is needed for it afterwards.
Executor = Callable[[Plan, Work], AbstractContextManager[Shards]]


def in_process(plan: Plan, work: Work) -> AbstractContextManager[Shards]:
    """Shards are judged by this process, one after the other."""
    return open_judge(plan, lambda count: work.notify("judged", {"images": count}))


def open_judge(plan: Plan, on_batch: Callable[[int], None] = lambda count: None) -> ShardJudge:
    """Load the networks, ask them about known pictures, start the threads that judge shards.

    Raises:
        SuspectNetworks: they answer otherwise than they should, and that shall end the run.
    """
    watch = CanaryWatch(plan.networks, checker=checker_of(plan.run))
    watch.begin(stop=plan.config.stop_if_suspect)
    return ShardJudge(
        plan.source,
        watch.classifier,
        batch_size=plan.config.batch_size,
        on_batch=on_batch,
        canaries=watch.known,
    )
