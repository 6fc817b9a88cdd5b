"""Alignment: the geometry of FFHQ, whatever the picture's turn, size and place."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFilter

from deepfake_core.faces.alignment import align, square_of
from deepfake_core.records import Float32Array

# Eyes, nose and mouth of a face whose square is 100 px wide and centred at 0, 0.
FACE = np.array(
    [[-14.0, -9.3], [14.0, -9.3], [0.0, 6.0], [-11.0, 18.0], [11.0, 18.0]], dtype=np.float64
)


def smooth_picture(width: int, height: int, *, seed: int = 0) -> Image.Image:
    """A picture without detail that two ways of drawing it could show differently."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (max(2, height // 24), max(2, width // 24), 3), dtype=np.uint8)
    picture = Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)
    return picture.filter(ImageFilter.GaussianBlur(3))


def place(*, scale: float, degrees: float, middle: tuple[float, float]) -> Float32Array:
    """The landmarks of `FACE` enlarged, turned clockwise and moved."""
    angle = math.radians(degrees)
    turn = np.array([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])
    return (FACE @ turn * scale + middle).astype(np.float32)


def difference(left: np.ndarray, right: np.ndarray) -> float:
    """Mean absolute difference in levels, 0 to 255."""
    return float(np.abs(left.astype(float) - right.astype(float)).mean())


def test_the_square_is_that_of_karras_et_al():
    square = square_of(FACE.astype(np.float32))
    eyes, mouth = FACE[:2].mean(axis=0), FACE[3:].mean(axis=0)
    half = max(2.0 * 28, 1.8 * (mouth - eyes)[1])
    assert square.size == pytest.approx(2 * half)
    assert square.roll == pytest.approx(0)
    assert square.centre == pytest.approx(eyes + 0.1 * (mouth - eyes))
    assert square.corners[0] == pytest.approx(square.centre - half)


@given(
    scale=st.floats(0.3, 6),
    degrees=st.floats(-179, 179),
    x=st.floats(-50, 400),
    y=st.floats(-50, 400),
)
@settings(max_examples=100, deadline=None)
def test_an_aligned_face_aligned_again_is_itself_within_a_pixel(
    scale: float, degrees: float, x: float, y: float
):
    points = place(scale=scale, degrees=degrees, middle=(x, y))
    aligned = square_of(points)
    # Where the landmarks lie in the crop: its corners are the square's.
    basis = np.stack([aligned.across, aligned.down]) * 2 / 128
    within = (points - aligned.corners[0]) @ np.linalg.inv(basis)
    again = square_of(within.astype(np.float32))
    assert again.corners == pytest.approx(np.array([[0, 0], [0, 128], [128, 128], [128, 0]]), abs=1)
    assert aligned.roll == pytest.approx(degrees, abs=0.1)


def test_the_crop_of_an_aligned_face_is_itself():
    picture = smooth_picture(300, 300)
    points = place(scale=1.5, degrees=20, middle=(150, 150))
    first, square = align(picture, points), square_of(points)
    basis = np.stack([square.across, square.down]) * 2 / 128
    within = ((points - square.corners[0]) @ np.linalg.inv(basis)).astype(np.float32)
    again = align(Image.fromarray(first.crop), within)
    assert difference(first.crop, again.crop) < 1
    assert again.size == pytest.approx(128, abs=0.1)


@given(degrees=st.integers(0, 359), scale=st.sampled_from([0.6, 1.1, 2.5]))
@settings(max_examples=40, deadline=None)
def test_a_turned_picture_gives_the_same_crop(degrees: int, scale: float):
    picture = smooth_picture(700, 700)
    upright = align(picture, place(scale=scale, degrees=0, middle=(350, 350)))
    turned = picture.rotate(-degrees, Image.Resampling.BICUBIC)
    found = align(turned, place(scale=scale, degrees=degrees, middle=(350, 350)))
    assert difference(upright.crop, found.crop) < 1.5
    assert found.size == pytest.approx(upright.size, rel=1e-4)
    assert math.cos(math.radians(found.roll - degrees)) == pytest.approx(1, abs=1e-4)


@given(
    across=st.integers(-60, 60), down=st.integers(-60, 60), scale=st.sampled_from([0.7, 1.7, 3.4])
)
@settings(max_examples=30, deadline=None)
def test_a_moved_picture_gives_the_same_crop(across: int, down: int, scale: float):
    picture = smooth_picture(800, 800)
    points = place(scale=scale, degrees=8, middle=(400, 400))
    moved = picture.transform(
        picture.size, Image.Transform.AFFINE, (1, 0, -across, 0, 1, -down), Image.Resampling.NEAREST
    )
    there = align(moved, points + np.array([across, down], np.float32))
    assert difference(align(picture, points).crop, there.crop) < 0.6


