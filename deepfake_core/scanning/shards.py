"""Judge a shard: reads run ahead in threads, one lane per core decodes and infers."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from types import TracebackType

import pyarrow as pa

from deepfake_core.children import stop_all
from deepfake_core.errors import BrokenInvariant, SourceOutage
from deepfake_core.inference.classifier import Classifier
from deepfake_core.inference.face_reading import AlignedFaces
from deepfake_core.inference.judgement import JudgedBatch, Judgement, StageSeconds
from deepfake_core.inference.stability import choose, judge_again
from deepfake_core.models.canaries import CanaryCheck
from deepfake_core.records import Failure, FailureCode
from deepfake_core.reporting.input_profile import count_brightness
from deepfake_core.results.manifest import Entry, path_of
from deepfake_core.results.run_record import RowFacts
from deepfake_core.results.store import Results
from deepfake_core.scanning.committed import CommittedShard
from deepfake_core.scanning.grouping import MAX_BYTES_AHEAD, groups
from deepfake_core.scanning.plan import Plan
from deepfake_core.scanning.verdict_rows import verdict_rows
from deepfake_core.storage.base import MAX_FILE_BYTES, Storage
from deepfake_core.storage.reading import read_or_failure

READ_THREADS = 16
OUTAGE_AFTER = 32

Read = tuple[bytes | Failure, bool, float]


@dataclass(frozen=True, slots=True)
class Shard:
    """A shard with all that judging it takes, but for the model and the stores.

    Attributes:
        run: run_id, source, model_id and run_started go into each row.
        index: its number.
        images: its rows of the manifest.
        following: the next rows of the run, which are read too if the shard ends in failures.
        metadata: facts for the footer of its part.
    """

    run: RowFacts
    index: int
    images: pa.Table
    following: pa.Table
    metadata: dict[str, str]


@dataclass(frozen=True, slots=True)
class JudgedShard:
    """What judging a shard gave.

    Attributes:
        rows: one verdict row per image, in order.
        seconds: where the time went.
        brightness: of the pictures in which something was judged, 0 to 255.
    """

    rows: pa.Table
    seconds: StageSeconds
    brightness: list[float]


def shard_of(plan: Plan, index: int) -> Shard:
    """One shard of a planned run."""
    following = plan.in_turn.slice((index + 1) * plan.run.shard_size, OUTAGE_AFTER)
    return Shard(plan.run, index, plan.shard(index), following, plan.metadata)


class ShardJudge:
    """Threads that read, decode and infer; used for all shards of a run.

    Attributes:
        begun: no shard is begun before it is asked for; see `deepfake_core.scanning.scan.Shards`.
        canaries: gives what became of the known pictures so far.
    """

    begun = -1

    def __init__(
        self,
        source: Storage,
        classifier: Classifier,
        *,
        batch_size: int,
        on_batch: Callable[[int], None] = lambda count: None,
        canaries: Callable[[], CanaryCheck] = CanaryCheck,
    ) -> None:
        """Start the threads.

        Args:
            source: where images are read.
            classifier: judges their bytes.
            batch_size: images that go through the network together.
            on_batch: called with the number of images after each batch.
            canaries: gives what became of the known pictures so far.
        """
        self._source, self._classifier, self._batch_size = source, classifier, batch_size
        self._on_batch, self.canaries = on_batch, canaries
        # Over all shards: small ones would hide an outage.
        self._failed_in_a_row = 0
        self._stopping = threading.Event()
        self._lanes = ThreadPoolExecutor(classifier.engine.lanes, "lane")
        self._readers = ThreadPoolExecutor(READ_THREADS, "read")

    def __enter__(self) -> ShardJudge:
        """Use as a context manager, so that the threads end."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Drop what has not begun and wait for what has; after an error, for no more than that."""
        if kind is not None:
            self._stopping.set()
            stop_all()
        self._readers.shutdown(wait=kind is None, cancel_futures=True)
        self._lanes.shutdown(cancel_futures=True)

    def commit(self, plan: Plan, index: int) -> CommittedShard:
        """Judge a shard of a plan and commit its part; see `judge_and_commit`."""
        return judge_and_commit(self, shard_of(plan, index), plan.results)

    def judge(
        self, shard: pa.Table, run: RowFacts, *, following: pa.Table | None = None
    ) -> JudgedShard:
        """Judge the images of a shard.

        Args:
            shard: rows of the manifest.
            run: run_id, source, model_id and run_started go into each row.
            following: rows that are read, and not judged, if the shard ends in failed reads:
                they tell an outage, of which nothing is to be committed, from bad images.

        Returns:
            One verdict row per manifest row, in order, and what is no part of a row.

        Raises:
            SourceOutage: 32 reads in a row failed with transient errors, or the source is gone.
        """
        entries: list[Entry] = shard.to_pylist()
        judgements: list[Judgement] = []
        seconds = StageSeconds()
        for batch, outages in self._batches(entries):
            judgements += batch.judgements
            seconds.add(batch.seconds)
            for judgement, outage in zip(batch.judgements, outages, strict=True):
                self._watch(judgement.failure if outage else None, run)
            self._on_batch(len(batch.judgements))
        if following is not None and self._failed_in_a_row:
            self._read_on(following.to_pylist(), run)
        if run.stability:
            self._judge_again(entries, judgements)
        bright = [read.brightness for read in judgements if read.brightness is not None]
        return JudgedShard(verdict_rows(entries, judgements, run), seconds, bright)

    def _judge_again(self, entries: list[Entry], judgements: Sequence[Judgement]) -> None:
        """See whether what was flagged survives cheap changes; the whole shard is known by now."""
        reader = self._classifier.reader
        if not isinstance(reader, AlignedFaces):
            return

        def again(at: int) -> None:
            content, _, _ = self._read(entries[at])
            if not isinstance(content, Failure):
                judge_again(self._classifier, reader, judgements[at], content)

        for _ in self._lanes.map(again, choose(judgements)):
            pass

    def _read_on(self, entries: list[Entry], run: RowFacts) -> None:
        """Read until one can be read, or it is known to be an outage."""
        reads = [self._readers.submit(self._read, entry) for entry in entries]
        try:
            for read in reads:
                content, outage, _ = read.result()
                self._watch(content if outage and isinstance(content, Failure) else None, run)
                if not outage:
                    return
        finally:
            for read in reads:
                read.cancel()

    def _watch(self, failure: Failure | None, run: RowFacts) -> None:
        """Tell an outage of the source from bad images, image by image in their order.

        Args:
            failure: why an image could not be read if that may be an outage, else None.
            run: the run, for the message.
        """
        self._failed_in_a_row = self._failed_in_a_row + 1 if failure else 0
        if failure and failure.code is FailureCode.READ_NOT_FOUND:
            what = "is not there any more"
        elif failure and failure.code is FailureCode.READ_DENIED:
            what = f"cannot be read any more: {failure.detail}"
        elif self._failed_in_a_row >= OUTAGE_AFTER:
            what = f"stopped answering: {OUTAGE_AFTER} reads in a row failed"
        else:
            return
        self._failed_in_a_row = 0
        raise SourceOutage(
            f"{run.source} {what}; what was committed is kept, start the run again with "
            f"--run-id {run.run_id}"
        )

    def _batches(self, entries: list[Entry]) -> Iterator[tuple[JudgedBatch, list[bool]]]:
        """Judge batches ahead of the caller, and give them back in order."""
        pending: deque[tuple[int, Future[tuple[JudgedBatch, list[bool]]]]] = deque()
        bytes_ahead = 0
        try:
            for group in groups(entries, self._batch_size):
                group_bytes = sum(entry["bytes"] or 0 for entry in group)
                while pending and (
                    len(pending) > 2 * self._classifier.engine.lanes
                    or bytes_ahead + group_bytes > MAX_BYTES_AHEAD
                ):
                    done_bytes, done = pending.popleft()
                    yield done.result()
                    bytes_ahead -= done_bytes
                reads = [self._readers.submit(self._read, entry) for entry in group]
                pending.append((group_bytes, self._lanes.submit(self._judge, reads)))
                bytes_ahead += group_bytes
            while pending:
                yield pending.popleft()[1].result()
        finally:
            for _, waiting in pending:
                waiting.cancel()

    def _judge(self, reads: list[Future[Read]]) -> tuple[JudgedBatch, list[bool]]:
        done = [read.result() for read in reads]
        batch = self._classifier.judge([content for content, _, _ in done], self._stopping.is_set)
        batch.seconds.read = sum(seconds for _, _, seconds in done)
        return batch, [outage for _, outage, _ in done]

    def _read(self, entry: Entry) -> Read:
        listed = entry["bytes"]
        if listed is not None and listed > MAX_FILE_BYTES:
            detail = f"{listed} bytes; at most {MAX_FILE_BYTES} are read"
            return Failure(FailureCode.DECODE_TOO_LARGE, detail), False, 0.0
        started = time.perf_counter()
        content, outage = read_or_failure(self._source, path_of(entry))
        if isinstance(content, bytes) and listed is not None and len(content) != listed:
            # It was changed after it was listed, or something else answered in its place, such
            # as the page of a network that wants a password.
            detail = f"{len(content)} bytes came, {listed} were listed; the next scan reads it"
            content = Failure(FailureCode.READ_FAILED, detail)
        return content, outage, time.perf_counter() - started


def judge_and_commit(judge: ShardJudge, shard: Shard, results: Results) -> CommittedShard:
    """Judge a shard and put its part, whose presence is the commit.

    Raises:
        SourceOutage: see `ShardJudge.judge`.
        OutputError: the part cannot be written.
    """
    started = time.monotonic()
    judged = judge.judge(shard.images, shard.run, following=shard.following)
    rows, spent, run_id = judged.rows, judged.seconds, shard.run.run_id
    if not rows["image"].combine_chunks().equals(shard.images["image"].combine_chunks()):
        raise BrokenInvariant(f"shard {shard.index} of run {run_id}: its rows are not its images")
    timings = {
        "seconds": time.monotonic() - started,
        "read_seconds": spent.read,
        "decode_seconds": spent.decode,
        "find_seconds": spent.find,
        "infer_seconds": spent.infer,
    }
    brightness = count_brightness(judged.brightness)
    committed = CommittedShard(shard.index, rows.num_rows, timings, judge.canaries(), brightness)
    results.commit(run_id, shard.index, rows, {**shard.metadata, **committed.footer})
    return committed
