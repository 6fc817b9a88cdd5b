"""JPEGs that are odd and whole, odd and not read, or made to keep a reader busy."""

import io
import struct
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deepfake_core.images.decoding import load
from deepfake_core.images.exif_orientation import exif_orientation
from deepfake_core.images.jpeg_segments import MAX_SEGMENTS, read_facts
from deepfake_core.records import Failure, FailureCode
from tests.support.zoo import END_OF_JPEG, encode, photograph

PLAIN = encode(photograph((256, 192)), "JPEG")
PROGRESSIVE = encode(photograph((256, 192)), "JPEG", progressive=True)
STRAYS = np.random.default_rng(5).integers(0, 255, 300, np.uint8).tobytes()


def segment(code: int, body: bytes) -> bytes:
    return bytes((0xFF, code)) + struct.pack(">H", len(body) + 2) + body


def pixels(data: bytes) -> np.ndarray:
    loaded = load(data, size=2000)
    assert not isinstance(loaded, Failure), loaded
    return np.asarray(loaded.image)


def failure_of(data: bytes) -> Failure:
    loaded = load(data, size=64)
    assert isinstance(loaded, Failure)
    return loaded


def seconds_of(data: bytes) -> float:
    started = time.process_time()
    load(data, size=64)
    return time.process_time() - started


@pytest.mark.parametrize("run", [b"\xff" * 2_000_000, b"\xff" * 2_000_000 + b"\0"])
def test_runs_of_fill_bytes_take_no_longer_than_other_bytes(run: bytes):
    filled = PLAIN[:2] + run + PLAIN[2:]

    assert seconds_of(filled) < 1
    assert np.array_equal(pixels(filled), pixels(PLAIN))
    scan = PROGRESSIVE.index(b"\xff\xda") + 40
    assert seconds_of(PROGRESSIVE[:scan] + run + PROGRESSIVE[scan:]) < 1


def test_millions_of_comments_or_restarts_are_not_walked_through():
    comments = PLAIN[:2] + segment(0xFE, b"") * 1_000_000 + PLAIN[2:]
    restarts = PROGRESSIVE[:-2] + b"\xff\xd0" * 4_000_000 + END_OF_JPEG

    assert failure_of(comments).code == FailureCode.DECODE_TOO_LARGE
    assert seconds_of(comments) < 1
    assert seconds_of(restarts) < 2
    some = PLAIN[:2] + segment(0xFE, b"mine") * (MAX_SEGMENTS // 2) + PLAIN[2:]
    assert np.array_equal(pixels(some), pixels(PLAIN))


@pytest.mark.parametrize(("side", "extra"), [(512, 78_000), (4000, 20_000), (60, 3_000_000)])
def test_empty_scans_are_counted_in_sequential_files_too(side: int, extra: int):
    tables = segment(0xDB, b"\0" + b"\1" * 64)
    components = bytes((1, 0x11, 0, 2, 0x11, 0, 3, 0x11, 0))
    frame = segment(0xC0, struct.pack(">BHHB", 8, side, side, 3) + components)
    huffman = b"".join(
        segment(0xC4, kind + bytes([1] + [0] * 15) + b"\0") for kind in (b"\0", b"\x10")
    )
    scans = [segment(0xDA, bytes((1, name, 0, 0, 63, 0))) for name in (1, 2, 3)]
    blocks = ((side + 7) // 8) ** 2
    coded = bytes((2 * blocks + 7) // 8)
    data = b"\xff\xd8" + tables + frame + huffman + b"".join(scan + coded for scan in scans)

    bomb = data + scans[0] * extra + END_OF_JPEG

    assert failure_of(bomb).code in (FailureCode.DECODE_TOO_LARGE, FailureCode.DECODE_CORRUPT)
    assert seconds_of(bomb) < 5


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"restart_marker_blocks": 3}])
def test_only_the_end_marker_is_missing_or_late(options: dict[str, object]):
    whole = encode(photograph((256, 192)), "JPEG", **options)
    bare = whole[: -len(END_OF_JPEG)]

    for odd in (bare, bare + b"\r\n", bare + STRAYS + END_OF_JPEG, bare + bytes(5000)):
        assert np.array_equal(pixels(odd), pixels(whole))
    for cut in (8, 100, 1000):
        assert failure_of(bare[:-cut]).code == FailureCode.DECODE_CORRUPT
        assert failure_of(bare[:-cut] + bytes(cut)).code == FailureCode.DECODE_CORRUPT


