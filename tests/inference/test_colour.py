"""A bundle says whether pictures are converted to sRGB before it sees them."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from deepfake_core.engines.engine import open_engine
from deepfake_core.inference.classifier import Classifier
from deepfake_core.models.bundle import Preprocessing, read_bundle, write_description


@pytest.fixture
def swapped() -> bytes:
    """A red picture whose profile says that its red is green."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    red, green = profile.index(b"rXYZ"), profile.index(b"gXYZ")
    profile[red : red + 4], profile[green : green + 4] = b"gXYZ", b"rXYZ"
    stream = io.BytesIO()
    Image.new("RGB", (40, 40), (200, 30, 30)).save(stream, "PNG", icc_profile=bytes(profile))
    return stream.getvalue()


def test_bundles_that_do_not_say_leave_colours_as_they_are_stored():
    assert Preprocessing.model_validate({"size": 128}).colour == "as_stored"


@pytest.mark.parametrize(("colour", "brightest"), [("as_stored", 0), ("srgb", 1)])
def test_pixels_are_what_the_bundle_says(
    two_models: Path, swapped: bytes, colour: str, brightest: int
):
    bundle = read_bundle(two_models / "tiny" / "1")
    told = bundle.description.preprocessing.model_copy(update={"colour": colour})
    description = bundle.description.model_copy(update={"preprocessing": told})
    bundle = write_description(bundle.folder, description)
    classifier = Classifier(bundle, open_engine(bundle, kind="openvino", precision="fp32"))

    _, pixels = classifier.read(swapped)

    assert pixels is not None
    assert np.argmax(pixels.reshape(-1, 3).mean(axis=0)) == brightest
