import csv
import re
import subprocess
import sys
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pi_heif
import pytest
import simplejpeg
from hypothesis import given, settings
from hypothesis import strategies as st

from deepfake_core.images.decoding import MAX_PIXELS, decode, load, resize
from deepfake_core.images.formats import has_image_signature
from deepfake_core.records import Decoded, Failure, FailureCode, UInt8Array
from tests.support.zoo import (
    END_OF_JPEG,
    ZOO,
    deep_grey,
    encode,
    photograph,
    png_of_size,
    translucent,
)
from tests.support.zoo import turned as turned_image

ROOT = Path(__file__).resolve().parents[2]
ODD_IMAGES = ROOT.parent / "shared" / "odd_images"
needs_odd_images = pytest.mark.skipif(
    not ODD_IMAGES.is_dir(), reason="the collection of odd images is not beside the checkout"
)
JPEGS = {
    "baseline": encode(photograph(), "JPEG"),
    "progressive": encode(photograph(), "JPEG", progressive=True),
    "restarts": encode(photograph(), "JPEG", restart_marker_blocks=1),
}
# What the EXIF orientations do to rows and columns, by numpy rather than by Pillow.
UPRIGHT: dict[int, Callable[[UInt8Array], UInt8Array]] = {
    1: lambda pixels: pixels,
    2: np.fliplr,
    3: lambda pixels: np.rot90(pixels, 2),
    4: np.flipud,
    5: lambda pixels: pixels.transpose(1, 0, 2),
    6: lambda pixels: np.rot90(pixels, -1),
    7: lambda pixels: np.rot90(pixels, 2).transpose(1, 0, 2),
    8: np.rot90,
}


def pixels_of(data: bytes, **options: object) -> UInt8Array:
    """The whole upright image of a file that must be readable."""
    loaded = load(data, size=2000, **options)
    assert not isinstance(loaded, Failure), loaded
    return np.asarray(loaded.image)


def difference(one: UInt8Array, other: UInt8Array) -> float:
    assert one.shape == other.shape
    return float(np.abs(one.astype(float) - other.astype(float)).mean())


def answer(data: bytes) -> tuple[str, str | None]:
    """Status and failure code of a file; what is promised of every answer is checked here."""
    result = decode(data, size=32)
    if isinstance(result, Decoded):
        assert result.pixels.shape == (32, 32, 3)
        assert result.pixels.dtype == np.uint8
        assert min(result.width, result.height) > 0
        return "ok", None
    assert result.code.startswith("decode.")
    assert 0 < len(result.detail) <= 200
    assert not re.search(r"(^|[\s'\"])(/\w|[A-Z]:\\)| object at 0x|Warning", result.detail)
    return "failed", result.code.value


@pytest.mark.parametrize("name", ZOO)
def test_every_animal_of_the_zoo_gets_the_answer_it_should(name: str):
    data, status, failure = ZOO[name]

    assert answer(data) == (status, failure)


@needs_odd_images
def test_every_file_of_the_collection_gets_the_answer_it_should():
    with (ODD_IMAGES / "odd_images.csv").open(newline="") as table:
        rows = list(csv.DictReader(table))
    about = {"expected_status": "failed", "expected_failure": "decode.unsupported"}
    rows += [{"path": name, **about} for name in ("README.md", "odd_images.csv")]

    wrong = {}
    for row in rows:
        status, failure = answer((ODD_IMAGES / row["path"]).read_bytes())
        expected = row["expected_status"], row["expected_failure"]
        if row["expected_status"] and (status, failure or "") != expected:
            wrong[row["path"]] = (status, failure)
    assert len(rows) > 2
    assert wrong == {}


@needs_odd_images
def test_a_heic_cut_anywhere_is_no_image_and_a_whole_one_is_turned_once():
    for path in sorted((ODD_IMAGES / "heic").iterdir()):
        data = path.read_bytes()
        for share in (0.02, 0.3, 0.6, 0.9, 0.99):
            assert answer(data[: int(share * len(data))])[0] == "failed"
        loaded = load(data + b"left over", size=64)
        upright = pi_heif.open_heif(data).to_pillow().convert("RGB")
        assert not isinstance(loaded, Failure)
        assert (loaded.format, loaded.width, loaded.height) == ("HEIF", *upright.size)
        assert np.array_equal(resize(loaded.image, 64), resize(upright, 64))


