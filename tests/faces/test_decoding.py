"""From the network's maps to faces, and one face where several boxes were drawn."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deepfake_core.faces.decoding import (
    NotFiniteError,
    decode_maps,
    keep_one_each,
    one_each,
    same_face,
)
from deepfake_core.faces.records import FoundFace
from deepfake_core.records import Float32Array


def empty_maps(cells: int = 40) -> list[Float32Array]:
    return [np.zeros((channels, cells, cells), np.float32) for channels in (1, 2, 2, 10)]


def plant(
    maps: list[Float32Array], row: int, column: int, *, found: float, height: float, width: float
) -> None:
    """Let a cell say that it holds a face, whose landmarks lie at parts 0.1 to 1 of the box."""
    maps[0][0, row, column] = found
    maps[1][:, row, column] = np.log(np.array([height, width]) / 4)
    maps[2][:, row, column] = (0.25, -0.25)
    maps[3][:, row, column] = np.arange(1, 11) / 10


def face_at(x: float, y: float, side: float, *, found: float) -> FoundFace:
    return FoundFace(x, y, side, side, found, np.zeros((5, 2), np.float32))


def test_a_cell_becomes_a_face():
    maps = empty_maps()
    plant(maps, 10, 20, found=0.9, height=40, width=30)
    (face,) = decode_maps(maps, found_from=0.5, overlap=0.3)
    assert face.found == pytest.approx(0.9)
    assert (face.width, face.height) == pytest.approx((30, 40))
    assert face.x == pytest.approx((20 - 0.25 + 0.5) * 4 - 15)
    assert face.y == pytest.approx((10 + 0.25 + 0.5) * 4 - 20)
    # Down comes first in the map: 0.1 of the height, 0.2 of the width.
    assert face.landmarks[0] == pytest.approx([face.x + 0.2 * 30, face.y + 0.1 * 40])
    assert face.landmarks[4] == pytest.approx([face.x + 1.0 * 30, face.y + 0.9 * 40])


def test_what_is_below_the_confidence_is_no_face():
    maps = empty_maps()
    plant(maps, 3, 3, found=0.49, height=20, width=20)
    assert decode_maps(maps, found_from=0.5, overlap=0.3) == []


def test_neighbouring_cells_are_one_face_and_the_surest_stays():
    maps = empty_maps()
    for column, found in ((20, 0.7), (21, 0.9), (22, 0.8)):
        plant(maps, 10, column, found=found, height=60, width=50)
    plant(maps, 30, 5, found=0.6, height=20, width=20)
    faces = decode_maps(maps, found_from=0.5, overlap=0.3)
    assert [face.found for face in faces] == pytest.approx([0.9, 0.6])


@pytest.mark.parametrize("which", [0, 1, 2, 3])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_numbers_that_are_none_are_named(which: int, value: float):
    maps = empty_maps()
    plant(maps, 10, 20, found=0.9, height=40, width=30)
    maps[which][0, 10, 20] = value
    with pytest.raises(NotFiniteError):
        decode_maps(maps, found_from=0.5, overlap=0.3)


def test_a_size_beyond_any_canvas_is_bounded():
    maps = empty_maps()
    plant(maps, 10, 20, found=0.9, height=40, width=30)
    maps[1][:, 10, 20] = 80
    (face,) = decode_maps(maps, found_from=0.5, overlap=0.3)
    assert face.width < 5000


def test_maps_full_of_faces_are_decoded_soon():
    maps = empty_maps(cells=160)
    rng = np.random.default_rng(0)
    maps[0][:] = rng.uniform(0.5, 1, maps[0].shape)
    maps[1][:] = np.log(3 / 4)
    assert len(decode_maps(maps, found_from=0.5, overlap=0.3)) <= 4096


boxes_of_pictures = st.lists(
    st.tuples(st.floats(0, 90), st.floats(0, 90), st.floats(1, 60), st.floats(1, 60)), max_size=25
).map(lambda boxes: np.array(boxes, np.float64).reshape(-1, 4))


@given(boxes=boxes_of_pictures)
@settings(max_examples=60, deadline=None)
def test_boxes_that_are_kept_are_apart_and_each_other_one_has_its_match(boxes: np.ndarray):
    kept = keep_one_each(boxes, overlap=0.3)
    assert kept == sorted(kept)
    assert kept[:1] == [0][: len(boxes)]
    for index in range(len(boxes)):
        matches = [intersection_over_union(boxes[index], boxes[one]) for one in kept if one < index]
        assert (index in kept) == all(match < 0.3 for match in matches)


def intersection_over_union(left: np.ndarray, right: np.ndarray) -> float:
    """Written out plainly, for comparison; 1 where most of one lies in the other."""
    across = min(left[0] + left[2], right[0] + right[2]) - max(left[0], right[0])
    down = min(left[1] + left[3], right[1] + right[3]) - max(left[1], right[1])
    shared = max(across, 0) * max(down, 0)
    areas = left[2] * left[3], right[2] * right[3]
    return 1.0 if shared >= 0.8 * min(areas) else shared / (sum(areas) - shared)


def test_one_face_within_another_is_the_surer():
    outer, inner = face_at(0, 0, 100, found=0.8), face_at(40, 40, 20, found=0.9)
    apart = face_at(200, 0, 50, found=0.7)
    assert one_each([outer, inner, apart], overlap=0.3) == [inner, apart]


def test_the_same_face_is_the_one_that_overlaps_most():
    place = face_at(10, 10, 100, found=0.4)
    near, far = face_at(18, 12, 100, found=0.8), face_at(200, 10, 100, found=0.9)
    assert same_face(place, [far, near]) is near
    assert same_face(place, [far]) is None
    assert same_face(place, []) is None
