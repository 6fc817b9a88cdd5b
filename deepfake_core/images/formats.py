"""Which formats are read, and how their first bytes are told from those of other files."""

import re

# The formats that Pillow may open, common ones first. EPS and the like, which start other
# programs, formats that a text could pass for, and PCX, which is decoded without its end, are
# not here.
PILLOW_FORMATS = (
    "JPEG", "PNG", "WEBP", "AVIF", "GIF", "BMP", "TIFF", "JPEG2000", "ICO", "PPM", "PSD",
    "DDS", "ICNS", "QOI", "SGI",
)  # fmt: skip
HEIF_BRANDS = frozenset(
    {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1"}
)
AVIF_BRANDS = frozenset({b"avif", b"avis"})
MAX_BRANDS_END = 4096
BMP_HEADER_SIZES = frozenset({12, 16, 40, 52, 56, 64, 108, 124})
TGA_FOOTER = b"TRUEVISION-XFILE.\x00"
SIGNATURES = (
    b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF87a", b"GIF89a", b"II*\x00", b"MM\x00*",
    b"II+\x00", b"MM\x00+", b"8BPS\x00", b"\x00\x00\x00\x0cjP  \r\n\x87\n", b"\xff\x4f\xff\x51",
    b"\x00\x00\x01\x00", b"DDS ", b"icns", b"qoif", b"\x01\xda",
)  # fmt: skip
_PPM = re.compile(rb"P[1-6]\s+(\d|#)")


def has_image_signature(data: bytes) -> bool:
    """Whether the bytes begin like a file in an image format that is read here."""
    if data.startswith(SIGNATURES) or _PPM.match(data):
        return True
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return True
    if is_heif(data) or data.endswith(TGA_FOOTER):
        return True
    if data[:2] == b"BM" and len(data) >= 18:
        return int.from_bytes(data[14:18], "little") in BMP_HEADER_SIZES
    return False


def heif_brands(data: bytes) -> frozenset[bytes]:
    """The brands that a HEIC, AVIF or other file of boxes says that it is compatible with."""
    if data[4:8] != b"ftyp":
        return frozenset()
    end = min(int.from_bytes(data[:4], "big"), MAX_BRANDS_END)
    compatible = (data[at : at + 4] for at in range(16, end - 3, 4))
    return frozenset([data[8:12], *compatible])


def is_heif(data: bytes) -> bool:
    """Whether the file says that it is HEIC, AVIF or a relative of theirs."""
    return bool(heif_brands(data) & (HEIF_BRANDS | AVIF_BRANDS))


def pillow_formats(data: bytes) -> tuple[str, ...]:
    """The formats that Pillow may try on a file; TGA only where the file ends like one."""
    return (*PILLOW_FORMATS, "TGA") if data.endswith(TGA_FOOTER) else PILLOW_FORMATS
