"""A finished scan with pictures that can be looked at."""

import hashlib
import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from tests.support.published import publish, row

RUN = "20261124T020000Z-ab12"


def scan_of(folder: Path, picture: Callable[..., bytes], *, count: int) -> Path:
    """Write `count` pictures and a scan of them; returns the folder of results.

    Every eighth picture is a smaller copy of the one before it.
    """
    source = folder / "pictures"
    (source / "a").mkdir(parents=True)
    rows, content = [], b""
    for number, score in enumerate(np.random.default_rng(0).permutation(count) / count):
        content = smaller(content) if number % 8 == 7 else picture(number)
        name = f"{'a/' if number % 2 else ''}{number:04d}.jpg"
        (source / name).write_bytes(content)
        label = "fake" if score >= 0.8 else "uncertain" if score >= 0.6 else "real"
        width, height = Image.open(io.BytesIO(content)).size
        box = {"x": 2.0, "y": 2.0, "width": width / 2, "height": height / 2, "size": 30.0}
        face = {**box, "roll": 0.0, "found": 0.9, "score": score, "label": label}
        claims = [{"kind": "generator", "value": "ComfyUI", "verified": None}]
        rows.append(
            row(
                name,
                float(score),
                label,
                sha256=hashlib.sha256(content).hexdigest(),
                width=width,
                height=height,
                source=str(source),
                faces=[face],
                faces_found=1,
                provenance=claims if number % 5 == 0 else None,
            )
        )
    publish(folder / "reports", rows, run_id=RUN, source=str(source))
    return folder / "reports"


def smaller(content: bytes) -> bytes:
    stream = io.BytesIO()
    image = Image.open(io.BytesIO(content)).convert("RGB")
    image.resize((image.width * 3 // 4, image.height * 3 // 4)).save(stream, "JPEG", quality=80)
    return stream.getvalue()
