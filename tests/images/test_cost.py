"""What a file costs is bounded by what it says before it is decoded, and by a deadline."""

import io
import os
import random
import signal
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deepfake_core.children import Child, Message
from deepfake_core.images import decoding, isolation
from deepfake_core.images.cost import LIMITS, cost_of, is_heavy, refusal
from deepfake_core.images.decoding import decode_here, decode_picture, load
from deepfake_core.images.isolation import Decoders
from deepfake_core.images.picture import Loaded, Wanted
from deepfake_core.records import Failure, FailureCode, Json
from tests.support.zoo import ZOO, encode, photograph

pytestmark = pytest.mark.processes

WANTED = Wanted(256, None, (255, 255, 255), "srgb")


def webp_header(width: int, height: int) -> bytes:
    """34 bytes that declare a lossless picture."""
    size = (width - 1) | ((height - 1) << 14)
    body = b"WEBPVP8L" + struct.pack("<IBI", 14, 0x2F, size) + bytes(9)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def qoi(side: int) -> bytes:
    """A valid picture of one operation a pixel, which is decoded in Python."""
    pixels = (b"\x01\x00\x02\x03" * (side * side // 4 + 1))[: side * side]
    return b"qoif" + struct.pack(">II", side, side) + b"\3\0" + pixels + bytes(7) + b"\1"


BOMBS = {
    "webp of 34 bytes": webp_header(16_383, 7_324),
    "webp canvas": b"RIFF\x20\0\0\0WEBPVP8X\x0a\0\0\0"
    + bytes(4)
    + b"\xff\xff\x3f\xff\xff\x3f"
    + b"x" * 8,
    "qoi": qoi(4000),
    "plain pgm": b"P2 90000 90000 255\n" + b"9 " * 1000,
    "gif": b"GIF89a" + struct.pack("<HH", 60_000, 60_000) + bytes(40),
    "psd": b"8BPS\0\1" + bytes(6) + struct.pack(">HIIHH", 3, 30_000, 30_000, 8, 3) + bytes(40),
    "tiles": b"\xff\x4f\xff\x51"
    + struct.pack(">HH8IH", 47, 0, 3000, 3000, 0, 0, 1, 1, 0, 0, 3)
    + bytes(60),
}


@pytest.mark.parametrize("name", BOMBS)
def test_headers_that_cost_much_are_refused_before_anything_is_allocated(name: str):
    started = time.perf_counter()
    loaded = load(BOMBS[name], size=128)

    assert isinstance(loaded, Failure)
    assert loaded.code == FailureCode.DECODE_TOO_LARGE
    assert time.perf_counter() - started < 1


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "AVIF", "GIF", "BMP", "JPEG2000", "QOI", "PPM"])
@pytest.mark.parametrize("size", [(48, 32), (301, 1)])
def test_the_declared_size_is_that_of_the_picture(kind: str, size: tuple[int, int]):
    data = encode(photograph(size), kind)
    told = cost_of(data)

    assert (told.width, told.height) == size
    assert refusal(data, told) is None
    assert not is_heavy(data, told)


def test_any_start_of_a_file_has_a_cost():
    for data, _, _ in ZOO.values():
        for cut in (*range(64), len(data)):
            assert cost_of(data[:cut]).kind in LIMITS


@pytest.mark.parametrize("kind", ["WEBP", "AVIF", "JPEG2000", "GIF"])
def test_another_process_gives_the_same_pixels(kind: str):
    data = encode(photograph((2600, 1800)), kind)
    assert is_heavy(data, cost_of(data))

    apart, here = load(data, size=128, colour="srgb"), decode_here(data, WANTED)

    assert isinstance(apart, Loaded)
    assert isinstance(here, Loaded)
    assert np.array_equal(apart.image, here.image)
    assert (apart.format, apart.width, apart.height) == (here.format, here.width, here.height)
    assert apart.reduction == here.reduction


