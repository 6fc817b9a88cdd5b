"""The model that ships: intact, the same in both engines, and as good as its card says."""

import csv
from pathlib import Path

import numpy as np
import pytest

from deepfake_core.datasets.labelled import Labelled, is_fake, read_labelled
from deepfake_core.engines.engine import open_engine, processor_precisions
from deepfake_core.errors import ModelError
from deepfake_core.images.decoding import decode
from deepfake_core.inference.cropping import open_cropper, read_crops
from deepfake_core.models.bundle import CARD_FILE, Bundle
from deepfake_core.models.decision import calibrate
from deepfake_core.models.registry import DEFAULT_REGISTRY, find_model
from deepfake_core.ranking import auc
from deepfake_core.records import Decoded, Float32Array, UInt8Array

SAMPLES = Path(__file__).resolve().parents[2] / "data" / "samples"
# Whoever clones the project waits for them.
MAX_SHIPPED_BYTES = 150 * 2**20
FACE_SIZE = 160.0


@pytest.fixture(scope="module")
def shipped() -> Bundle:
    return find_model("resnet50")


@pytest.fixture(scope="module")
def pixels(shipped: Bundle) -> UInt8Array:
    """The sample pictures and their mirror images, to 64."""
    size = shipped.description.preprocessing.size
    decoded = [decode(path.read_bytes(), size=size) for path in sorted(SAMPLES.iterdir())]
    found = np.stack([one.pixels for one in decoded if isinstance(one, Decoded)])
    assert len(found) >= 10
    both = np.concatenate([found, found[:, :, ::-1], found[:, ::-1], 255 - found, found // 2])
    return both[:64]


def scores(bundle: Bundle, logits: Float32Array) -> Float32Array:
    """The scores of faces as large as most."""
    sizes = np.full(len(logits), FACE_SIZE, np.float32)
    return calibrate(logits, bundle.description.calibration, sizes)


def test_every_file_is_what_its_hash_says(shipped: Bundle) -> None:
    for name in shipped.description.files:
        assert shipped.verified(name).is_file()
    found = sum(path.stat().st_size for path in DEFAULT_REGISTRY.rglob("*") if path.is_file())
    assert found < MAX_SHIPPED_BYTES


def test_the_card_is_made_of_the_figures(shipped: Bundle) -> None:
    text = (shipped.folder / CARD_FILE).read_text()
    report = shipped.description.figures["report"]
    assert f"{report['auc']:.3f}" in text
    assert "Fairness was not measured" in text
    assert shipped.description.trained_on in text


@pytest.mark.slow
def test_openvino_and_keras_agree(shipped: Bundle, pixels: UInt8Array) -> None:
    fast = open_engine(shipped, kind="openvino", precision="fp32").logits(pixels)
    reference = open_engine(shipped, kind="keras", precision="fp32").logits(pixels)
    np.testing.assert_allclose(fast, reference, atol=2e-3)
    np.testing.assert_allclose(scores(shipped, fast), scores(shipped, reference), atol=1e-4)


@pytest.mark.slow
def test_a_score_does_not_depend_on_its_batch(shipped: Bundle, pixels: UInt8Array) -> None:
    for precision in set(shipped.description.precisions) & processor_precisions():
        engine = open_engine(shipped, kind="openvino", precision=precision)
        whole = scores(shipped, engine.logits(pixels))
        for size in (1, 2, 7, 16, 33):
            parts = [engine.logits(pixels[at : at + size]) for at in range(0, len(pixels), size)]
            found = scores(shipped, np.concatenate(parts))
            tolerance = shipped.description.tolerances[precision]
            np.testing.assert_allclose(found, whole, atol=tolerance, err_msg=precision)


@pytest.mark.slow
def test_faster_precisions_stay_near_fp32(shipped: Bundle, pixels: UInt8Array) -> None:
    reference = open_engine(shipped, kind="openvino", precision="fp32").logits(pixels)
    for precision in set(shipped.description.precisions) & processor_precisions() - {"fp32"}:
        fast = open_engine(shipped, kind="openvino", precision=precision).logits(pixels)
        gap = np.abs(scores(shipped, fast) - scores(shipped, reference))
        assert gap.mean() < 0.03, precision


@pytest.mark.slow
def test_the_card_tells_the_truth(shipped: Bundle, shared: Path) -> None:
    faces = shared / "faces"
    with (faces / "families" / "manifest.csv").open(newline="") as file:
        of_families = [
            Labelled(faces / row["path"], row["label"] == "fake", row["group_id"])
            for row in csv.DictReader(file)
            if row["path"].startswith("families/valid/")
        ]
    images = [*read_labelled(faces, "valid"), *of_families]
    cropper = open_cropper(shipped.description.preprocessing)
    crops = read_crops(cropper, [one.path for one in images])
    logits = open_engine(shipped, kind="openvino", precision="fp32").logits(crops.pixels)
    found = calibrate(logits, shipped.description.calibration, crops.sizes)
    told = shipped.description.figures["report"]
    assert len(crops.rows) > 0.99 * len(images)
    # The card's is of one half of them.
    assert auc(found, is_fake(images)[crops.rows]) == pytest.approx(told["auc"], abs=0.01)


def test_a_damaged_file_is_refused(shipped: Bundle, tmp_path: Path) -> None:
    for name in (*shipped.description.files, "bundle.json"):
        (tmp_path / name).write_bytes((shipped.folder / name).read_bytes())
    with (tmp_path / "weights.npz").open("r+b") as stream:
        stream.seek(5000)
        stream.write(b"\x00\x01\x02\x03")
    damaged = Bundle(tmp_path, shipped.description, shipped.digest)
    with pytest.raises(ModelError, match="changed or damaged"):
        damaged.weights()
