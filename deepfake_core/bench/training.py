"""Training images per second: the input alone, the step alone, both, and the wait for input."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from deepfake_core.bench.images import write_pictures
from deepfake_core.bench.setting import Setting
from deepfake_core.datasets.labelled import Labelled
from deepfake_core.training.batches import Batch, Batches
from deepfake_core.training.recipe import TrainConfig

BATCH = 16
PICTURES = 32
# Two batches wait ready at the start, so that an input that is slower by a twentieth is only
# waited for after forty steps; a minute on two cores.
MOST_STEPS, TOGETHER = 13, 3
WARM_STEPS = 2


def training(setting: Setting) -> Iterator[dict[str, float]]:
    """The figures of the default recipe with the model's network, on pictures of 256 pixels."""
    setting.tell("training")
    paths = write_pictures(setting.folder / "training", PICTURES, distinct=PICTURES)
    size = setting.bundle.description.preprocessing.size
    config = TrainConfig(
        architecture=setting.bundle.architecture, size=size, crop=size, batch_size=BATCH
    )
    steps = min(MOST_STEPS, max(1, setting.sizes.infer_images // (2 * BATCH)))
    yield training_speed(config, labelled_in_turn(paths), steps=steps)


def labelled_in_turn(paths: Sequence[Path]) -> list[Labelled]:
    """The pictures, every other one a fake: speed does not depend on what they show."""
    return [Labelled(path, index % 2 == 0, path.name) for index, path in enumerate(paths)]


def training_speed(
    config: TrainConfig, images: Sequence[Labelled], *, steps: int
) -> dict[str, float]:
    """Measure a recipe.

    Args:
        config: the recipe; its network is trained from random weights.
        images: pictures of both classes.
        steps: how many steps each rate is measured on, both together on `TOGETHER` times as many.

    Returns:
        Images per second of the input alone, of the step alone and of both together, and the
        share of the time that the steps of both together waited for input.
    """
    stream, learn = Batches(config, images), _learner(config)
    stop = WARM_STEPS + steps
    input_seconds, _ = _timed(stream.batches(0, stop), lambda batch: None)
    same = stream.batch(0)
    step_seconds, _ = _timed(iter([same] * stop), learn)
    together = stream.batches(stop, stop + WARM_STEPS + TOGETHER * steps)
    both_seconds, waited = _timed(together, learn)
    count = steps * config.batch_size
    return {
        "train_input_per_s": count / input_seconds,
        "train_step_per_s": count / step_seconds,
        "train_per_s": TOGETHER * count / both_seconds,
        "train_wait_share": waited / both_seconds,
    }


def _learner(config: TrainConfig) -> Callable[[Batch], object]:
    """What takes a step with a batch, as training does."""
    from deepfake_core.training.objective import build, loss_of, optimizer_of

    model = build(config, config.crop)
    model.compile(optimizer_of(config), loss=loss_of(config), jit_compile=False)
    return lambda batch: float(model.train_on_batch(*batch))


def _timed(batches: Iterator[Batch], use: Callable[[Batch], object]) -> tuple[float, float]:
    """Seconds for all batches but the first ones, and those of them spent waiting for one."""
    began, waited = time.perf_counter(), 0.0
    for number in range(2**31):
        if number == WARM_STEPS:
            began, waited = time.perf_counter(), 0.0
        asked = time.perf_counter()
        batch = next(batches, None)
        waited += time.perf_counter() - asked
        if batch is None:
            break
        use(batch)
    return time.perf_counter() - began, waited
