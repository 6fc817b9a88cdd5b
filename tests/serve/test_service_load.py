"""The service under load: images go through the network together, and memory stays flat."""

import asyncio
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil
import pytest

from deepfake_core.bench.load import put_load, upload_request
from deepfake_core.bench.service import service, started
from deepfake_core.bench.setting import Setting, Sizes
from deepfake_core.engines.engine import Engine, open_engine
from deepfake_core.inference.classifier import Classifier
from deepfake_core.models.registry import find_model
from deepfake_core.records import Float32Array, UInt8Array
from deepfake_core.serve.batching import IMAGES_AT_ONCE, Batcher
from deepfake_core.serve.problems import Refusal
from tests.support.serving import address, running

pytestmark = pytest.mark.processes

Picture = Callable[..., bytes]


class SlowEngine:
    """A real engine that takes its time and notes how many images came together."""

    lanes = 1

    def __init__(self, engine: Engine, *, precision: str, seconds: float = 0.05) -> None:
        self.precision, self.sizes = precision, []
        self._engine, self._seconds = engine, seconds

    def logits(self, pixels: UInt8Array) -> Float32Array:
        self.sizes.append(len(pixels))
        time.sleep(self._seconds)
        return self._engine.logits(pixels)


@pytest.fixture
def classifier(tiny_registry: Path) -> Classifier:
    bundle = find_model("tiny", tiny_registry)
    return Classifier(bundle, open_engine(bundle, kind="openvino", precision="fp32"))


def judged(classifier: Classifier, requests: list[list[bytes]], **options: float) -> list[object]:
    """The scores of requests that come at once, or how each was refused."""

    async def judge() -> list[object]:
        batcher = Batcher(classifier, **{"wait_seconds": 0.5, "max_waiting": 100, **options})
        batcher.start()
        try:
            answers = await asyncio.gather(*map(batcher.judge, requests), return_exceptions=True)
        finally:
            await batcher.close()
        assert batcher.waiting == 0
        return [
            [one.score for one in answer] if isinstance(answer, list) else answer
            for answer in answers
        ]

    return asyncio.run(judge())


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_what_comes_together_is_scored_together(
    classifier: Classifier, picture: Picture, precision: str
):
    contents = [picture(seed) for seed in range(40)]
    expected = [one.score for one in classifier.judge(contents).judgements]
    engine = classifier.looks.engine = SlowEngine(classifier.engine, precision=precision)
    scores = judged(classifier, [[content] for content in contents])
    assert [score for (score,) in scores] == pytest.approx(expected, abs=1e-4)
    assert sum(engine.sizes) == 40
    assert max(engine.sizes) <= IMAGES_AT_ONCE
    assert len(engine.sizes) <= 5


def test_idle_lanes_share_what_waits(classifier: Classifier, picture: Picture):
    engine = SlowEngine(classifier.engine, precision="fp32")
    engine.lanes = 2
    scores = judged(Classifier(classifier.bundle, engine), [[picture(seed) for seed in range(8)]])
    assert len(scores[0]) == 8
    assert max(engine.sizes) == 4


def test_a_lone_image_does_not_wait_for_company(classifier: Classifier, picture: Picture):
    classifier.judge([picture(1)])
    began = time.perf_counter()
    judged(classifier, [[picture(1)]], wait_seconds=30)
    assert time.perf_counter() - began < 15


def test_images_beyond_the_queue_are_refused_at_once(classifier: Classifier, picture: Picture):
    classifier.looks.engine = SlowEngine(classifier.engine, precision="fp32")
    requests = [[picture(1)] * 3, [picture(2)] * 2, [picture(3)] * 2, [b"no image"]]
    one, other, third, last = judged(classifier, requests, max_waiting=6)
    assert [len(one), len(other), last] == [3, 2, [None]]
    assert isinstance(third, Refusal)
    assert (third.status, third.code) == (429, "request.busy")


def test_memory_stays_flat_while_half_of_the_images_are_bad(tiny_registry: Path, picture: Picture):
    """``LOAD_REQUESTS=10000`` makes it long."""
    count = int(os.environ.get("LOAD_REQUESTS", "800"))
    good = [picture(seed, kind="PNG" if seed % 2 else "JPEG") for seed in range(6)]
    bad = [b"", b"text", good[0][:-200], good[1][:-200], b"\x89PNG\r\n\x1a\n", os.urandom(3000)]
    requests = [
        upload_request(path, content)
        for path in ("/upload_image", "/verdicts")
        for pair in zip(good, bad, strict=True)
        for content in pair
    ]
    count -= count % len(requests)
    with started(tiny_registry, {"port": 0, "model": "tiny"}) as (port, process):
        watched = psutil.Process(process.pid)
        put_load(port, requests, count=count // 2, clients=16)
        before = watched.memory_info().rss
        load = put_load(port, requests, count=count, clients=16)
        grown = (watched.memory_info().rss - before) / 2**20
        assert load.statuses == {200: count * 3 // 4, 422: count // 4}
        assert grown < 24, f"{grown:.0f} MB more after {count} requests"
        assert len(watched.open_files()) < 20
        process.terminate()
        assert process.wait(30) == 0
        assert process.stderr.read() == ""
    print(f"{load.per_second:.0f} requests/s, {grown:.1f} MB more after {count} requests")


def test_the_description_holds_for_made_up_requests(tiny_registry: Path, tmp_path: Path):
    """Schemathesis makes requests from the OpenAPI description, good and bad ones."""
    command = [Path(sys.executable).parent / "schemathesis", "run", "--max-examples=8"]
    # Random bytes fit the description of a file, and are rightly no image.
    command += ["--checks=all", "--exclude-checks=positive_data_acceptance", "--seed=1"]
    command += ["--phases=examples,coverage,fuzzing", "--no-color", "--workers=1"]
    command += ["--suppress-health-check=all", "--request-timeout=60"]
    with running(tiny_registry) as serving:
        url = f"{address(serving)}/openapi.json"
        done = subprocess.run([*command, url], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]


def test_the_benchmark_measures_the_service(tiny_registry: Path, tmp_path: Path):
    sizes = Sizes(distinct=8)
    bundle = find_model("tiny", tiny_registry)
    setting = Setting(bundle, tiny_registry, ("fp32",), tmp_path, sizes, lambda line: None)
    (figures,) = service(setting)
    assert {"serve_one_by_one_per_s", "serve_loaded_per_s"} < set(figures)
    assert all(np.isfinite(value) and value > 0 for value in figures.values())
    assert figures["serve_p50_ms"] <= figures["serve_p99_ms"]
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("score")]
