"""Variants of known formats that no decoder here reads, told by their headers."""

from __future__ import annotations

import struct

# A PSD's picture follows its colours, resources and layers, each with its length.
PSD_HEADER, PSD_BLOCKS, PSD_DEFLATED, MULTICHANNEL = 26, 3, (2, 3), 7
WRAPPED_IN_BMP = {4: "JPEG wrapped in BMP", 5: "PNG wrapped in BMP"}
# Where a DDS says how its pixels are stored, and the ways that Pillow reads.
DDS_HEADER, DDS_LONG_HEADER, DDS_FLAGS, DDS_DXGI = 128, 148, 80, 128
ALPHA, FOURCC, PALETTE, RGB, GREY = 0x1, 0x4, 0x20, 0x40, 0x20000
DDS_KINDS = (b"DXT1", b"DXT3", b"DXT5", b"BC4U", b"ATI1", b"BC5S", b"BC5U", b"ATI2")
DXGI_KINDS = (27, 28, 29, 70, 71, 73, 74, 76, 77, 79, 80, 82, 83, 84, 95, 96, 97, 98, 99)


def unread_variant(data: bytes) -> str | None:
    """The name of a whole file's variant that no decoder here reads; None where it may be read."""
    if data.startswith(b"8BPS"):
        return _unread_psd(data)
    if data.startswith(b"DDS "):
        return _unread_dds(data)
    # A BMP may only wrap another file, for printers.
    if data.startswith(b"BM") and data[14:18] != b"\x0c\0\0\0":
        return WRAPPED_IN_BMP.get(int.from_bytes(data[30:34], "little"))
    return None


def _unread_psd(data: bytes) -> str | None:
    version, depth = int.from_bytes(data[4:6], "big"), int.from_bytes(data[22:24], "big")
    if version == 2:
        return "PSB, the large kind of PSD"
    if version == 1 and depth in (16, 32):
        return f"PSD of {depth} bits"
    # Each channel is an ink of its own; Pillow would show the first.
    if int.from_bytes(data[24:26], "big") == MULTICHANNEL:
        return "PSD of separate inks"
    position = PSD_HEADER
    for _ in range(PSD_BLOCKS):
        position += 4 + int.from_bytes(data[position : position + 4], "big")
    if int.from_bytes(data[position : position + 2], "big") in PSD_DEFLATED:
        return "PSD with its picture deflated"
    return None


def _unread_dds(data: bytes) -> str | None:
    """How a DDS stores its pixels; one whose header is cut off is damaged, and not named here."""
    if len(data) < DDS_HEADER:
        return None
    flags, kind, bits = struct.unpack_from("<I4sI", data, DDS_FLAGS)
    if flags & RGB:
        return None
    if flags & GREY:
        return None if bits == 8 or (bits == 16 and flags & ALPHA) else f"DDS of {bits} bits grey"
    if flags & PALETTE or (flags & FOURCC and kind in DDS_KINDS):
        return None
    if not flags & FOURCC:
        return f"DDS whose pixels have the flags {flags}"
    if kind != b"DX10":
        return f"DDS with pixels of the kind {kind.decode('ascii', 'backslashreplace')}"
    number = int.from_bytes(data[DDS_DXGI : DDS_DXGI + 4], "little")
    if len(data) < DDS_LONG_HEADER or number in DXGI_KINDS:
        return None
    return f"DDS with pixels of DXGI's kind {number}"