def test_a_mirrored_picture_gives_the_mirrored_crop():
    picture = smooth_picture(400, 300)
    points = place(scale=1.4, degrees=12, middle=(180, 140))
    mirrored = points * np.array([-1, 1], np.float32) + np.array([400, 0], np.float32)
    swapped = mirrored[[1, 0, 2, 4, 3]]
    found = align(picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT), swapped)
    assert difference(align(picture, points).crop[:, ::-1], found.crop) < 0.6


@pytest.mark.parametrize("scale", [0.4, 0.9, 1.3, 2.0, 4.5, 9.0])
def test_a_larger_copy_gives_the_same_crop(scale: float):
    picture = smooth_picture(1200, 1200)
    small = picture.resize((300, 300), Image.Resampling.BICUBIC)
    there = align(small, place(scale=scale / 4, degrees=-15, middle=(150, 150)))
    here = align(picture, place(scale=scale, degrees=-15, middle=(600, 600)))
    assert difference(here.crop, there.crop) < 2.5
    assert here.size == pytest.approx(4 * there.size, rel=1e-3)


@pytest.mark.parametrize("scale", [0.4, 0.9, 1.3, 2.0, 3.1, 4.5, 7.0])
@pytest.mark.parametrize("degrees", [0, 33])
def test_pixels_are_taken_from_their_own_places(scale: float, degrees: float):
    """On a slope every value says where it came from; two slopes, as Pillow rounds values down."""
    slope = np.repeat(np.round(np.arange(1250) / 5)[None, :, None], 1250, axis=0).repeat(3, axis=2)
    points = place(scale=scale, degrees=degrees, middle=(625, 625))
    rising, falling = (
        align(Image.fromarray(values.astype(np.uint8)), points).crop[..., 0].astype(float)
        for values in (slope, 250 - slope)
    )
    square = square_of(points)
    steps = (np.arange(128) + 0.5) / 64
    x = square.corners[0, 0] + square.across[0] * steps + square.down[0] * steps[:, None]
    pixels_off = 5 * ((rising + 250 - falling) / 2 - (x - 0.5) / 5).mean()
    assert abs(pixels_off) < max(0.1 * square.size / 128, 0.2)


@pytest.mark.parametrize("scale", [2.0, 3.1, 7.0])
def test_what_is_made_smaller_is_averaged(scale: float):
    """Stripes of one pixel become grey, not stripes of another width."""
    stripes = np.zeros((1000, 1000, 3), np.uint8)
    stripes[:, ::2] = 255
    crop = align(Image.fromarray(stripes), place(scale=scale, degrees=0, middle=(500, 500))).crop
    assert np.abs(crop.astype(int) - 127).max() < 50


@pytest.mark.parametrize("middle", [(0, 0), (-30, 50), (99, 99), (50, 140), (-400, 800)])
def test_the_edge_is_mirrored(middle: tuple[int, int]):
    picture = smooth_picture(100, 100)
    tiled = np.asarray(picture)
    tiled = np.concatenate([tiled, tiled[:, ::-1]], axis=1)
    tiled = np.tile(np.concatenate([tiled, tiled[::-1]]), (12, 12, 1))
    points = place(scale=1.2, degrees=30, middle=middle)
    beyond = align(Image.fromarray(tiled), points + np.float32(1200))
    assert difference(align(picture, points).crop, beyond.crop) < 0.6


def test_the_crop_has_the_size_that_is_asked_for():
    aligned = align(smooth_picture(200, 200), place(scale=1, degrees=0, middle=(100, 100)), size=96)
    assert aligned.crop.shape == (96, 96, 3)
    assert aligned.crop.dtype == np.uint8
    assert aligned.quad.shape == (4, 2)


@pytest.mark.parametrize("broken", [np.zeros((5, 2)), np.full((5, 2), np.nan)])
def test_landmarks_of_no_face_are_refused(broken: np.ndarray):
    with pytest.raises(ValueError, match="no face has these landmarks"):
        align(smooth_picture(64, 64), broken.astype(np.float32))


@pytest.mark.parametrize("extent", [(1, 1), (1, 400), (400, 1), (3, 2)])
def test_a_picture_of_hardly_any_pixels_can_be_drawn(extent: tuple[int, int]):
    crop = align(
        Image.new("RGB", extent, (9, 99, 199)), place(scale=1, degrees=40, middle=(0, 0))
    ).crop
    assert (crop == np.array([9, 99, 199])).all()