def test_a_gap_in_the_middle_is_not_taken_for_strays_at_the_end():
    """Most such files end anywhere in a byte; they are told by it."""
    scan = PLAIN.index(b"\xff\xda") + 500
    refused = sum(
        isinstance(load(PLAIN[:at] + PLAIN[at + 300 :], size=64), Failure)
        for at in range(scan, scan + 2000, 50)
    )

    assert refused >= 36


def test_a_file_that_was_sent_as_a_text_is_damaged():
    sent = PLAIN.replace(b"\n", b"\r\n")
    assert sent.count(b"\n", sent.index(b"\xff\xda")) >= 8

    failure = failure_of(sent)

    assert failure.code == FailureCode.DECODE_CORRUPT
    assert "as if it were a text" in failure.detail
    commented = PLAIN[:2] + segment(0xFE, b"a line\r\n" * 100) + PLAIN[2:] + b"\r\n" * 100
    assert np.array_equal(pixels(commented), pixels(PLAIN))


def test_variants_that_are_not_read_are_named():
    frame = PLAIN.index(b"\xff\xc0")
    lossless = PLAIN[: frame + 1] + b"\xc3" + PLAIN[frame + 2 :]
    deep = PLAIN[: frame + 4] + b"\x0c" + PLAIN[frame + 5 :]

    for data, name in ((lossless, "lossless"), (deep, "12-bit")):
        failure = failure_of(data)
        assert failure.code == FailureCode.DECODE_UNSUPPORTED
        assert name in failure.detail
        assert failure_of(data[: len(data) // 2]).code == FailureCode.DECODE_CORRUPT


@pytest.mark.parametrize("kind", ["JPEG", "WEBP", "AVIF", "TIFF", "PNG"])
def test_xmp_turns_nothing(kind: str):
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
    options = {"tiffinfo": {700: xmp}} if kind == "TIFF" else {"xmp": xmp}
    picture = photograph((64, 48))
    stream = io.BytesIO()
    picture.save(stream, kind, **options)

    loaded = load(stream.getvalue(), size=64)

    assert not isinstance(loaded, Failure)
    assert (loaded.width, loaded.height, loaded.image.size) == (64, 48, (64, 48))


@pytest.mark.parametrize("order", ["<", ">"])
def test_the_orientation_is_found_in_either_byte_order(order: str):
    start = b"II*\0" if order == "<" else b"MM\0*"
    entry = struct.pack(order + "HHIHH", 0x0112, 3, 1, 8, 0)
    block = start + struct.pack(order + "IH", 8, 1) + entry

    assert exif_orientation(b"Exif\0\0" + block) == 8
    assert exif_orientation(block) == 8
    for broken in (None, b"", block[:9], block[:-3], b"XX" + block[2:]):
        assert exif_orientation(broken) == 1


def test_a_profile_in_parts_is_put_together():
    profile = bytes(range(256)) * 600
    stream = io.BytesIO()
    Image.new("RGB", (16, 16)).save(stream, "JPEG", icc_profile=profile)

    assert read_facts(stream.getvalue()).profile == profile


def test_the_files_that_were_called_corrupt(shared: Path):
    control = pixels((shared / "cases/10-jpeg-whole-called-corrupt/control.jpg").read_bytes())
    for path in (shared / "cases/10-jpeg-whole-called-corrupt").glob("*.jpg"):
        assert np.array_equal(pixels(path.read_bytes()), control)
    for path in (shared / "cases/03-jpeg-ff-run-hang").glob("*.jpg"):
        assert seconds_of(path.read_bytes()) < 0.5
    for path in (shared / "cases/19-valid-called-damaged").glob("*.jpg"):
        assert failure_of(path.read_bytes()).code == FailureCode.DECODE_UNSUPPORTED
