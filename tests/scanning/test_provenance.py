"""What files claim of their origin is in the table, beside a score that it does not change."""

import io
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from deepfake_core.scanning.config import ScanConfig
from deepfake_core.scanning.scan import scan


@pytest.fixture
def source(tmp_path: Path, picture: Callable[..., bytes]) -> Path:
    folder = tmp_path / "images"
    folder.mkdir()
    image = Image.open(io.BytesIO(picture(3, kind="PNG")))
    notes = PngInfo()
    notes.add_text("parameters", "a portrait\nSteps: 20, Sampler: Euler a")
    image.save(folder / "plain.png")
    image.save(folder / "says.png", pnginfo=notes)
    # Not an image, and says so all the same.
    (folder / "cut.png").write_bytes((folder / "says.png").read_bytes()[:-40])
    return folder


def test_claims_are_a_column_and_no_part_of_the_score(
    source: Path, tiny_registry: Path, tmp_path: Path
):
    config = ScanConfig(source=str(source), model="tiny", output=str(tmp_path / "out"))
    result = scan(config, registry=tiny_registry)
    rows = {row["image"]: row for row in pq.read_table(result["verdicts"]).to_pylist()}
    claim = {"kind": "generator", "value": "Stable Diffusion", "verified": None}
    assert rows["says.png"]["provenance"] == [claim]
    assert rows["plain.png"]["provenance"] is None
    assert rows["says.png"]["score"] == rows["plain.png"]["score"]
    assert rows["cut.png"]["status"] == "failed"
    assert rows["cut.png"]["provenance"] == [claim]
