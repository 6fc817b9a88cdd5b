"""Images of different requests go through the network together."""

from __future__ import annotations

import asyncio
import os
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass

import numpy as np

from deepfake_core.engines.engine import GROUP
from deepfake_core.inference.classifier import Classifier
from deepfake_core.inference.judgement import Judgement
from deepfake_core.records import UInt8Array
from deepfake_core.serve.problems import busy

# Images that a lane takes at once.
IMAGES_AT_ONCE = 16


@dataclass(slots=True)
class _Waiting:
    """An image with what is judged in it, and who waits for its score."""

    judgement: Judgement
    crops: UInt8Array
    scored: asyncio.Future[None]


class Batcher:
    """Decodes on all cores, scores on all lanes; bounded, and used from one event loop.

    A lane that is free takes what is there. Only where more images are being decoded at that
    moment does it wait for them, and not for long, so that a lone image never waits.
    """

    def __init__(
        self,
        classifier: Classifier,
        *,
        wait_seconds: float,
        max_waiting: int,
        on_batch: Callable[[int], None] = lambda count: None,
    ) -> None:
        """Make the threads; `start` begins to score.

        Args:
            classifier: decodes and scores.
            wait_seconds: how long a lane waits for images that are being decoded.
            max_waiting: images that may wait or be judged at once.
            on_batch: called with the size of each batch.
        """
        self._classifier, self._wait, self._most = classifier, wait_seconds, max_waiting
        self._on_batch = on_batch
        self._decoders = ThreadPoolExecutor(len(os.sched_getaffinity(0)), "decode")
        self._scorers = ThreadPoolExecutor(classifier.engine.lanes, "score")
        self._queue: deque[_Waiting] = deque()
        self._changed = asyncio.Event()
        self._taking = asyncio.Lock()
        self._lanes: list[asyncio.Task[None]] = []
        self.waiting = 0
        self._decoding = self._idle = 0

    async def warm_up(self) -> None:
        """Score blank images on every lane; what comes then is quick."""
        size = self._classifier.bundle.description.preprocessing.size
        loop = asyncio.get_running_loop()
        blank = np.zeros((GROUP, size, size, 3), np.uint8)
        lanes = range(self._classifier.engine.lanes)
        logits = self._classifier.engine.logits
        await asyncio.gather(*(loop.run_in_executor(self._scorers, logits, blank) for _ in lanes))

    def start(self) -> None:
        """Begin to score."""
        lanes = range(self._classifier.engine.lanes)
        self._lanes = [asyncio.create_task(self._score_on()) for _ in lanes]

    async def close(self) -> None:
        """Stop; called when no request is left."""
        for lane in self._lanes:
            lane.cancel()
        await asyncio.gather(*self._lanes, return_exceptions=True)
        self._decoders.shutdown(cancel_futures=True)
        self._scorers.shutdown(cancel_futures=True)

    async def judge(self, contents: Sequence[bytes]) -> list[Judgement]:
        """Judge images, together with those of other requests.

        Returns:
            One judgement per entry, in order.

        Raises:
            Refusal: more images wait than may.
        """
        if self.waiting + len(contents) > self._most:
            raise busy(f"{self.waiting} images wait, and at most {self._most} may")
        self.waiting += len(contents)
        try:
            return await asyncio.gather(*map(self._judge, contents))
        finally:
            self.waiting -= len(contents)

    async def _judge(self, content: bytes) -> Judgement:
        loop = asyncio.get_running_loop()
        self._decoding += 1
        try:
            read = self._classifier.read
            judgement, crops = await loop.run_in_executor(self._decoders, read, content)
        finally:
            self._decoding -= 1
            self._changed.set()
        if crops is not None:
            waiting = _Waiting(judgement, crops, loop.create_future())
            self._queue.append(waiting)
            await waiting.scored
        return judgement

    async def _score_on(self) -> None:
        """One lane: take a batch, score it, tell those who wait."""
        loop = asyncio.get_running_loop()
        while True:
            batch = await self._take()
            judgements = [read.judgement for read in batch]
            crops = [read.crops for read in batch]
            self._on_batch(len(batch))
            score = self._classifier.score
            done = loop.run_in_executor(self._scorers, score, judgements, crops)
            await asyncio.wait([done])
            error = done.exception()
            for read in batch:
                if read.scored.cancelled():
                    continue
                if error is None:
                    read.scored.set_result(None)
                else:
                    read.scored.set_exception(error)

    async def _take(self) -> list[_Waiting]:
        """What waits, at most a group, less what other idle lanes can do; one gathers at a time."""
        self._idle += 1
        async with self._taking:
            while not self._queue:
                await self._next_change()
            with suppress(TimeoutError):
                async with asyncio.timeout(self._wait):
                    while len(self._queue) < IMAGES_AT_ONCE and self._decoding:
                        await self._next_change()
            share = -(-len(self._queue) // self._idle)
            self._idle -= 1
            return [self._queue.popleft() for _ in range(min(IMAGES_AT_ONCE, share))]

    async def _next_change(self) -> None:
        self._changed.clear()
        await self._changed.wait()
