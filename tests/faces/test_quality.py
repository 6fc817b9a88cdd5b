"""The size that a face had before it was enlarged, and crops that show nothing."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deepfake_core.faces.alignment import align, square_of
from deepfake_core.faces.bundle import read_finder
from deepfake_core.faces.finder import FaceFinder
from deepfake_core.faces.quality import is_blank, true_size
from deepfake_core.images.decoding import load
from deepfake_core.records import Failure, Float32Array

SAMPLES = Path(__file__).resolve().parent.parent.parent / "data" / "samples"
NAMES = [f"render-0{index}.jpg" for index in range(1, 7)] + ["portrait-officer.jpg"]


@pytest.fixture(scope="module")
def faces() -> list[tuple[Image.Image, Float32Array]]:
    """Pictures of 256 px with the landmarks of their face."""
    loaded = [load((SAMPLES / name).read_bytes(), size=640) for name in NAMES]
    pictures = [one.image for one in loaded if not isinstance(one, Failure)]
    found = FaceFinder(read_finder()).find(pictures)
    return [
        (picture, one[0].landmarks)
        for picture, one in zip(pictures, found, strict=True)
        if not isinstance(one, Failure)
    ]


def shrunk(
    picture: Image.Image, landmarks: Float32Array, side: int
) -> tuple[Image.Image, Float32Array]:
    return picture.resize((side, side), Image.Resampling.LANCZOS), landmarks * np.float32(
        side / 256
    )


def test_pictures_as_they_are_count_whole(faces: list[tuple[Image.Image, Float32Array]]):
    assert len(faces) == len(NAMES)
    for picture, landmarks in faces:
        assert true_size(picture, landmarks) > 0.75 * square_of(landmarks).size


@pytest.mark.parametrize("side", [96, 128, 180])
def test_smaller_copies_count_whole(faces: list[tuple[Image.Image, Float32Array]], side: int):
    shares = []
    for picture, landmarks in faces:
        small, points = shrunk(picture, landmarks, side)
        shares.append(true_size(small, points) / square_of(points).size)
    assert min(shares) > 0.75
    assert np.median(shares) > 0.9


@pytest.mark.parametrize("times", [2, 3, 4])
@pytest.mark.parametrize(
    "resampling",
    [Image.Resampling.BILINEAR, Image.Resampling.BICUBIC, Image.Resampling.NEAREST],
    ids=lambda one: one.name,
)
def test_enlarged_thumbnails_count_by_what_they_were(
    faces: list[tuple[Image.Image, Float32Array]], times: int, resampling: Image.Resampling
):
    ratios = []
    for picture, landmarks in faces:
        small, points = shrunk(picture, landmarks, 48)
        large = small.resize((48 * times, 48 * times), resampling)
        ratios.append(true_size(large, points * np.float32(times)) / square_of(points).size)
    assert 0.7 < np.median(ratios) < 1.6
    # 88 px and more are judged; the thumbnails' faces have 51, and up to 204 when enlarged.
    assert np.mean(np.array(ratios) * 51 < 88) > 0.7


def test_a_large_face_full_of_detail_counts_whole(
    faces: list[tuple[Image.Image, Float32Array]],
):
    tiles = Image.new("RGB", (1024, 1024))
    noise = np.random.default_rng(0).integers(0, 256, (1024, 1024, 3), dtype=np.uint8)
    tiles.paste(Image.fromarray(noise))
    landmarks = faces[0][1] * np.float32(4)
    assert true_size(tiles, landmarks) == pytest.approx(square_of(landmarks).size)


@pytest.mark.parametrize("extent", [(1, 1), (3, 200), (200, 3)])
def test_hardly_any_pixels_have_a_size(extent: tuple[int, int]):
    landmarks = np.array([[0, 0], [9, 0], [4, 4], [1, 9], [8, 9]], np.float32)
    size = true_size(Image.new("RGB", extent, (1, 2, 3)), landmarks)
    assert 0 < size <= square_of(landmarks).size


def test_blank_crops_are_seen(faces: list[tuple[Image.Image, Float32Array]]):
    assert is_blank(np.full((128, 128, 3), 90, np.uint8))
    noisy = np.random.default_rng(0).normal(90, 1, (128, 128, 3)).round().astype(np.uint8)
    assert is_blank(noisy)
    assert not any(is_blank(align(picture, landmarks).crop) for picture, landmarks in faces)


def test_soft_photographs_are_rarely_taken_for_thumbnails(shared: Path):
    finder = FaceFinder(read_finder())
    paths = sorted((shared / "faces" / "other_family" / "real").iterdir())[::10]
    small = []
    for path in paths:
        loaded = load(path.read_bytes(), size=640)
        assert not isinstance(loaded, Failure)
        for face in (finder.find([loaded.image])[0] or [])[:1]:
            size = square_of(face.landmarks).size
            small.append(size >= 110 and true_size(loaded.image, face.landmarks) < 88)
    assert len(small) > 90
    assert sum(small) <= 2
