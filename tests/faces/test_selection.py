"""Which faces of a picture are judged, and in which order."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepfake_core.faces.records import FoundFace
from deepfake_core.faces.selection import TEMPLATE, misfit, select_faces

UPRIGHT = np.stack([TEMPLATE.real, TEMPLATE.imag], axis=1)


def face(x: float, y: float, side: float, *, found: float = 0.9) -> FoundFace:
    landmarks = UPRIGHT * side / 4 + [x + side / 2, y + side / 2]
    return FoundFace(x, y, side, side, found, landmarks.astype(np.float32))


def test_the_largest_and_surest_come_first():
    small, large, unsure = face(0, 0, 20), face(50, 0, 60), face(0, 99, 60, found=0.75)
    selection = select_faces([small, unsure, large], (300, 300))
    assert selection.faces == (large, unsure, small)
    assert selection.found == 3


def test_the_number_is_bounded_and_the_rest_counted():
    crowd = [face(10 * at, 0, 30 + at) for at in range(40)]
    selection = select_faces(crowd, (800, 800))
    assert len(selection.faces) == 16
    assert selection.found == 40
    assert {one.width for one in selection.faces} == {float(30 + at) for at in range(24, 40)}
    assert select_faces(crowd, (800, 800), most=3).faces == selection.faces[:3]


@given(order=st.permutations(range(6)))
def test_the_order_does_not_depend_on_that_of_the_finder(order: list[int]):
    faces = [face(100 * (at % 3), 100 * (at // 3), 50) for at in range(6)]
    assert select_faces([faces[at] for at in order], (400, 400)).faces == tuple(faces)


def test_landmarks_that_no_face_has_are_left_out():
    shuffled = UPRIGHT[[2, 4, 0, 1, 3]] * 20 + 50
    odd = FoundFace(0, 0, 100, 100, 0.9, shuffled.astype(np.float32))
    point = FoundFace(0, 0, 100, 100, 0.9, np.zeros((5, 2), np.float32))
    assert select_faces([odd, point, face(0, 0, 40)], (200, 200)).found == 1


def test_a_face_that_would_be_larger_than_any_picture_is_left_out():
    assert select_faces([face(-900, -900, 2000)], (100, 100)).faces == ()
    assert select_faces([face(-20, -20, 140)], (100, 100)).found == 1


@pytest.mark.parametrize("degrees", [0, 45, 180, 300])
def test_turn_size_and_place_are_no_misfit(degrees: int):
    turned = TEMPLATE * np.exp(1j * np.radians(degrees)) * 37 + (400 - 20j)
    landmarks = np.stack([turned.real, turned.imag], axis=1).astype(np.float32)
    assert misfit(FoundFace(0, 0, 1, 1, 0.9, landmarks)) == pytest.approx(0, abs=1e-3)
