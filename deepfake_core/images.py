"""From bytes to pixels: the one decoder that training, scans and the service share."""

import io
import struct
import threading
from dataclasses import dataclass
from typing import cast

import numpy as np
import pi_heif
import simplejpeg
from PIL import Image, ImageCms, UnidentifiedImageError

from deepfake_core.records import Decoded, Failure, FailureCode, UInt8Array

# A 108-megapixel phone photograph fits; larger headers are refused before anything is allocated.
MAX_PIXELS = 120_000_000
# Above this size images without scaled decoding are decoded one at a time, so that the peak
# memory of a scan is that of one large image and not of one per thread.
LARGE_PIXELS = 16_000_000
LARGE_REDUCED_TO = (2048, 2048)
# JPEGs are decoded at the smallest 1/1, 1/2, 1/4 or 1/8 scale that leaves this many times the
# network's input; docs/decisions/0004 holds the measured effect on scores.
SCALED_DECODING_FACTOR = 2
ORIENTATION_TAG = 0x0112
SIDEWAYS_ORIENTATIONS = frozenset({5, 6, 7, 8})

# The formats that Pillow may open. EPS and the like, which start other programs, are not here.
PILLOW_FORMATS = (
    "AVIF", "BMP", "GIF", "ICO", "JPEG", "JPEG2000", "PNG", "PPM", "PSD", "TIFF", "WEBP",
)  # fmt: skip
HEIF_BRANDS = frozenset(
    {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1"}
)
SIGNATURES = (
    b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF87a", b"GIF89a", b"II*\x00", b"MM\x00*",
    b"II+\x00", b"MM\x00+", b"8BPS\x00", b"\x00\x00\x00\x0cjP  \r\n\x87\n", b"\xff\x4f\xff\x51",
)  # fmt: skip
BMP_HEADER_SIZES = frozenset({12, 40, 52, 56, 64, 108, 124})

_TRANSPOSE = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_large_image = threading.Lock()


@dataclass(frozen=True, slots=True)
class Loaded:
    """An image in RGB before it is resized to the network's input.

    Attributes:
        image: mode RGB, upright; a JPEG may have been decoded at a smaller scale.
        format: the format found in the content.
        width: pixels of the whole image after EXIF orientation.
        height: likewise.
    """

    image: Image.Image
    format: str
    width: int
    height: int


def decode(
    data: bytes, *, size: int, background: tuple[int, int, int] = (255, 255, 255)
) -> Decoded | Failure:
    """Decode one image and resize it to a square, stretching it if it is not one.

    Args:
        data: the bytes of a file; the format is found in them, not in a name.
        size: the side of the result in pixels.
        background: the colour that shows through transparent pixels, RGB.

    Returns:
        The pixels, resized with Pillow's bilinear filter, or why there are none.
    """
    loaded = load(data, size=size, background=background)
    if isinstance(loaded, Failure):
        return loaded
    return Decoded(
        pixels=resize(loaded.image, size),
        format=loaded.format,
        width=loaded.width,
        height=loaded.height,
    )


def resize(image: Image.Image, size: int) -> UInt8Array:
    """Resize an RGB image to uint8[size, size, 3]."""
    return np.asarray(image.resize((size, size), Image.Resampling.BILINEAR))


def load(
    data: bytes, *, size: int, background: tuple[int, int, int] = (255, 255, 255)
) -> Loaded | Failure:
    """Decode one image to upright RGB: first frame, alpha flattened, depth reduced to 8 bits.

    Args:
        data: the bytes of a file.
        size: the side that the image will be resized to; JPEGs are decoded at the smallest
            scale that leaves at least twice this side.
        background: the colour that shows through transparent pixels, RGB.

    Returns:
        The image, or a failure with a ``decode`` code. Never raises on bad bytes.
    """
    if not data:
        return Failure(FailureCode.DECODE_UNSUPPORTED, "the file is empty")
    try:
        return _load(data, size, background)
    except Image.DecompressionBombError as error:
        return Failure(FailureCode.DECODE_TOO_LARGE, str(error))
    except UnidentifiedImageError:
        return _unidentified(data)
    except MemoryError:
        return Failure(FailureCode.DECODE_TOO_LARGE, "decoding needs more memory than there is")
    # Third-party decoders raise nearly every exception type on malformed input; the type is kept.
    except Exception as error:  # noqa: BLE001
        return Failure(FailureCode.DECODE_CORRUPT, f"{type(error).__name__}: {error}")


def has_image_signature(data: bytes) -> bool:
    """Whether the first bytes are those of an image format that is read here."""
    if data.startswith(SIGNATURES):
        return True
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return True
    if data[4:8] == b"ftyp":
        return data[8:12] in HEIF_BRANDS or data[8:12] in (b"avif", b"avis")
    if data[:2] == b"BM" and len(data) >= 18:
        return int.from_bytes(data[14:18], "little") in BMP_HEADER_SIZES
    return False


def _unidentified(data: bytes) -> Failure:
    if has_image_signature(data):
        return Failure(
            FailureCode.DECODE_CORRUPT, "starts like an image, but its header is damaged"
        )
    return Failure(FailureCode.DECODE_UNSUPPORTED, "not an image in a format that is read here")


def _load(data: bytes, size: int, background: tuple[int, int, int]) -> Loaded | Failure:
    image = _open(data)
    width, height = image.size
    if width * height > MAX_PIXELS:
        return Failure(
            FailureCode.DECODE_TOO_LARGE,
            f"{width} x {height} pixels; at most {MAX_PIXELS // 1_000_000} megapixels are decoded",
        )
    orientation = _orientation(image)
    name = image.format or "unknown"
    if name in ("JPEG", "MPO") and image.mode in ("RGB", "L"):
        rgb = _decode_jpeg(data, image, minimum=SCALED_DECODING_FACTOR * size)
        if isinstance(rgb, Failure):
            return rgb
    elif width * height > LARGE_PIXELS:
        with _large_image:
            rgb = _to_rgb(image, background)
            rgb.thumbnail(LARGE_REDUCED_TO, Image.Resampling.BILINEAR)
    else:
        rgb = _to_rgb(image, background)
    if orientation in _TRANSPOSE:
        rgb = rgb.transpose(_TRANSPOSE[orientation])
    if orientation in SIDEWAYS_ORIENTATIONS:
        width, height = height, width
    return Loaded(image=rgb, format=name, width=width, height=height)


def _open(data: bytes) -> Image.Image:
    if data[4:8] == b"ftyp" and data[8:12] in HEIF_BRANDS:
        try:
            return Image.open(io.BytesIO(data), formats=("AVIF",))
        except UnidentifiedImageError:
            return cast(Image.Image, pi_heif.HeifImageFile(io.BytesIO(data)))
    return Image.open(io.BytesIO(data), formats=PILLOW_FORMATS)


def _orientation(image: Image.Image) -> int:
    """The EXIF orientation, 1 where there is none or where the EXIF block is damaged."""
    try:
        return int(image.getexif().get(ORIENTATION_TAG, 1))
    except (OSError, SyntaxError, ValueError, TypeError, KeyError, struct.error):
        return 1


def _decode_jpeg(data: bytes, image: Image.Image, *, minimum: int) -> Image.Image | Failure:
    """Decode a JPEG at reduced scale, refusing one that ends before its last pixel.

    Pillow drops libjpeg's warnings, so that a file cut and closed with an end marker, or filled
    up with zeros, would be judged with half its pixels missing. The strict decoder reports them;
    harmless oddities that it also refuses are left to Pillow.
    """
    # The scale is found by Pillow: the strict decoder would also take scales between the powers
    # of two and then resample differently from every other reader of the same file.
    image.draft("RGB", (minimum, minimum))
    width, height = image.size
    try:
        pixels = simplejpeg.decode_jpeg(data, "RGB", min_width=width, min_height=height)
    except ValueError as error:
        if "premature end" in str(error).lower():
            return Failure(FailureCode.DECODE_CORRUPT, f"truncated: {error}")
        return image.convert("RGB")
    return Image.fromarray(pixels)


def _to_rgb(image: Image.Image, background: tuple[int, int, int]) -> Image.Image:
    """Convert any mode to RGB: 16 bits to 8, palettes looked up, alpha flattened."""
    image.load()
    if image.mode.startswith("I") or image.mode == "F":
        return _deep_grey(image)
    if image.mode == "LAB":
        profiles = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
        converted = ImageCms.profileToProfile(image, *profiles, outputMode="RGB")
        return cast(Image.Image, converted)
    if image.has_transparency_data:
        transparent = image.convert("RGBA")
        flat = Image.new("RGBA", transparent.size, (*background, 255))
        flat.alpha_composite(transparent)
        return flat.convert("RGB")
    return image.convert("RGB")


def _deep_grey(image: Image.Image) -> Image.Image:
    """Reduce 16-bit, 32-bit and floating grey to 8 bits; Pillow alone would clip at 255."""
    grey = np.asarray(image).astype(np.float64)
    if image.mode.startswith("I;16"):
        ceiling = 65535.0
    else:
        finite = grey[np.isfinite(grey)]
        ceiling = max(float(finite.max()) if finite.size else 0.0, 1.0)
        ceiling = next((top for top in (1.0, 255.0, 65535.0) if ceiling <= top), ceiling)
    scaled = np.clip(np.nan_to_num(grey, nan=0.0, posinf=ceiling, neginf=0.0) / ceiling, 0, 1)
    return Image.fromarray(np.rint(scaled * 255).astype(np.uint8)).convert("RGB")
