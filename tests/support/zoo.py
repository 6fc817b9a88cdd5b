"""A small zoo of odd images, built in code: what a real bucket holds.

`ZOO` has each by name: its bytes, the expected status, the expected failure code.
"""

import io
import struct
import zlib

import numpy as np
from PIL import Image

SIZE = (48, 32)
END_OF_JPEG = b"\xff\xd9"
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
CORRUPT, TOO_LARGE, UNSUPPORTED = "decode.corrupt", "decode.too_large", "decode.unsupported"

Odd = tuple[bytes, str, str | None]


def photograph(size: tuple[int, int] = SIZE, *, seed: int = 0) -> Image.Image:
    """Smooth colours with some noise, no two corners alike, so that a turn shows."""
    width, height = size
    x, y = np.meshgrid(np.linspace(0, 1, width), np.linspace(0, 1, height))
    colours = np.stack([230 * x + 10, 200 * y + 30, 120 * (1 - x) * (1 - y) + 60], axis=-1)
    noise = np.random.default_rng(seed).normal(0, 8, colours.shape)
    return Image.fromarray(np.clip(colours + noise, 0, 255).astype(np.uint8))


def encode(image: Image.Image, kind: str, **options: object) -> bytes:
    """The bytes of an image in a format."""
    stream = io.BytesIO()
    # A copy, for Pillow leaves options of the last encoder on the image.
    image.copy().save(stream, kind, **options)
    return stream.getvalue()


def second_frame() -> dict[str, object]:
    """Options of `encode` that add a frame, upside down."""
    return {"save_all": True, "append_images": [photograph().rotate(180)]}


