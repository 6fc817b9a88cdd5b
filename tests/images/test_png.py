"""PNGs whose chunks say much, or say it wrongly, about pixels that are whole."""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deepfake_core.images.decoding import load
from deepfake_core.images.png_chunks import MAX_CHUNKS
from deepfake_core.records import Failure, FailureCode
from tests.support.zoo import PNG_SIGNATURE, encode, photograph, png_chunk

PHOTO = encode(photograph(), "PNG")
HEADER_END = len(PNG_SIGNATURE) + 25


def with_chunk(kind: bytes, body: bytes, *, checksum: int | None = None) -> bytes:
    chunk = png_chunk(kind, body)
    if checksum is not None:
        chunk = chunk[:-4] + struct.pack(">I", checksum)
    return PHOTO[:HEADER_END] + chunk + PHOTO[HEADER_END:]


def png_of(pixels: np.ndarray, *chunks: bytes) -> bytes:
    """A PNG of uint8 or big-endian uint16 pixels, unfiltered."""
    height, width = pixels.shape[:2]
    colours = {2: 0, 3: 2}[pixels.ndim]
    header = struct.pack(">IIBBBBB", width, height, 8 * pixels.itemsize, colours, 0, 0, 0)
    rows = b"".join(b"\0" + row.tobytes() for row in pixels)
    parts = [png_chunk(b"IHDR", header), *chunks, png_chunk(b"IDAT", zlib.compress(rows))]
    return PNG_SIGNATURE + b"".join(parts) + png_chunk(b"IEND", b"")


def pixels(data: bytes, **options: object) -> np.ndarray:
    loaded = load(data, size=2000, **options)
    assert not isinstance(loaded, Failure), loaded
    return np.asarray(loaded.image).astype(int)


@pytest.mark.parametrize("kind", [b"iTXt", b"zTXt", b"iCCP", b"tEXt"])
def test_texts_and_profiles_of_any_size_are_no_reason_to_refuse(kind: bytes):
    long = zlib.compress(bytes(20_000_000))
    bodies = {
        b"iTXt": b"workflow\0\1\0\0\0" + long,
        b"zTXt": b"workflow\0\0" + long,
        b"iCCP": b"profile\0\0" + long,
        b"tEXt": b"workflow\0" + b"text" * 1_000_000,
    }

    for colour in ("as_stored", "srgb"):
        found = pixels(with_chunk(kind, bodies[kind]), colour=colour)
        assert np.array_equal(found, photograph())


@pytest.mark.parametrize("kind", [b"tEXt", b"pHYs", b"gAMA", b"iCCP", b"tRNS", b"eXIf", b"zzZz"])
def test_a_damaged_chunk_that_pixels_do_not_need_is_skipped(kind: bytes):
    damaged = with_chunk(kind, b"p\0\0damaged", checksum=1)

    assert np.array_equal(pixels(damaged, colour="srgb"), photograph())


@pytest.mark.parametrize("kind", [b"IDAT", b"PLTE", b"ABCD"])
def test_a_damaged_chunk_that_pixels_need_is_corrupt(kind: bytes):
    loaded = load(with_chunk(kind, b"damaged", checksum=1), size=64)

    assert isinstance(loaded, Failure)
    assert loaded.code == FailureCode.DECODE_CORRUPT


def test_more_chunks_than_a_picture_has_are_not_walked_through():
    many = PHOTO[:HEADER_END] + png_chunk(b"teSt", b"") * (MAX_CHUNKS + 1) + PHOTO[HEADER_END:]
    loaded = load(many, size=64)

    assert isinstance(loaded, Failure)
    assert loaded.code == FailureCode.DECODE_TOO_LARGE


@pytest.mark.parametrize("offset", [(0, 0), (8, 4)])
def test_the_default_image_of_an_animation_may_be_hidden(offset: tuple[int, int]):
    hidden = encode(Image.new("RGB", photograph().size, "blue"), "PNG")
    shown = photograph((photograph().width - offset[0], photograph().height - offset[1]))
    packed = encode(shown, "PNG")
    coded = packed[packed.index(b"IDAT") + 4 : -16]
    control = struct.pack(">IIIIIHHBB", 0, *shown.size, *offset, 1, 10, 0, 0)
    animation = png_chunk(b"acTL", struct.pack(">II", 1, 0))
    frames = png_chunk(b"fcTL", control) + png_chunk(b"fdAT", struct.pack(">I", 1) + coded)
    apng = hidden[:HEADER_END] + animation + hidden[HEADER_END:-12] + frames + hidden[-12:]

    found = pixels(apng)

    assert np.array_equal(found[offset[1] :, offset[0] :], shown)
    assert found.shape[:2] == photograph().size[::-1]
    assert (found[: offset[1]] == 255).all()


