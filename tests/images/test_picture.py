import io

import numpy as np
import pytest
from PIL import Image, ImageCms

from deepfake_core.images.decoding import (
    LARGE_PIXELS,
    Picture,
    decode_picture,
    load,
)
from deepfake_core.records import Failure, FailureCode
from tests.support.zoo import encode, photograph, turned


def picture_of(data: bytes, **options: object) -> Picture:
    picture = decode_picture(data, **options)
    assert isinstance(picture, Picture), picture
    assert picture.pixels.dtype == np.uint8
    return picture


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_a_whole_picture_is_the_image_as_it_is_loaded(kind: str):
    data = turned(kind, 6)
    loaded = load(data, size=2000)
    assert not isinstance(loaded, Failure)

    picture = picture_of(data)

    assert np.array_equal(picture.pixels, loaded.image)
    assert picture.pixels.shape == (picture.height, picture.width, 3)
    assert (picture.format, picture.reduction) == (kind, 1)


@pytest.mark.parametrize(
    ("min_side", "reduction"), [(None, 1), (451, 1), (450, 2), (225, 4), (9, 8)]
)
def test_jpegs_are_reduced_as_far_as_the_least_side_allows(min_side: int | None, reduction: int):
    picture = picture_of(encode(photograph((1200, 900)), "JPEG"), min_side=min_side)

    assert picture.reduction == reduction
    assert picture.pixels.shape == (-(-900 // reduction), 1200 // reduction, 3)
    assert (picture.width, picture.height) == (1200, 900)


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_more_pixels_than_are_held_are_reduced_by_a_whole_factor(kind: str):
    large = Image.new("RGB", (5000, 3700), (10, 200, 30))
    assert large.width * large.height > LARGE_PIXELS

    picture = picture_of(encode(large, kind))

    assert (picture.width, picture.height, picture.reduction) == (5000, 3700, 2)
    assert picture.pixels.shape == (1850, 2500, 3)


def test_a_colour_profile_is_followed_and_can_be_left_alone():
    """Swapped primaries: what is stored as red is green."""
    stored = Image.new("RGB", (32, 32), (200, 30, 30))
    linear = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    red, green = linear.index(b"rXYZ"), linear.index(b"gXYZ")
    swapped = bytearray(linear)
    swapped[red : red + 4], swapped[green : green + 4] = b"gXYZ", b"rXYZ"
    buffer = io.BytesIO()
    stored.save(buffer, "PNG", icc_profile=bytes(swapped))

    seen = picture_of(buffer.getvalue()).pixels[0, 0]
    as_stored = picture_of(buffer.getvalue(), colour="as_stored").pixels[0, 0]

    assert seen[1] > 150 > 80 > seen[0]
    assert tuple(as_stored) == (200, 30, 30)


def test_what_is_no_picture_is_a_failure():
    failure = decode_picture(b"no picture")

    assert isinstance(failure, Failure)
    assert failure.code == FailureCode.DECODE_UNSUPPORTED