def test_failures_come_back_from_the_other_process():
    whole = encode(photograph((2600, 1800)), "WEBP")

    loaded = load(whole[: len(whole) // 2], size=128)

    assert isinstance(loaded, Failure)
    assert loaded.code == FailureCode.DECODE_CORRUPT


def test_a_large_jpeg_2000_is_decoded_at_a_smaller_size():
    data = encode(photograph((2600, 1800)), "JPEG2000")

    loaded = load(data, size=128)
    picture = decode_picture(data, min_side=900)

    assert isinstance(loaded, Loaded)
    assert (loaded.width, loaded.height, loaded.image.size) == (2600, 1800, (650, 450))
    assert not isinstance(picture, Failure)
    assert (picture.reduction, picture.pixels.shape) == (2, (900, 1300, 3))


def test_a_decoding_that_takes_too_long_is_ended(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(isolation, "DEADLINE_SECONDS", 0.3)
    longest = 0.0
    stopped = threading.Event()

    def watch() -> None:
        nonlocal longest
        last = time.perf_counter()
        while not stopped.wait(0.01):
            longest, last = max(longest, time.perf_counter() - last), time.perf_counter()

    watching = threading.Thread(target=watch)
    watching.start()
    loaded = load(qoi(2800), size=128)
    stopped.set()
    watching.join()

    assert isinstance(loaded, Failure)
    assert loaded.code == FailureCode.DECODE_TIMEOUT
    assert longest < 1


@pytest.fixture
def pool() -> Iterator[Decoders]:
    pool = Decoders()
    yield pool
    pool.close()


def test_what_is_being_decoded_can_be_stopped(pool: Decoders):
    answers: list[object] = []
    waiting = threading.Thread(target=lambda: answers.append(pool.decode(qoi(2800), WANTED)))
    started = time.perf_counter()
    waiting.start()
    while not pool._busy and waiting.is_alive():
        time.sleep(0.01)
    pool.stop()
    waiting.join(5)

    assert not waiting.is_alive()
    assert time.perf_counter() - started < 8
    assert isinstance(answers[0], Failure)


def test_a_decoder_that_the_system_ends_has_run_out_of_memory(
    pool: Decoders, monkeypatch: pytest.MonkeyPatch
):
    ask = Child.ask

    def end_and_ask(child: Child, told: Json, data: bytes, *, seconds: float) -> Message:
        child.end()
        return ask(child, told, data, seconds=seconds)

    with monkeypatch.context() as patched:
        patched.setattr(Child, "ask", end_and_ask)
        failure = pool.decode(encode(photograph(), "PNG"), WANTED)

    assert isinstance(failure, Failure)
    assert failure.code == FailureCode.DECODE_OUT_OF_MEMORY
    assert isinstance(pool.decode(encode(photograph(), "PNG"), WANTED), Loaded)


def test_a_decoder_that_ended_while_it_waited_is_no_fault_of_the_next_file(pool: Decoders):
    assert isinstance(pool.decode(encode(photograph(), "PNG"), WANTED), Loaded)
    os.kill(pool._idle[0]._process.pid, signal.SIGKILL)
    pool._idle[0]._process.wait()

    assert isinstance(pool.decode(encode(photograph(), "PNG"), WANTED), Loaded)


def test_a_decoder_outlives_the_thread_that_started_it(pool: Decoders):
    answers: list[object] = []
    for _ in range(2):
        thread = threading.Thread(
            target=lambda: answers.append(pool.decode(encode(photograph(), "PNG"), WANTED))
        )
        thread.start()
        thread.join()
    process = pool._idle[0]._process

    assert all(isinstance(answer, Loaded) for answer in answers)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.5)


LITTLE_MEMORY = """
import resource, sys
from deepfake_core.images.decoding import decode_here
from deepfake_core.images.picture import Wanted
with open("/proc/self/statm") as statm:
    used = int(statm.read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 30 * 2**20,) * 2)
print(decode_here(sys.stdin.buffer.read(), Wanted(256, None, (255, 255, 255), "srgb")).code)
"""


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "AVIF", "GIF"])
def test_a_lack_of_memory_is_no_damage(kind: str):
    data = encode(Image.new("RGB", (3600, 3600), (1, 2, 3)), kind)

    done = subprocess.run(
        [sys.executable, "-c", LITTLE_MEMORY], input=data, capture_output=True, check=True
    )

    assert done.stdout.decode().strip() == "decode.out_of_memory"


def test_no_memory_in_this_process_is_told_as_such(monkeypatch: pytest.MonkeyPatch):
    def fail(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(decoding, "read_other", fail)
    loaded = load(encode(photograph(), "PNG"), size=64)

    assert isinstance(loaded, Failure)
    assert loaded.code == FailureCode.DECODE_OUT_OF_MEMORY


def test_the_decoders_end_with_their_program(tmp_path: Path):
    program = """
import sys
from deepfake_core.images.isolation import decoders
from deepfake_core.images.picture import Wanted
decoders.decode(b"x", Wanted(256, None, (255, 255, 255), "srgb"))
print(decoders._idle[0]._process.pid)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    process = Path("/proc") / done.stdout.decode().strip()
    for _ in range(100):
        if not process.exists():
            return
        time.sleep(0.05)
    raise AssertionError("the decoder outlived its program")


def test_nested_pictures_count_too():
    """An icon says 256 pixels a side; what it holds may say anything."""
    inner = encode(Image.new("1", (20_000, 8_000)), "PNG")
    icon = b"\0\0\1\0\1\0" + struct.pack("<BBBBHHII", 0, 0, 0, 0, 1, 32, len(inner), 22) + inner
    random.seed(1)
    started = time.perf_counter()
    loaded = load(icon, size=64)

    assert time.perf_counter() - started < 10
    assert isinstance(loaded, Failure | Loaded)
    assert io.BytesIO(icon).read(4) == b"\0\0\1\0"
