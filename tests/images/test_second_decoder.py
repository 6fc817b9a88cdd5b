"""Every kind of TIFF and PNG that is read is read as another decoder reads it, or refused by name.

The files are written by tifffile and imagecodecs; what they show is known, since they were made
of known pixels.
"""

import io
import itertools
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deepfake_core.images.decoding import decode_picture, load
from deepfake_core.images.picture import Loaded
from deepfake_core.images.tiff_layout import MAX_VALUES
from deepfake_core.records import Failure, FailureCode
from tests.support.zoo import photograph

tifffile = pytest.importorskip("tifffile", reason="the second decoder is for development")
imagecodecs = pytest.importorskip("imagecodecs", reason="the second decoder is for development")

SIZE = (96, 64)
WHITE = {"u1": 255, "u2": 65535, "u4": 2**32 - 1, "f2": 1.0, "f4": 1.0, "f8": 1.0}
LAYOUTS = ("minisblack", "miniswhite", "rgb", "grey+alpha", "rgb+alpha", "cmyk")
PACKINGS = (None, "lzw", "zlib", "packbits", "zstd", "lzma")
CELLS = [
    cell
    for cell in itertools.product(
        LAYOUTS, WHITE, ("contig", "separate"), PACKINGS, ("<", ">"), (False, True), (None, 32)
    )
    # Predictors are for what is packed, and channels lie apart where there are several.
    if not (cell[5] and cell[3] in (None, "packbits"))
    and not (cell[2] == "separate" and cell[0] in ("minisblack", "miniswhite"))
]


def shown() -> np.ndarray:
    """float[H, W, 3], 0 to 1."""
    return np.asarray(photograph(SIZE)) / 255


def cell_of(
    layout: str,
    dtype: str,
    planar: str,
    packing: str | None,
    order: str,
    predicted: bool,
    tile: int | None,
) -> tuple[bytes, np.ndarray]:
    """A file and the picture that it shows, float[H, W, 3], 0 to 1."""
    colours, white = shown(), WHITE[dtype]
    grey = colours.mean(axis=2, keepdims=True)
    alpha = np.broadcast_to(np.linspace(0, 1, SIZE[0])[None, :, None], grey.shape)
    values, expected = {
        "minisblack": (grey, grey),
        "miniswhite": (1 - grey, grey),
        "rgb": (colours, colours),
        "grey+alpha": (np.concatenate([grey, alpha], 2), grey * alpha + 1 - alpha),
        "rgb+alpha": (np.concatenate([colours, alpha], 2), colours * alpha + 1 - alpha),
        "cmyk": (np.concatenate([1 - colours, 0 * grey], 2), colours),
    }[layout]
    stored = values * white
    stored = (np.floor(stored) if dtype[0] == "u" else stored).astype(np.dtype(dtype))
    photometric = {"grey+alpha": "minisblack", "rgb+alpha": "rgb", "cmyk": "separated"}
    options: dict[str, object] = {"photometric": photometric.get(layout, layout)}
    if "alpha" in layout:
        options["extrasamples"] = ["unassalpha"]
    if values.shape[2] > 1:
        options["planarconfig"] = planar
    if tile:
        options["tile"] = (tile, tile)
    stored = stored[..., 0] if values.shape[2] == 1 else stored
    stored = np.moveaxis(stored, 2, 0) if planar == "separate" else stored
    stream = io.BytesIO()
    tifffile.imwrite(
        stream,
        stored,
        byteorder=order,
        compression=packing,
        predictor=predicted or None,
        rowsperstrip=None if tile else 20,
        metadata=None,
        **options,
    )
    return stream.getvalue(), np.broadcast_to(expected, colours.shape)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", WHITE)
def test_every_cell_is_as_it_was_written_or_is_refused_by_name(layout: str, dtype: str):
    wrong, read = {}, 0
    for cell in (cell for cell in CELLS if cell[:2] == (layout, dtype)):
        data, expected = cell_of(*cell)
        loaded = load(data, size=2000)
        if isinstance(loaded, Failure):
            # As a colour this is in no program, and one such file is known to be damaged.
            known = "32 bits" if dtype == "u4" else "TIFF"
            if known not in loaded.detail:
                wrong[cell] = loaded
            continue
        read += 1
        difference = abs(np.asarray(loaded.image) / 255 - expected).max()
        if difference > 2.5 / 255:
            wrong[cell] = difference
    assert not wrong
    assert read or (dtype == "u4" and layout in ("rgb", "rgb+alpha", "cmyk"))


