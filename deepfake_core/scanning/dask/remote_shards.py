"""Shards on their way to the workers of a Dask cluster, which commit their parts themselves."""

# Dask's own functions have no types yet.
# mypy: allow-untyped-calls

from __future__ import annotations

import heapq
import secrets
import time
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING

from deepfake_core.errors import ClusterError, ClusterLost
from deepfake_core.results.manifest import path_of
from deepfake_core.scanning.committed import CommittedShard
from deepfake_core.scanning.dask.worker import Session, judge_parcel, parcel_of, versions
from deepfake_core.scanning.executor import Work
from deepfake_core.scanning.plan import Plan
from deepfake_core.scanning.shards import shard_of

if TYPE_CHECKING:
    from distributed import Client, Future

# So long a run waits for a first worker, or for another one when all are lost.
WORKERLESS_SECONDS = 60
# Shards that are sent at once, per worker: one that it judges and one that waits for it.
SENT_PER_WORKER = 2
SECONDS_BETWEEN_LOOKS = 1.0
ANSWER_SECONDS = 60
# Rows whose file is looked for by the workers.
SEEN = 3


def session_of(plan: Plan, sharers: int) -> Session:
    """What all shards that are sent for a run have in common."""
    seen: list[str] = []
    if plan.source.is_local:
        paths = (path_of(row) for row in plan.in_turn.slice(0, SEEN).to_pylist())
        seen = [path for path in paths if plan.source.exists(path)]
    return Session(
        token=secrets.token_hex(8),
        run=plan.run.row_facts,
        source=plan.source.address(""),
        output=plan.results.storage.address(""),
        seen=tuple(seen),
        registry=str(plan.bundle.folder.parent.parent.resolve()),
        digest=plan.bundle.digest,
        batch_size=plan.config.batch_size,
        versions=versions(),
        sharers=sharers,
        stop_if_suspect=plan.config.stop_if_suspect,
    )


class ClusterShards:
    """Shards on their way to workers and back; see `deepfake_core.scanning.executor.Shards`.

    Attributes:
        begun: no shard of a higher number has been sent.
    """

    def __init__(self, client: Client, session: Session, work: Work) -> None:
        """Take a session's client and what is to do; nothing is sent yet."""
        self.begun = -1
        self._client, self._session, self._work = client, session, work
        self._left = sorted(work.indices)
        self._sent: dict[int, Future[CommittedShard]] = {}
        self._done: dict[int, CommittedShard] = {}
        self._workers, self._looked = 1, 0.0
        self._last_seen = time.monotonic()

    def commit(self, plan: Plan, index: int) -> CommittedShard:
        """See `Shards.commit`; meanwhile the workers are kept supplied with further shards.

        Raises:
            ClusterError: a worker is not fit for it.
            ClusterLost: the scheduler or all workers are gone, or a shard ends each of them.
            SourceOutage: the source stopped answering.
        """
        from concurrent.futures import CancelledError

        from distributed import KilledWorker
        from distributed.comm.core import CommClosedError

        try:
            while index not in self._done:
                self._supply(plan, index)
                self._wait()
        except KilledWorker as error:
            raise ClusterLost(
                f"a shard was lost with its worker {error.allowed_failures + 1} times, such as "
                f"for want of memory; {self._advice}"
            ) from error
        except (CancelledError, CommClosedError, TimeoutError) as error:
            raise ClusterLost(f"the scheduler stopped answering; {self._advice}") from error
        except ImportError as error:
            raise ClusterError(
                f"a worker has no deepfake-verification {self._session.versions['deepfake']} "
                f"({error}); install it on all machines, from the same requirements.lock"
            ) from error
        return self._done.pop(index)

    def cancel(self) -> None:
        """Give up what is outstanding; what a worker has begun it still commits."""
        if self._sent and self._client.status == "running":
            with suppress(OSError, TimeoutError):
                self._client.cancel(list(self._sent.values()))
        self._sent.clear()

    def _supply(self, plan: Plan, wanted: int) -> None:
        """Send the shard that is waited for, and more as long as there is time."""
        self._look_for_workers()
        while self._left and len(self._sent) < SENT_PER_WORKER * max(self._workers, 1):
            index = self._left[0]
            if index > wanted and not self._work.in_time():
                return
            heapq.heappop(self._left)
            self._sent[index] = self._client.submit(
                judge_parcel,
                self._session,
                parcel_of(shard_of(plan, index)),
                key=f"shard-{index}-of-{self._session.token}-{secrets.token_hex(4)}",
                pure=False,
            )
            self.begun = max(self.begun, index)

    def _look_for_workers(self) -> None:
        now = time.monotonic()
        if now - self._looked < SECONDS_BETWEEN_LOOKS:
            return
        try:
            self._workers, self._looked = len(self._client.nthreads()), now
        except OSError as error:
            raise ClusterLost(f"the scheduler stopped answering; {self._advice}") from error
        if self._workers:
            self._last_seen = now
        elif now - self._last_seen > WORKERLESS_SECONDS:
            raise ClusterLost(f"all workers are gone for {WORKERLESS_SECONDS} s; {self._advice}")

    def _wait(self) -> None:
        """Wait until a shard is committed, or for a moment."""
        from distributed import wait

        with suppress(TimeoutError), self._client.as_current():
            wait(
                list(self._sent.values()),
                timeout=SECONDS_BETWEEN_LOOKS,
                return_when="FIRST_COMPLETED",
            )
        for index, future in list(self._sent.items()):
            if not future.done():
                continue
            del self._sent[index]
            with ExitStack() as unless_answered:
                # Whoever asks for it again has it sent again.
                unless_answered.callback(heapq.heappush, self._left, index)
                committed = self._done[index] = future.result(timeout=ANSWER_SECONDS)
                unless_answered.pop_all()
            self._work.notify("judged", {"images": committed.images})

    @property
    def _advice(self) -> str:
        return (
            "what was committed is kept, start the run again with --run-id "
            f"{self._session.run.run_id}, with or without --cluster"
        )