def test_the_samples_are_what_their_names_say():
    samples = {path.name: path.read_bytes() for path in (ROOT / "data" / "samples").iterdir()}
    expected = {
        "broken-truncated.jpg": "decode.corrupt",
        "not-an-image.jpg": "decode.unsupported",
        "SOURCES.md": "decode.unsupported",
    }

    failures = {name: code for name in samples if (code := answer(samples[name])[1])}

    assert failures == expected
    portrait = pixels_of(samples["portrait-astronaut.jpg"])
    assert difference(portrait, pixels_of(samples["portrait-rotated-exif-6.jpg"])) < 2
    assert sum(map(len, samples.values())) < 1_000_000
    sources = samples["SOURCES.md"].decode()
    unnamed = [name for name in samples if name not in sources and not name.startswith("render")]
    assert unnamed == ["SOURCES.md"]


@given(st.binary(max_size=300), st.sampled_from([b"", *(d[:24] for d, _, _ in ZOO.values())]))
@settings(deadline=None, max_examples=300)
def test_any_bytes_get_an_answer(data: bytes, start: bytes):
    status, failure = answer(start + data)

    if failure == "decode.unsupported" and start + data:
        assert not has_image_signature(start + data)
    if failure == "decode.corrupt":
        assert has_image_signature(start + data)
    assert status in ("ok", "failed")


@given(st.sampled_from(sorted(ZOO)), st.lists(st.tuples(st.floats(0, 1), st.binary(max_size=4))))
@settings(deadline=None, max_examples=300)
def test_a_damaged_file_gets_an_answer(name: str, patches: list[tuple[float, bytes]]):
    data = bytearray(ZOO[name][0])
    for share, patch in patches:
        place = int(share * len(data))
        data[place : place + len(patch)] = patch

    assert answer(bytes(data))[0] in ("ok", "failed")


@given(st.sampled_from(sorted(JPEGS)), st.data())
@settings(deadline=None, max_examples=200)
def test_a_jpeg_cut_before_its_last_pixel_is_no_image(kind: str, data: st.DataObject):
    whole = JPEGS[kind]
    cut = data.draw(st.integers(0, len(whole) - len(END_OF_JPEG) - 1))
    padding = bytes(len(whole) - cut)

    assert answer(whole[:cut])[0] == "failed"
    assert answer(whole[:cut] + padding)[0] == "failed"
    closed = load(whole[:cut] + END_OF_JPEG, size=64)
    # A cut that took only the bits that fill up the last byte took nothing.
    assert isinstance(closed, Failure) or np.array_equal(closed.image, pixels_of(whole))


@pytest.mark.parametrize("kind", ["PNG", "GIF", "WEBP", "AVIF", "BMP", "TIFF", "JPEG2000", "QOI"])
def test_a_file_cut_anywhere_is_no_image_or_lost_no_pixel(kind: str):
    whole = encode(photograph(), kind)
    expected = pixels_of(whole)

    for cut in np.linspace(0, len(whole) - 1, 60).astype(int):
        loaded = load(whole[:cut], size=64)
        assert isinstance(loaded, Failure) or np.array_equal(loaded.image, expected)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_images_are_turned_upright_once(kind: str, orientation: int):
    stored = pixels_of(turned_image(kind, 1))
    loaded = load(turned_image(kind, orientation), size=64)

    assert not isinstance(loaded, Failure)
    expected = UPRIGHT[orientation](stored)
    assert np.array_equal(loaded.image, expected)
    assert (loaded.height, loaded.width) == expected.shape[:2]


@pytest.mark.parametrize("background", [(255, 255, 255), (0, 0, 0), (10, 200, 30)])
@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF"])
def test_transparent_pixels_show_the_stated_background(kind: str, background: tuple[int, int, int]):
    options = {"lossless": True, "exact": True} if kind == "WEBP" else {}
    image = np.asarray(translucent()).astype(float)
    colours, opacity = image[..., :3], image[..., 3:] / 255

    flat = pixels_of(encode(translucent(), kind, **options), background=background)

    assert np.abs(flat - (opacity * colours + (1 - opacity) * background)).max() <= 1


