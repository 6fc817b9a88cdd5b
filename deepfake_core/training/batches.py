"""The images of training: augmented batches with their targets, made while others are learnt.

What a batch holds is decided here by its number alone, so a training that was killed goes on as
if nothing had happened. Two thin drivers make them ahead of time: `tf.data` under TensorFlow,
threads under Keras' other backends, which have no `tf.data`. Both call the same functions on
Pillow's images, whose decoders, filters and encoders let other threads work.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import lru_cache
from threading import Lock

import numpy as np

from deepfake_core.datasets.labelled import Labelled
from deepfake_core.errors import SourceError
from deepfake_core.images.decoding import load
from deepfake_core.records import Failure, Float32Array, UInt8Array
from deepfake_core.training.augmentation import augment
from deepfake_core.training.distillation import Teachers
from deepfake_core.training.recipe import TrainConfig

Batch = tuple[Float32Array, Float32Array]
FAKE, REAL, UNLABELLED = 0, 1, 2
BATCHES_AHEAD = 2


def targets_of(
    config: TrainConfig, shares: Float32Array, known: np.ndarray, teacher: Float32Array | None
) -> Float32Array:
    """Pack labels (share of fake in [0, 1]) and the teachers' logits as the loss reads them."""
    weight = config.teacher_weight if teacher is not None else 0.0
    targets = np.zeros((len(shares), 4), np.float32)
    label_weight = np.where(known, 1.0 - weight, 0.0)
    targets[:, 0], targets[:, 1] = shares * label_weight, (1 - shares) * label_weight
    if teacher is not None:
        opinion = 0.5 * (1.0 + np.tanh(0.5 * teacher / config.temperature))
        teacher_weight = np.where(known, weight, 1.0)
        targets[:, 2], targets[:, 3] = opinion * teacher_weight, (1 - opinion) * teacher_weight
    return targets


