"""The model that ships: intact, the same in both engines, and as good as its card says."""

from pathlib import Path

import numpy as np
import pytest

from deepfake_core.datasets.labelled import is_fake, read_labelled, read_pixels
from deepfake_core.engines.engine import open_engine, processor_precisions
from deepfake_core.errors import ModelError
from deepfake_core.images.decoding import decode
from deepfake_core.models.bundle import CARD_FILE, Bundle
from deepfake_core.models.decision import calibrate
from deepfake_core.models.registry import DEFAULT_REGISTRY, find_model
from deepfake_core.ranking import auc
from deepfake_core.records import Decoded, UInt8Array

SAMPLES = Path(__file__).resolve().parents[2] / "data" / "samples"
# Two generations of the first look, finder and second look; the repository keeps them all.
MAX_SHIPPED_BYTES = 200 * 10**6


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
    curve = shipped.description.calibration
    np.testing.assert_allclose(calibrate(fast, curve), calibrate(reference, curve), atol=1e-4)


@pytest.mark.slow
def test_a_score_does_not_depend_on_its_batch(shipped: Bundle, pixels: UInt8Array) -> None:
    curve = shipped.description.calibration
    for precision in set(shipped.description.precisions) & processor_precisions():
        engine = open_engine(shipped, kind="openvino", precision=precision)
        whole = calibrate(engine.logits(pixels), curve)
        for size in (1, 2, 7, 16, 33):
            parts = [engine.logits(pixels[at : at + size]) for at in range(0, len(pixels), size)]
            scores = calibrate(np.concatenate(parts), curve)
            tolerance = shipped.description.tolerances[precision]
            np.testing.assert_allclose(scores, whole, atol=tolerance, err_msg=precision)


@pytest.mark.slow
def test_faster_precisions_stay_near_fp32(shipped: Bundle, pixels: UInt8Array) -> None:
    curve = shipped.description.calibration
    reference = open_engine(shipped, kind="openvino", precision="fp32").logits(pixels)
    for precision in set(shipped.description.precisions) & processor_precisions() - {"fp32"}:
        fast = open_engine(shipped, kind="openvino", precision=precision).logits(pixels)
        gap = np.abs(calibrate(fast, curve) - calibrate(reference, curve))
        assert gap.mean() < 0.03, precision


def test_the_card_tells_the_truth(shipped: Bundle, shared: Path) -> None:
    images = [one for one in read_labelled(shared / "faces", "valid") if one.reported]
    engine = open_engine(shipped, kind="openvino", precision="fp32")
    logits = engine.logits(read_pixels(images, size=shipped.description.preprocessing.size))
    measured = auc(calibrate(logits, shipped.description.calibration), is_fake(images))
    assert measured == pytest.approx(shipped.description.figures["report"]["auc"], abs=2e-4)


def test_a_damaged_file_is_refused(shipped: Bundle, tmp_path: Path) -> None:
    for name in (*shipped.description.files, "bundle.json"):
        (tmp_path / name).write_bytes((shipped.folder / name).read_bytes())
    with (tmp_path / "weights.npz").open("r+b") as stream:
        stream.seek(5000)
        stream.write(b"\x00\x01\x02\x03")
    damaged = Bundle(tmp_path, shipped.description, shipped.digest)
    with pytest.raises(ModelError, match="changed or damaged"):
        damaged.weights()
