"""Images per second of each stage alone and of a whole scan, and of the alternatives."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from deepfake_core.bench.alternatives import KerasProcess
from deepfake_core.bench.images import write_pictures
from deepfake_core.bench.race import Contestant, race, rate_of
from deepfake_core.bench.scans import Scanned
from deepfake_core.bench.setting import PartFailed, Setting, cores
from deepfake_core.engines.engine import Engine
from deepfake_core.images.decoding import Loaded, decode
from deepfake_core.inference.cropping import LargestFaces
from deepfake_core.inference.face_reading import AlignedFaces
from deepfake_core.inference.judgement import Judgement
from deepfake_core.inference.opening import open_classifier
from deepfake_core.models.bundle import Precision
from deepfake_core.records import Decoded, Label, UInt8Array
from deepfake_core.scanning.plan import make_plan
from deepfake_core.scanning.shards import READ_THREADS
from deepfake_core.scanning.verdict_rows import verdict_rows
from deepfake_core.storage.local import LocalStorage


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
        # Where whole pictures are judged there is nothing to find.
        alone += [rates[name] for name in (f"find_{precision}_per_s",) if name in rates]
        whole = rates.get(f"end_to_end_{precision}_per_s")
        if whole is None or None in alone:
            continue
        frames = rates.get(f"frame_{precision}_per_s", whole)
        limit = 1 / sum(1 / rate for rate in alone if rate)
        figures[f"limit_{precision}_per_s"] = limit
        figures[f"find_over_frame_{precision}_time"] = frames / whole
        figures[f"end_to_end_over_limit_{precision}"] = whole / limit
        for name in ("keras_dataset", "keras_one_by_one"):
            if f"{name}_per_s" in rates:
                # Keras' ways judge whole pictures, so that is what they are held against.
                figures[f"over_{name}_{precision}"] = frames / rates[f"{name}_per_s"]
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
        "read_per_s": lambda: rate_of(len(names), lambda: list(readers.map(storage.read, names))),
        "decode_per_s": lambda: rate_of(
            len(contents),
            lambda: list(decoders.map(lambda data: decode(data, size=size), contents)),
        ),
        "commit_per_s": lambda: _commit(setting, pictures),
    }
    distinct = contents[: setting.sizes.distinct]
    decoded = [decode(data, size=size) for data in distinct]
    pixels = np.stack([image.pixels for image in decoded if isinstance(image, Decoded)])
    for precision in setting.precisions:
        classifier = open_classifier(setting.networks(precision))
        engine = classifier.engine
        lanes = opened.enter_context(ThreadPoolExecutor(engine.lanes))
        contestants[f"infer_{precision}_per_s"] = _inference(setting, engine, lanes, pixels)
        scans: list[tuple[str, dict[str, str | bool]]] = [("end_to_end", {})]
        if isinstance(classifier.reader, AlignedFaces):
            contestants[f"find_{precision}_per_s"] = _finding(classifier.reader, distinct, lanes)
            scans.append(("frame", {"faces": "frame"}))
        for name, settings in scans:
            scanned = Scanned(setting, pictures, precision, settings)
            contestants[f"{name}_{precision}_per_s"] = scanned.contestant(opened)
    usual: dict[str, str | bool] = {"second_look": "auto", "stability": True}
    default = Scanned(setting, pictures, setting.precision, usual)
    contestants["default_per_s"] = default.contestant(opened)
    contestants["second_look_share"] = default.second_look_share
    return contestants


def _finding(reader: AlignedFaces, contents: list[bytes], lanes: ThreadPoolExecutor) -> Contestant:
    """Finding and aligning the faces of decoded pictures."""
    cropper = LargestFaces(reader.finder, reader.preprocessing)
    loaded = [
        picture.image for data in contents if isinstance(picture := reader.load(data), Loaded)
    ]
    list(lanes.map(cropper.crop, loaded[: 2 * cores()]))
    return lambda: rate_of(len(loaded), lambda: list(lanes.map(cropper.crop, loaded)))


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
    return lambda: rate_of(count, lambda: list(lanes.map(engine.logits, batches)))


def _commit(setting: Setting, pictures: Path) -> float:
    """Check and put the part of one shard."""
    config = setting.scan_config(pictures, setting.folder / "commit", setting.precision)
    plan = make_plan(config, registry=setting.registry)
    shard = plan.shard(0)
    judged = Judgement("0" * 64, "JPEG", 256, 256, logit=0.5, score=0.5, label=Label.REAL)
    rows = verdict_rows(shard.to_pylist(), [judged] * shard.num_rows, plan.run)
    return rate_of(rows.num_rows, lambda: plan.results.commit(plan.run_id, 0, rows, plan.metadata))