def test_a_transparent_colour_of_a_palette_shows_the_background():
    palette = photograph().quantize(8)
    hole = np.asarray(palette) == 3

    flat = pixels_of(encode(palette, "PNG", transparency=3), background=(1, 2, 3))

    assert hole.any()
    assert (flat[hole] == (1, 2, 3)).all()
    assert np.array_equal(flat[~hole], np.asarray(palette.convert("RGB"))[~hole])


def test_16_bits_are_reduced_and_not_clipped():
    expected = np.asarray(deep_grey()) / 257

    for kind in ("PNG", "TIFF"):
        grey = pixels_of(encode(deep_grey(), kind))
        assert np.abs(grey - expected[..., None]).max() <= 0.51


def test_cmyk_and_ycck_have_the_colours_that_were_printed():
    inks = np.asarray(photograph().convert("CMYK"))
    # Adobe stores inks inverted; the strict encoder turns CMYK into YCCK.
    ycck = simplejpeg.encode_jpeg(np.ascontiguousarray(255 - inks), 95, "CMYK", "444")

    for data in (encode(photograph().convert("CMYK"), "JPEG", quality=95), ycck):
        assert difference(pixels_of(data), np.asarray(photograph())) < 4


@pytest.mark.parametrize("name", ["animated.png", "animated.gif", "pages.tif"])
def test_the_first_frame_is_judged(name: str):
    first = photograph()
    expected = first.quantize(32).convert("RGB") if name.endswith("gif") else first

    assert difference(pixels_of(ZOO[name][0]), np.asarray(expected)) < 0.01


def test_scaled_decoding_hardly_changes_the_pixels():
    picture = photograph((1200, 900))
    large = encode(picture, "JPEG", quality=92)

    result = decode(large, size=128)

    assert isinstance(result, Decoded)
    assert (result.width, result.height) == (1200, 900)
    scaled = load(large, size=128)
    assert not isinstance(scaled, Failure)
    assert scaled.image.size == (600, 450)
    full = load(large, size=1200)
    assert not isinstance(full, Failure)
    assert full.image.size == (1200, 900)
    assert 0 < difference(result.pixels, resize(full.image, 128)) < 1


@pytest.mark.parametrize("side", [1, 3, 7, 8, 255])
def test_small_jpegs_are_not_scaled(side: int):
    loaded = load(encode(photograph((side, side)), "JPEG"), size=128)

    assert not isinstance(loaded, Failure)
    assert loaded.image.size == (side, side)


def test_the_limit_on_pixels_counts_and_warnings_do_not():
    """Pillow warns of this size; under pytest that would be an error."""
    below, above = png_of_size(10_000, MAX_PIXELS // 10_000), png_of_size(10_001, 12_000)

    assert answer(below) == ("failed", FailureCode.DECODE_CORRUPT)
    assert answer(above) == ("failed", FailureCode.DECODE_TOO_LARGE)


def test_threads_give_the_same_answers_and_leave_the_warnings_alone():
    files = [data for data, _, _ in ZOO.values()] * 3
    filters = list(warnings.filters)
    alone = [decode(data, size=32) for data in files]

    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda data: decode(data, size=32), files))

    assert warnings.filters == filters
    for one, other in zip(alone, together, strict=True):
        if isinstance(one, Decoded):
            assert isinstance(other, Decoded)
            assert np.array_equal(one.pixels, other.pixels)
        else:
            assert one == other


@pytest.mark.processes
def test_importing_changes_nothing_in_other_libraries():
    program = """
import warnings
from PIL import Image, ImageFile
Image.init()
def state():
    return (Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES, sorted(Image.OPEN),
            list(warnings.filters))
import numpy, pi_heif, simplejpeg
before = state()
import deepfake_core.images.decoding
assert state() == before
"""
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True)


def test_libtiff_says_nothing_about_pictures(shared: Path, capfd: pytest.CaptureFixture[str]):
    pictures = sorted((shared / "odd_images").rglob("*.tif*"))
    assert pictures
    for path in pictures:
        decode(path.read_bytes(), size=128)
    assert capfd.readouterr().err == ""
