"""TIFFs: the picture rather than its small copies, in all depths and layouts, or a named reason."""

from __future__ import annotations

import io

from PIL import Image

from deepfake_core.images.finishing import finish
from deepfake_core.images.picture import MAX_PIXELS, Loaded, Wanted, one_at_a_time, too_large
from deepfake_core.images.silence import silence_libtiff
from deepfake_core.images.tiff_layout import Layout, TooManyParts, read_layouts
from deepfake_core.images.tiff_samples import (
    MAX_BYTES,
    is_for_here,
    read_samples,
    unread_variant,
)
from deepfake_core.records import Failure, FailureCode

TIFF_SIGNATURES = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
CANON_RAW = b"CR\x02"


def read_tiff(data: bytes, wanted: Wanted) -> Loaded | Failure:
    """Decode a TIFF to upright RGB; raises what the decoders raise."""
    silence_libtiff()
    layout = _chosen(data)
    if isinstance(layout, Failure):
        return layout
    if layout is not None and is_for_here(layout):
        return _read_here(data, layout, wanted)
    image = Image.open(io.BytesIO(data), formats=("TIFF",))
    if layout is not None and layout.index:
        image.seek(layout.index)
    # Pillow itself turns TIFFs upright.
    return finish(image, wanted, image.info.get("icc_profile"), orientation=1)


def tiff_size(data: bytes) -> tuple[int, int]:
    """Width and height of the picture as it is stored; 0 where that is not known."""
    layout = _chosen(data)
    return layout.size if isinstance(layout, Layout) else (0, 0)


def _chosen(data: bytes) -> Layout | Failure | None:
    """The directory of the picture; None where none says that it is one."""
    try:
        layouts = read_layouts(data)
    except TooManyParts:
        return Failure(FailureCode.DECODE_TOO_LARGE, "more strips or tiles than a picture has")
    if data[8:11] == CANON_RAW or any(layout.is_raw for layout in layouts):
        return Failure(FailureCode.DECODE_UNSUPPORTED, "camera raw, which is not developed here")
    pages = [layout for layout in layouts if layout.index >= 0 and all(layout.size)]
    return next((page for page in pages if not page.is_reduced), pages[0] if pages else None)


def _read_here(data: bytes, layout: Layout, wanted: Wanted) -> Loaded | Failure:
    """Read what Pillow would garble, or say why not."""
    if variant := unread_variant(layout):
        detail = f"{variant}, which is not read here"
        return Failure(FailureCode.DECODE_UNSUPPORTED, detail)
    (width, height), values = layout.size, layout.samples * layout.bits // 8
    if width * height > MAX_PIXELS or width * height * values > MAX_BYTES:
        return too_large(width, height, min(MAX_PIXELS, MAX_BYTES // values))
    with one_at_a_time(width * height * values // 3):
        image = read_samples(data, layout)
    orientation = layout.one("orientation", 1)
    return finish(image, wanted, layout.profile(data), orientation=orientation)
