"""The images of training: batches that repeat, both classes alike, and what teachers add."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deepfake_core.datasets.labelled import Labelled
from deepfake_core.errors import ModelError, SourceError, UsageError
from deepfake_core.models.onnx_spec import OnnxSpec
from deepfake_core.training.augmentation import augment
from deepfake_core.training.batches import Batches
from deepfake_core.training.data import TrainingData
from deepfake_core.training.distillation import Teachers
from deepfake_core.training.fit import fit
from deepfake_core.training.recipe import TrainConfig, rate_at
from tests.support.training import SMALL, changed

pytestmark = pytest.mark.slow


def test_a_batch_is_the_same_whenever_and_however_it_is_made(train: tuple[Labelled, ...]) -> None:
    one, two = Batches(SMALL, train), Batches(SMALL, train)
    one.batch(1)
    alone = [two.batch(number) for number in (3, 4, 5)]
    for made in (one.from_tf_data(3, 6), one.from_threads(3, 6)):
        for first, second in zip(made, alone, strict=True):
            for left, right in zip(first, second, strict=True):
                np.testing.assert_array_equal(left, right)
                assert left.dtype == np.float32
    assert not np.array_equal(alone[0][0], alone[1][0])


def test_batches_hold_as_many_fakes_as_reals_and_miss_none(train: tuple[Labelled, ...]) -> None:
    uneven = [image for image in train if image.fake][:3] + [i for i in train if not i.fake]
    stream = Batches(changed(mixed_share=0.0), uneven)
    _, targets = stream.batch(0)
    np.testing.assert_allclose(targets[:, :2].sum(axis=0), [4, 4])
    assert not targets[:, 2:].any()
    # Three batches of four of each class: the twelve real ones, each once.
    assert sorted(stream._draw(1, nth) for nth in range(12)) == list(range(12))
    assert sorted(stream._draw(0, nth) for nth in range(3)) == [0, 1, 2]


def test_rare_groups_of_people_can_be_drawn_as_often() -> None:
    images = [
        Labelled(Path(f"{n}.jpg"), fake, str(n), people={"people_age": "old" if n < 2 else "young"})
        for fake in (True, False)
        for n in range(10)
    ]
    stream = Batches(changed(group_balanced=True), images)
    old = sum(stream._draw(kind, nth) < 2 for kind in (0, 1) for nth in range(500))
    assert 420 < old < 580


def test_an_unreadable_image_is_named_by_every_pipeline(
    train: tuple[Labelled, ...], tmp_path: Path
) -> None:
    (tmp_path / "half.jpg").write_bytes(train[0].path.read_bytes()[:400])
    broken = [Labelled(tmp_path / "half.jpg", fake, "a") for fake in (True, False)]
    for batches in (Batches(SMALL, broken).from_tf_data, Batches(SMALL, broken).from_threads):
        with pytest.raises(SourceError, match=r"half\.jpg: decode\.corrupt"):
            list(batches(0, 2))


def test_augmented_pictures_keep_shape_and_type() -> None:
    picture = Image.fromarray(np.full((60, 50, 3), 120, np.uint8))
    for seed in range(60):
        pixels = augment(picture, size=32, rng=np.random.default_rng(seed))
        assert pixels.shape == (32, 32, 3)
        assert pixels.dtype == np.uint8


def test_the_rate_rises_then_falls_or_stays() -> None:
    config = TrainConfig(warmup=10, rate=1.0)
    rates = [rate_at(step, config, 100) for step in range(100)]
    assert rates[9] == pytest.approx(1.0)
    assert rates[:10] == sorted(rates[:10])
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[-1] < 0.001
    assert rate_at(90, changed(config, schedule="constant"), 100) == 1.0


def test_epochs_take_the_place_of_steps() -> None:
    assert TrainConfig(steps=7).steps_for(1000) == 7
    assert TrainConfig(epochs=1.5, batch_size=32).steps_for(1000) == 47


def write_teacher(path: Path, *, channels_first: bool, outputs: int, size: int = 32) -> None:
    """The brighter the likelier fake: with two outputs, the second means fake."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    shape = ["N", 3, size, size] if channels_first else ["N", size, size, 3]
    axes = [2, 3] if channels_first else [1, 2]
    kernel = np.full((3, outputs), 0.01, np.float32) * ([-1, 1] if outputs == 2 else [1])
    graph = helper.make_graph(
        [
            helper.make_node("ReduceMean", ["x"], ["mean"], axes=axes, keepdims=0),
            helper.make_node("Sub", ["mean", "grey"], ["centred"]),
            helper.make_node("MatMul", ["centred", "kernel"], ["y"]),
        ],
        "teacher",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", outputs])],
        [
            numpy_helper.from_array(np.float32([127.0]), "grey"),
            numpy_helper.from_array(kernel.astype(np.float32), "kernel"),
        ],
    )
    opset = [helper.make_opsetid("", 13)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), path)


@pytest.mark.parametrize(("channels_first", "outputs"), [(True, 1), (False, 2), (True, 2)])
def test_teachers_of_any_layout_teach(tmp_path: Path, channels_first: bool, outputs: int) -> None:
    path = tmp_path / "teacher.onnx"
    write_teacher(path, channels_first=channels_first, outputs=outputs)
    grey = np.stack([np.full((40, 40, 3), value, np.uint8) for value in (27, 127, 227)])
    # Its own size is 32: the images are resized for it.
    logits = Teachers([path], OnnxSpec(fake_output=1, output_kind="logit"), size=40).logits(grey)
    np.testing.assert_allclose(logits, np.array([-3, 0, 3]) * outputs, rtol=0.02, atol=0.01)


def test_unlabelled_images_take_part_through_the_teachers(
    train: tuple[Labelled, ...], tmp_path: Path
) -> None:
    path = tmp_path / "teacher.onnx"
    write_teacher(path, channels_first=True, outputs=2)
    spec = OnnxSpec(fake_output=1, output_kind="logit")
    config = changed(
        unlabelled_share=0.25, mixed_share=0.0, teacher_format=spec.model_dump(), steps=2
    )
    teachers = Teachers([path], spec, size=32)
    _, targets = Batches(config, train, unlabelled=train, teachers=teachers).batch(0)
    np.testing.assert_allclose(targets.sum(axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(targets[:, :2].sum(axis=1), [0.4] * 6 + [0] * 2, rtol=1e-5)
    assert (targets[:3, 2] > targets[:3, 3]).all()
    taught = TrainingData(train, train, unlabelled=train, teachers=(path,))
    fit(config, taught, work=tmp_path / "work")
    with pytest.raises(UsageError, match="with a teacher only"):
        fit(config, TrainingData(train, unlabelled=train), work=tmp_path / "other")
    with pytest.raises(ModelError, match="no teacher"):
        fit(config, TrainingData(train, teachers=(tmp_path / "no.onnx",)), work=tmp_path / "other")