class Batches:
    """Augmented batches; batch number n is the same whenever it is asked for."""

    def __init__(
        self,
        config: TrainConfig,
        labelled: Sequence[Labelled],
        *,
        unlabelled: Sequence[Labelled] = (),
        teachers: Teachers | None = None,
    ) -> None:
        """Take images of both classes, and those that only the teachers judge."""
        self.config, self.teachers = config, teachers
        fake = [image for image in labelled if image.fake]
        real = [image for image in labelled if not image.fake]
        taught = list(unlabelled) if teachers else []
        self._members = (fake, real, taught)
        unknown = int(config.batch_size * config.unlabelled_share) if taught else 0
        # Half of the labelled images of a batch are fake, whatever the classes' sizes are.
        fakes = (config.batch_size - unknown) // 2
        self._counts = (fakes, config.batch_size - unknown - fakes, unknown)
        self._kinds = np.repeat([FAKE, REAL, UNLABELLED], self._counts)
        self._weights = [
            _draw_weights(part) if config.group_balanced else None for part in (fake, real)
        ]
        self._order = lru_cache(maxsize=8)(self._round)
        self._lock = Lock()

    def batches(self, start: int, stop: int) -> Generator[Batch]:
        """The batches from one number to before another, made ahead of time.

        Yields:
            float32[N, crop, crop, 3] in 0 to 255, and targets float32[N, 4].

        Raises:
            SourceError: an image cannot be decoded.
        """
        import keras

        if keras.backend.backend() == "tensorflow":
            return self.from_tf_data(start, stop)
        return self.from_threads(start, stop)

    def batch(self, number: int) -> Batch:
        """One batch by its number, made now."""
        first = number * self.config.batch_size
        examples = range(first, first + self.config.batch_size)
        return self.complete(number, np.stack([self.example(index) for index in examples]))

    def from_tf_data(self, start: int, stop: int) -> Generator[Batch]:
        """`batches` by `tf.data`."""
        import tensorflow as tf

        size, count, failed = self.config.size, self.config.batch_size, list[SourceError]()

        def example(index: int) -> UInt8Array:
            try:
                return self.example(int(index))
            except SourceError as error:
                failed.append(error)
                raise

        def pixels(index: object) -> object:
            made = tf.numpy_function(example, [index], tf.uint8, stateful=False)
            return tf.ensure_shape(made, (size, size, 3))

        def complete(number: object, made: object) -> object:
            return tf.numpy_function(
                self.complete, [number, made], (tf.float32, tf.float32), stateful=False
            )

        # Threads of its own: in those that it shares by default, it waits for the step.
        options = tf.data.Options()
        options.threading.private_threadpool_size = _workers()
        made = (
            tf.data.Dataset.range(start * count, stop * count)
            .map(pixels, num_parallel_calls=_workers(), deterministic=True)
            .batch(count, drop_remainder=True)
            .enumerate(start)
            .map(complete)
            .prefetch(BATCHES_AHEAD)
            .with_options(options)
        )
        try:
            yield from made.as_numpy_iterator()
        except tf.errors.OpError:
            if failed:
                raise failed[0] from None
            raise

    def from_threads(self, start: int, stop: int) -> Generator[Batch]:
        """`batches` by threads."""
        count = self.config.batch_size
        with ThreadPoolExecutor(_workers()) as makers, ThreadPoolExecutor(BATCHES_AHEAD) as ahead:

            def whole(number: int) -> Batch:
                made = makers.map(self.example, range(number * count, (number + 1) * count))
                return self.complete(number, np.stack(list(made)))

            coming: deque[Future[Batch]] = deque()
            for number in range(start, stop):
                coming.append(ahead.submit(whole, number))
                if len(coming) > BATCHES_AHEAD:
                    yield coming.popleft().result()
            while coming:
                yield coming.popleft().result()

    def example(self, index: int) -> UInt8Array:
        """Picture number `index` of all batches one after another: uint8[size, size, 3]."""
        number, place = divmod(index, self.config.batch_size)
        kind = int(self._kinds[place])
        nth = number * self._counts[kind] + place - sum(self._counts[:kind])
        image = self._members[kind][self._draw(kind, nth)]
        loaded = load(image.path.read_bytes(), size=self.config.size, colour="srgb")
        if isinstance(loaded, Failure):
            raise SourceError(f"{image.path}: {loaded.code} ({loaded.detail}); remove the file")
        rng = np.random.default_rng((self.config.seed, index))
        return augment(loaded.image, size=self.config.size, rng=rng)

    def complete(self, number: int, pixels: UInt8Array) -> Batch:
        """Mix, ask the teachers, crop: what happens to a batch as a whole."""
        config, rng = self.config, np.random.default_rng((self.config.seed, int(number), 1))
        mixed, count = pixels.astype(np.float32), len(pixels)
        shares = (self._kinds == FAKE).astype(np.float32)
        known = self._kinds != UNLABELLED
        if rng.random() < config.mixed_share:
            order, part = rng.permutation(count), np.float32(rng.beta(1.0, 1.0))
            mixed = part * mixed + (1 - part) * mixed[order]
            shares = part * shares + (1 - part) * shares[order]
            known = known & known[order]
        opinion = None
        if self.teachers:
            with self._lock:
                opinion = self.teachers.logits(np.rint(mixed).astype(np.uint8))
        left, top = rng.integers(config.size - config.crop + 1, size=2)
        cropped = mixed[:, top : top + config.crop, left : left + config.crop]
        return np.ascontiguousarray(cropped), targets_of(config, shares, known, opinion)

    def _draw(self, kind: int, nth: int) -> int:
        """Which image is the class's nth: each once a round, or as often as its weight says."""
        members = len(self._members[kind])
        weights = self._weights[kind] if kind != UNLABELLED else None
        if weights is not None:
            rng = np.random.default_rng((self.config.seed, kind, nth, 2))
            return int(rng.choice(members, p=weights))
        return int(self._order(kind, nth // members)[nth % members])

    def _round(self, kind: int, number: int) -> np.ndarray:
        rng = np.random.default_rng((self.config.seed, kind, number, 3))
        return rng.permutation(len(self._members[kind]))


def _draw_weights(images: Sequence[Labelled]) -> np.ndarray:
    from deepfake_core.datasets.balancing import group_weights

    weights = np.asarray(group_weights(images), np.float64)
    return np.asarray(weights / weights.sum())


def _workers() -> int:
    """As many as there are cores, and one for the time that a file is read."""
    return len(os.sched_getaffinity(0)) + 1
