"""Images per second of each stage alone and of a whole scan, and of the alternatives."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from statistics import median

import numpy as np

from deepfake_core.bench.alternatives import KerasProcess
from deepfake_core.bench.images import write_pictures
from deepfake_core.bench.setting import FAILURES, PartFailed, Setting, cores
from deepfake_core.engines.engine import Engine, open_engine
from deepfake_core.events import Say
from deepfake_core.images.decoding import decode
from deepfake_core.inference.classifier import Classifier
from deepfake_core.inference.judgement import Judgement
from deepfake_core.models.bundle import Precision
from deepfake_core.records import Decoded, Label, UInt8Array
from deepfake_core.scanning.plan import make_plan
from deepfake_core.scanning.scan import begin, commit_shard, finish
from deepfake_core.scanning.shards import READ_THREADS, ShardJudge
from deepfake_core.scanning.verdict_rows import verdict_rows
from deepfake_core.storage.local import LocalStorage

# Measures once; returns images per second.
Contestant = Callable[[], float]


def speed(setting: Setting) -> Iterator[dict[str, float]]:
    """Rates of every stage, of the whole and of Keras, taken in turns; then what follows."""
    sizes, pictures = setting.sizes, setting.folder / "pictures"
    setting.tell(f"making {sizes.images} pictures")
    paths = write_pictures(pictures, sizes.images, distinct=min(sizes.distinct, sizes.images))
    with ExitStack() as opened:
        contestants = _stage_contestants(setting, pictures, paths, opened)
        contestants |= _keras_contestants(setting, paths, opened)
        rates = race(contestants, sizes.rounds, setting.tell)
    yield rates
    yield compare_precisions(rates, setting.precisions)


def race(contestants: Mapping[str, Contestant], rounds: int, tell: Say) -> dict[str, float]:
    """Measure all in turns, so that what disturbs the machine disturbs each of them.

    Returns:
        The median rate of each; one that failed is left out.
    """
    rates: dict[str, list[float]] = {name: [] for name in contestants}
    for number in range(rounds):
        tell(f"round {number + 1} of {rounds}")
        for name, measure in contestants.items():
            if name not in rates:
                continue
            try:
                rates[name].append(measure())
            except FAILURES as error:
                tell(f"{name} is left out: {error}")
                del rates[name]
    return {name: median(each) for name, each in rates.items()}


def compare_precisions(
    rates: dict[str, float], precisions: tuple[Precision, ...]
) -> dict[str, float]:
    """The limits and ratios, and the fastest precision's figures without its name.

    Args:
        rates: images per second as `speed` names them.
        precisions: those measured, fastest first.
    """
    figures: dict[str, float] = {}
    for precision in precisions:
        alone = [rates.get("decode_per_s"), rates.get(f"infer_{precision}_per_s")]
        whole = rates.get(f"end_to_end_{precision}_per_s")
        if whole is None or None in alone:
            continue
        limit = 1 / sum(1 / rate for rate in alone if rate)
        figures[f"limit_{precision}_per_s"] = limit
        figures[f"end_to_end_over_limit_{precision}"] = whole / limit
        for name in ("keras_dataset", "keras_one_by_one"):
            if f"{name}_per_s" in rates:
                figures[f"over_{name}_{precision}"] = whole / rates[f"{name}_per_s"]
    first = precisions[0]
    for name, value in (rates | figures).items():
        if name.endswith((f"_{first}", f"_{first}_per_s")):
            figures[name.replace(f"_{first}", "")] = value
    return figures


def _stage_contestants(
    setting: Setting, pictures: Path, paths: list[Path], opened: ExitStack
) -> dict[str, Contestant]:
    """The stages that are ours."""
    storage, size = LocalStorage(pictures), setting.bundle.description.preprocessing.size
    names = [path.relative_to(pictures).as_posix() for path in paths]
    contents = [storage.read(name) for name in names]
    readers = opened.enter_context(ThreadPoolExecutor(READ_THREADS))
    decoders = opened.enter_context(ThreadPoolExecutor(cores()))
    contestants: dict[str, Contestant] = {
        "read_per_s": lambda: _rate(len(names), lambda: list(readers.map(storage.read, names))),
        "decode_per_s": lambda: _rate(
            len(contents),
            lambda: list(decoders.map(lambda data: decode(data, size=size), contents)),
        ),
        "commit_per_s": lambda: _commit(setting, pictures),
    }
    decoded = [decode(data, size=size) for data in contents[: setting.sizes.distinct]]
    pixels = np.stack([one.pixels for one in decoded if isinstance(one, Decoded)])
    for precision in setting.precisions:
        engine = open_engine(setting.bundle, kind="openvino", precision=precision)
        lanes = opened.enter_context(ThreadPoolExecutor(engine.lanes))
        judge = ShardJudge(
            storage, Classifier(setting.bundle, engine), batch_size=setting.batch_size
        )
        opened.enter_context(judge)
        contestants[f"infer_{precision}_per_s"] = _inference(setting, engine, lanes, pixels)
        contestants[f"end_to_end_{precision}_per_s"] = _whole(setting, pictures, judge, precision)
    return contestants


def _keras_contestants(
    setting: Setting, paths: list[Path], opened: ExitStack
) -> dict[str, Contestant]:
    """The alternatives in Keras, in a process of their own; none where it cannot be started."""
    sizes = setting.sizes
    setting.tell("starting Keras")
    try:
        errors = setting.folder / "keras-errors.txt"
        keras = opened.enter_context(KerasProcess(setting.bundle.folder, errors))
    except PartFailed as error:
        setting.tell(f"the alternatives in Keras are left out: {error}")
        return {}
    folder = setting.folder / "keras"
    write_pictures(folder, sizes.keras_images, distinct=min(sizes.distinct, sizes.keras_images))
    few = paths[: sizes.one_by_one_images]
    return {
        "keras_dataset_per_s": lambda: keras.dataset_rate(folder),
        "keras_one_by_one_per_s": lambda: keras.one_by_one_rate(few),
    }


def _rate(count: int, action: Callable[[], object]) -> float:
    started = time.perf_counter()
    action()
    return count / (time.perf_counter() - started)


def _inference(
    setting: Setting, engine: Engine, lanes: ThreadPoolExecutor, pixels: UInt8Array
) -> Contestant:
    """The network alone, called as a scan calls it."""
    count, batch_size = setting.sizes.infer_images, setting.batch_size
    batches = [
        pixels[np.arange(at, min(at + batch_size, count)) % len(pixels)]
        for at in range(0, count, batch_size)
    ]
    # Compiles the network and gives each lane its request.
    list(lanes.map(engine.logits, [batches[0]] * 2 * engine.lanes))
    return lambda: _rate(count, lambda: list(lanes.map(engine.logits, batches)))


def _whole(setting: Setting, pictures: Path, judge: ShardJudge, precision: Precision) -> Contestant:
    """A whole scan but loading the model: plan, judge, commit, publish, latest, report."""
    output = setting.folder / f"whole-{precision}"

    def scan_again(config_run: int) -> None:
        config = setting.scan_config(pictures, output / str(config_run), precision)
        plan = make_plan(config, registry=setting.registry)
        begin(plan)
        for index in range(plan.shards):
            commit_shard(plan, judge, index)
        counts = finish(plan)
        if counts["judged"] != setting.sizes.images:
            raise PartFailed(f"only {counts['judged']} of {setting.sizes.images} were judged")

    def measure() -> float:
        number = len(list(output.glob("*")))
        return _rate(setting.sizes.images, lambda: scan_again(number))

    # Gives each of the judge's lanes its request.
    warm = make_plan(
        setting.scan_config(pictures, setting.folder / "warm", precision),
        registry=setting.registry,
    )
    judge.judge(warm.shard(0).slice(0, 2 * cores() * setting.batch_size), warm.run)
    return measure


def _commit(setting: Setting, pictures: Path) -> float:
    """Check and put the part of one shard."""
    config = setting.scan_config(pictures, setting.folder / "commit", setting.precision)
    plan = make_plan(config, registry=setting.registry)
    shard = plan.shard(0)
    judged = Judgement("0" * 64, "JPEG", 256, 256, logit=0.5, score=0.5, label=Label.REAL)
    rows = verdict_rows(shard.to_pylist(), [judged] * shard.num_rows, plan.run)
    return _rate(rows.num_rows, lambda: plan.results.commit(plan.run_id, 0, rows, plan.metadata))