def test_the_picture_is_judged_and_not_its_thumbnail():
    small, whole = np.zeros((12, 16, 3), np.uint8), np.asarray(photograph(SIZE))
    stream = io.BytesIO()
    with tifffile.TiffWriter(stream) as file:
        file.write(small, subfiletype=1, photometric="rgb", metadata=None)
        file.write(whole, photometric="rgb", metadata=None)

    picture = decode_picture(stream.getvalue())

    assert not isinstance(picture, Failure)
    assert np.array_equal(picture.pixels, whole)


@pytest.mark.parametrize(("photometric", "channels"), [("cfa", ()), ("linear_raw", (3,))])
def test_raw_files_are_named(photometric: str, channels: tuple[int, ...]):
    stream = io.BytesIO()
    with tifffile.TiffWriter(stream) as file:
        preview = np.zeros((12, 16, 3), np.uint8)
        file.write(preview, photometric="rgb", subfiletype=1, subifds=1, metadata=None)
        sensor = np.zeros((64, 96, *channels), np.uint16)
        file.write(sensor, photometric=photometric, metadata=None)

    failure = load(stream.getvalue(), size=64)

    assert isinstance(failure, Failure)
    assert (failure.code, failure.detail[:10]) == (FailureCode.DECODE_UNSUPPORTED, "camera raw")


@pytest.mark.parametrize("orientation", range(1, 9))
def test_deep_pictures_are_turned_as_others_are(orientation: int):
    deep = np.asarray(photograph(SIZE)).astype(np.uint16) * 257
    turned = []
    for pixels in (deep, (deep >> 8).astype(np.uint8)):
        stream = io.BytesIO()
        tags = [(274, "H", 1, orientation, True)]
        tifffile.imwrite(stream, pixels, photometric="rgb", extratags=tags, metadata=None)
        loaded = load(stream.getvalue(), size=2000)
        assert isinstance(loaded, Loaded)
        turned.append((np.asarray(loaded.image), loaded.width, loaded.height))

    assert np.array_equal(turned[0][0], turned[1][0])
    assert turned[0][1:] == turned[1][1:]


def test_more_strips_than_a_picture_has_are_not_listed():
    count = MAX_VALUES + 1
    entries = [(256, 4, 1, 64), (257, 4, 1, count), (258, 3, 1, 8), (262, 3, 1, 1)]
    entries += [(273, 4, count, 200), (278, 4, 1, 1), (279, 4, count, 200)]
    packed = b"".join(struct.pack("<HHII", *entry) for entry in entries)
    data = b"II*\0" + struct.pack("<IH", 8, len(entries)) + packed + bytes(4)

    failure = load(data.ljust(200 + 4 * count, b"\1"), size=64)

    assert isinstance(failure, Failure)
    assert failure.code == FailureCode.DECODE_TOO_LARGE


def test_what_was_garbled_negative_or_a_thumbnail(shared: Path):
    def pixels(name: str) -> np.ndarray:
        loaded = load((shared / "cases" / name).read_bytes(), size=2000)
        assert isinstance(loaded, Loaded), loaded
        return np.asarray(loaded.image).astype(int)

    apart = pixels("11-tiff-16bit-planar/rgb16-planar.tif")
    assert np.array_equal(apart, pixels("11-tiff-16bit-planar/rgb16-contig.tif"))
    control = pixels("12-tiff-deep-grey/control-8.tif")
    for path in sorted((shared / "cases/12-tiff-deep-grey").glob("*.tif")):
        assert abs(pixels(f"12-tiff-deep-grey/{path.name}") - control).max() <= 1
    assert pixels("13-raw-thumbnail/thumbnail-first.tif").shape == (120, 120, 3)
    pixels("19-valid-called-damaged/rgb-float.tif")
    pixels("19-valid-called-damaged/grey-alpha-16.tif")