@pytest.mark.parametrize("channels", [1, 3])
def test_a_transparent_colour_of_16_bits_shows_the_background(channels: int):
    values = np.full((8, 8, 3)[: 2 + (channels == 3)], 0x1234, ">u2")
    values[:4, :4] = 0
    hole = png_chunk(b"tRNS", bytes(2 * channels))

    found = pixels(png_of(values, hole))

    assert (found[:4, :4] == 255).all()
    assert abs(found[4:, 4:] - 0x12).max() <= 1


@pytest.mark.parametrize("exponent", [100_000, 55_000])
@pytest.mark.parametrize("channels", [1, 3])
def test_gamma_is_followed(exponent: int, channels: int):
    """The same light, stored by another curve, gives nearly the same pixels."""
    wanted = np.asarray(photograph() if channels == 3 else photograph().convert("L")) / 255
    light = np.where(wanted <= 0.04045, wanted / 12.92, ((wanted + 0.055) / 1.055) ** 2.4)
    stored = np.rint(255 * light ** (exponent / 100_000)).astype(np.uint8)
    data = png_of(stored, png_chunk(b"gAMA", struct.pack(">I", exponent)))

    found = pixels(data, colour="srgb")[..., 0] / 255

    expected = wanted[..., 0] if channels == 3 else wanted
    assert abs(found - expected).mean() < 0.01
    assert np.array_equal(pixels(data)[..., 0], stored[..., 0] if channels == 3 else stored)


@pytest.mark.parametrize("told", ["sRGB", "gAMA 2.2"])
def test_what_says_that_it_is_srgb_is_left_alone(told: str):
    chunks = {"sRGB": (b"sRGB", b"\0"), "gAMA 2.2": (b"gAMA", struct.pack(">I", 45_455))}

    assert np.array_equal(pixels(with_chunk(*chunks[told]), colour="srgb"), photograph())


def test_the_light_of_hdr_pictures_is_that_of_ordinary_ones():
    """PQ tells nits: ordinary white has 203 of them."""
    wanted = np.asarray(photograph()) / 255
    light = np.where(wanted <= 0.04045, wanted / 12.92, ((wanted + 0.055) / 1.055) ** 2.4)
    power = (light * 203 / 10_000) ** 0.1593017578125
    stored = ((0.8359375 + 18.8515625 * power) / (1 + 18.6875 * power)) ** 78.84375
    data = png_of(np.rint(65535 * stored).astype(">u2"), png_chunk(b"cICP", bytes((1, 16, 0, 1))))

    found = pixels(data, colour="srgb") / 255

    assert abs(found - wanted).mean() < 0.02
    assert abs(pixels(data) / 255 - wanted).mean() > 0.1


def test_the_files_that_were_called_corrupt_or_hidden(shared: Path):
    cases = shared / "cases"
    for folder in ("08-png-large-text-or-icc", "09-png-ancillary-crc"):
        for path in (cases / folder).glob("*.png"):
            pixels(path.read_bytes())
    scene = pixels(next((cases / "18-apng-hidden-default").glob("*.png")).read_bytes())
    assert len(np.unique(scene.reshape(-1, 3), axis=0)) > 2


def test_profiles_of_photographs_are_followed(shared: Path):
    case = shared / "cases/14-colour-profile"
    wide, srgb = (
        (case / name).read_bytes() for name in ("same-colours-display-p3.jpg", "srgb.jpg")
    )

    assert abs(pixels(wide, colour="srgb") - pixels(srgb, colour="srgb")).mean() < 1.5
    assert abs(pixels(wide) - pixels(srgb)).mean() > 2


def test_heif_brands_and_padding(shared: Path):
    case = shared / "cases/20-smaller-decodings"
    for path in (*case.glob("*.avif"), *case.glob("*.webp")):
        pixels(path.read_bytes())
    stream = io.BytesIO()
    photograph().save(stream, "AVIF", exif=b"Exif\0\0II*\0\x08\0\0\0" + bytes(4000))
    pixels(stream.getvalue())
    stream = io.BytesIO()
    photograph().save(stream, "WEBP", exif=b"Exif\0\0II*\0\x08\0\0\0" + bytes(4000))
    pixels(stream.getvalue())