def turned(kind: str, orientation: int, size: tuple[int, int] = SIZE) -> bytes:
    """A photograph with an EXIF (in TIFF, a plain) orientation tag."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"tiffinfo": {0x0112: orientation}} if kind == "TIFF" else {"exif": exif}
    return encode(photograph(size), kind, **options)


def png_chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png_of_size(width: int, height: int) -> bytes:
    """A valid header and next to no pixels."""
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    pixels = png_chunk(b"IDAT", zlib.compress(bytes(100)))
    return PNG_SIGNATURE + header + pixels + png_chunk(b"IEND", b"")


def jpeg_of_size(width: int, height: int) -> bytes:
    data = encode(photograph(), "JPEG")
    frame = data.index(b"\xff\xc0")
    return data[: frame + 5] + struct.pack(">HH", height, width) + data[frame + 9 :]


def avif_of_size(width: int, height: int) -> bytes:
    data = encode(photograph(), "AVIF")
    box = data.index(b"ispe")
    return data[: box + 8] + struct.pack(">II", width, height) + data[box + 16 :]


def jpeg_of_many_scans() -> bytes:
    """A progressive JPEG of 36 megapixels that repeats its short last scan 200 times."""
    data = encode(Image.new("L", (6000, 6000), 128), "JPEG", progressive=True)
    last_scan = data.rindex(b"\xff\xda")
    return data[:last_scan] + 200 * (data[last_scan : last_scan + 20]) + data[last_scan:]


def jpeg_without_last_scan() -> bytes:
    """A progressive JPEG cut between two scans and closed: decodes without a complaint."""
    data = encode(photograph(), "JPEG", progressive=True)
    last_scan = data.rindex(b"\xff\xda")
    return data[: data.rindex(b"\xff\xc4", 0, last_scan)] + END_OF_JPEG


def jpeg_with_stray_bytes() -> bytes:
    """Ten bytes of nothing before the first table, as some telephones write."""
    data = encode(photograph(), "JPEG")
    table = data.index(b"\xff\xdb")
    return data[:table] + bytes(10) + data[table:]


def half_zeros(data: bytes, end: bytes = b"") -> bytes:
    """The second half lost, in a file that was given its full length beforehand."""
    return data[: len(data) // 2] + bytes(len(data) - len(data) // 2) + end


def translucent() -> Image.Image:
    image = photograph()
    image.putalpha(Image.linear_gradient("L").resize(image.size))
    return image


def deep_grey() -> Image.Image:
    """16 bits: a ramp from black to white."""
    return Image.fromarray(np.linspace(0, 65535, 48 * 32).reshape(32, 48).astype(np.uint16))


def whole() -> dict[str, bytes]:
    """Images that are to be judged."""
    photo = photograph()
    palette = photo.quantize(32)
    jpeg, png = encode(photo, "JPEG"), encode(photo, "PNG")
    return {
        "plain.jpg": jpeg,
        "progressive.jpg": encode(photo, "JPEG", progressive=True),
        "grey.jpg": encode(photo.convert("L"), "JPEG"),
        "cmyk.jpg": encode(photo.convert("CMYK"), "JPEG"),
        "tiny.jpg": encode(photo.resize((1, 1)), "JPEG"),
        "sideways.jpg": turned("JPEG", 6),
        "damaged-exif.jpg": encode(photo, "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff"),
        "bytes-after-end.jpg": jpeg + b"left over",
        "stray-bytes.jpg": jpeg_with_stray_bytes(),
        "two-pictures.jpg": encode(photo, "MPO", **second_frame()),
        "png-inside.jpg": png,
        "palette.png": encode(palette, "PNG"),
        "palette-transparent.png": encode(palette, "PNG", transparency=0),
        "colour-key.png": encode(photo, "PNG", transparency=(255, 255, 255)),
        "alpha.png": encode(translucent(), "PNG"),
        "grey-alpha.png": encode(translucent().convert("LA"), "PNG"),
        "bilevel.png": encode(photo.convert("1"), "PNG"),
        "16-bit.png": encode(deep_grey(), "PNG"),
        "animated.png": encode(photo, "PNG", **second_frame()),
        "animated.gif": encode(palette, "GIF", **second_frame()),
        "plain.webp": encode(photo, "WEBP"),
        "animated.webp": encode(photo, "WEBP", **second_frame()),
        "plain.avif": encode(photo, "AVIF"),
        "plain.bmp": encode(photo, "BMP"),
        "icon.ico": encode(photo, "ICO"),
        "plain.ppm": encode(photo, "PPM"),
        "plain.jp2": encode(photo, "JPEG2000"),
        "pages.tif": encode(photo, "TIFF", **second_frame()),
        "cmyk.tif": encode(photo.convert("CMYK"), "TIFF"),
        "lab.tif": encode(photo.convert("LAB"), "TIFF"),
        "float.tif": encode(photo.convert("F"), "TIFF"),
        "16-bit.tif": encode(deep_grey(), "TIFF"),
        "sideways.tif": turned("TIFF", 6),
    }


def corrupt() -> dict[str, bytes]:
    """Images of which a part is missing."""
    photo = photograph()
    jpeg, png, gif = (encode(photo, kind) for kind in ("JPEG", "PNG", "GIF"))
    webp, avif = encode(photo, "WEBP", lossless=True), encode(photo, "AVIF")
    progressive = encode(photo, "JPEG", progressive=True)
    restarts = encode(photo, "JPEG", restart_marker_blocks=1)
    cmyk = encode(photo.convert("CMYK"), "JPEG")
    return {
        "cut.jpg": jpeg[: len(jpeg) * 3 // 4],
        "cut-and-closed.jpg": jpeg[: len(jpeg) * 3 // 4] + END_OF_JPEG,
        "cut-and-closed-progressive.jpg": progressive[: len(progressive) // 2] + END_OF_JPEG,
        "cut-and-closed-restarts.jpg": restarts[: len(restarts) * 3 // 4] + END_OF_JPEG,
        "cut-and-closed-cmyk.jpg": cmyk[: len(cmyk) // 2] + END_OF_JPEG,
        "no-last-scan.jpg": jpeg_without_last_scan(),
        "half-zeros.jpg": half_zeros(jpeg),
        "half-zeros-closed.jpg": half_zeros(restarts, END_OF_JPEG),
        "only-a-signature.jpg": jpeg[:4],
        "cut.png": png[: len(png) // 2],
        "cut-and-closed.png": png[: len(png) // 2] + png[-12:],
        "half-zeros.png": half_zeros(png),
        "cut.gif": gif[: len(gif) // 2],
        "cut-and-closed.gif": gif[: len(gif) // 2] + b"\x00;",
        "cut.webp": webp[: len(webp) // 2],
        "half-zeros.webp": half_zeros(webp),
        "cut.avif": avif[:-100],
        "cut.bmp": encode(photo, "BMP")[:-100],
        "cut.tif": encode(deep_grey(), "TIFF")[:-100],
        "cut.jp2": encode(photo, "JPEG2000")[:-100],
    }


def too_large() -> dict[str, bytes]:
    """Small files that would fill the memory, or keep a processor busy for hours."""
    gif = encode(photograph(), "GIF")
    return {
        "bomb.png": png_of_size(60_000, 60_000),
        "bomb-below-pillows-limit.png": png_of_size(12_000, 12_000),
        "bomb.jpg": jpeg_of_size(60_000, 60_000),
        "bomb.avif": avif_of_size(60_000, 60_000),
        "bomb.gif": gif[:6] + struct.pack("<HH", 60_000, 60_000) + gif[10:],
        "bomb.ppm": b"P6\n60000 60000\n255\n" + bytes(100),
        "many-scans.jpg": jpeg_of_many_scans(),
    }


def unsupported() -> dict[str, bytes]:
    """Files that are not images, or in formats that are not read."""
    return {
        "empty.jpg": b"",
        "text.jpg": b"This is a text.\n",
        "text-like-ppm.jpg": b"P1 is the first of our points.\n",
        "text-like-bmp.jpg": b"BMW is a maker of cars, and this is a text.\n",
        "zeros.png": bytes(5000),
        "script.eps": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\nshowpage\n",
        "vector.svg": b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>',
        "table.csv": b"path,label\na.jpg,real\n",
    }


ZOO: dict[str, Odd] = {
    **{name: (data, "ok", None) for name, data in whole().items()},
    **{name: (data, "failed", CORRUPT) for name, data in corrupt().items()},
    **{name: (data, "failed", TOO_LARGE) for name, data in too_large().items()},
    **{name: (data, "failed", UNSUPPORTED) for name, data in unsupported().items()},
}