@pytest.mark.parametrize("dtype", ["u1", "u2"])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_pngs_of_all_depths_and_channels_are_as_they_were_written(dtype: str, channels: int):
    colours, white = shown(), WHITE[dtype]
    alpha = np.broadcast_to(np.linspace(0, 1, SIZE[0])[None, :, None], (*SIZE[::-1], 1))
    picture = colours if channels > 2 else colours.mean(axis=2, keepdims=True)
    values, expected = picture, picture
    if channels in (2, 4):
        values, expected = np.concatenate([picture, alpha], 2), picture * alpha + 1 - alpha
    data = imagecodecs.png_encode(np.floor(values * white).astype(dtype))

    picture = decode_picture(bytes(data))

    assert not isinstance(picture, Failure)
    assert abs(picture.pixels / 255 - expected).max() < 2.5 / 255


def test_variants_that_are_not_read_are_named():
    head = bytes(6) + struct.pack(">HIIHH", 3, 8, 8, 16, 3) + bytes(40)
    stream = io.BytesIO()
    tifffile.imwrite(stream, np.zeros((16, 16), np.int16), metadata=None)
    lerc, webp = io.BytesIO(), io.BytesIO()
    tifffile.imwrite(lerc, np.zeros((16, 16), np.uint8), compression="lerc", metadata=None)
    tifffile.imwrite(webp, np.zeros((16, 16, 3), np.uint8), compression="webp", metadata=None)
    psd = b"8BPS\0\1" + bytes(6) + struct.pack(">HII", 3, 8, 8)
    bmp = b"BM" + bytes(12) + struct.pack("<IiiHHI", 40, 8, 8, 1, 0, 4) + bytes(60)
    dds = struct.pack("<7I44x2I4s40x", 124, 0x1007, 16, 16, 0, 0, 0, 32, 4, b"NONE")
    files = {
        "DDS with pixels of the kind NONE": b"DDS " + dds,
        "PSD of 16 bits": b"8BPS\0\1" + head,
        "PSB": b"8BPS\0\2" + head,
        "PSD of separate inks": psd + struct.pack(">HH", 8, 7) + bytes(14 + 192),
        "deflated": psd + struct.pack(">HH4xI5xH", 8, 3, 1, 2) + bytes(99),
        "JPEG wrapped in BMP": bmp,
        "compression 50001": webp.getvalue(),
        "signed": stream.getvalue(),
        "compression 34887": lerc.getvalue(),
    }

    for name, data in files.items():
        failure = load(data, size=64)
        assert isinstance(failure, Failure)
        assert failure.code == FailureCode.DECODE_UNSUPPORTED
        assert name in failure.detail


def dds_of(flags: int, kind: bytes, *, bits: int = 32, number: int = 0) -> bytes:
    """A DDS of 16 by 16 pixels, all of whose bytes are 0."""
    head = struct.pack("<7I44x2I4sI36x", 124, 0x1007, 16, 16, 0, 0, 0, 32, flags, kind, bits)
    return b"DDS " + head + struct.pack("<5I", number, 3, 0, 1, 0) + bytes(4096)


def test_dds_files_are_called_unread_where_pillow_does_not_know_how_their_pixels_are_stored():
    kinds = ("DXT1", "DXT2", "DXT3", "DXT5", "BC4U", "BC4S", "ATI1", "ATI2", "BC5S", "BC5U", "UYVY")
    files = {kind: dds_of(0x4, kind.encode()) for kind in kinds}
    files |= {f"DXGI {number}": dds_of(0x4, b"DX10", number=number) for number in range(133)}
    files |= {f"flags {flags}": dds_of(flags, bytes(4)) for flags in (0, 1, 2, 0x20, 0x40, 0x41)}
    greys = ((0x20000, 8), (0x20000, 16), (0x20001, 16), (0x20000, 32))
    files |= {f"grey {grey}": dds_of(grey[0], bytes(4), bits=grey[1]) for grey in greys}
    for name, data in files.items():
        try:
            Image.open(io.BytesIO(data), formats=("DDS",))
            known = True
        except (NotImplementedError, OSError):
            known = False
        failure = load(data, size=64)
        named = isinstance(failure, Failure) and failure.code == FailureCode.DECODE_UNSUPPORTED
        assert named != known, name
