"""A head is fitted near the one that it had, from features that are kept."""

from pathlib import Path

import numpy as np
import pytest

from deepfake_core.engines.clip_engine import ClipEngine, open_second_look, open_tower
from deepfake_core.engines.clip_head import ClipHead
from deepfake_core.errors import ModelError
from deepfake_core.models.second_look import SecondBundle, find_second
from deepfake_core.ranking import auc
from deepfake_core.records import Float32Array, UInt8Array
from deepfake_core.release.head_fitting import HeadFaces, fit_head
from deepfake_core.release.kept_features import KeptLook, head_of, open_kept_tower
from tests.support.second_look import two_looks

FEATURES = 40


@pytest.fixture(scope="module")
def look(tmp_path_factory: pytest.TempPathFactory, tiny_registry: Path) -> SecondBundle:
    found = find_second(None, two_looks(tmp_path_factory.mktemp("own") / "models", tiny_registry))
    assert found is not None
    return found


def pixels(look: SecondBundle, count: int) -> np.ndarray:
    size = look.description.shape.size
    return np.random.default_rng(count).integers(0, 256, (count, size, size, 3)).astype(np.uint8)


def test_the_head_in_numpy_is_that_of_the_graph(look: SecondBundle):
    faces = pixels(look, 5)
    features = open_tower(look, "fp32").features(faces)
    exact = open_second_look(look, "fp32").logits(faces)
    np.testing.assert_allclose(head_of(look).logits(features), exact, atol=1e-4)
    with pytest.raises(ModelError, match="lacks head/mean"):
        ClipHead({}).logits(features)


def test_no_face_goes_through_the_tower_twice(
    look: SecondBundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    asked: list[int] = []
    features = ClipEngine.features

    def counted(tower: ClipEngine, faces: UInt8Array) -> Float32Array:
        asked.append(len(faces))
        return features(tower, faces)

    monkeypatch.setattr(ClipEngine, "features", counted)
    faces = pixels(look, 4)
    tower = open_kept_tower(look, "fp32", tmp_path)
    first = tower.features(faces[:3])
    assert len(list(tmp_path.glob("*-fp32/*.npy"))) == 3
    again = open_kept_tower(look, "fp32", tmp_path)
    np.testing.assert_array_equal(again.features(faces[:3]), first)
    assert sum(asked) == 3
    again.features(faces)
    assert sum(asked) == 4
    kept = KeptLook(again, head_of(look))
    exact = open_second_look(look, "fp32").logits(faces)
    np.testing.assert_allclose(kept.logits(faces), exact, atol=1e-4)
    assert kept.logits(faces[:0]).shape == (0,)


def head(seed: int = 0) -> ClipHead:
    rng = np.random.default_rng(seed)
    return ClipHead(
        {
            "head/mean": np.zeros(FEATURES, np.float32),
            "head/deviation": np.ones(FEATURES, np.float32),
            "head/hidden/kernel": np.zeros((2, FEATURES), np.int8),
            "head/hidden/scale": np.ones(2, np.float32),
            "head/hidden/bias": np.zeros(2, np.float32),
            "head/linear/kernel": (3 * (np.arange(FEATURES) == 0)).astype(np.float32),
            "head/out/kernel": rng.normal(0, 1, 2).astype(np.float32),
            "head/bias": np.zeros(1, np.float32),
        }
    )


def faces(seed: int, count: int, *, told_by: int | None) -> HeadFaces:
    """Faces of which one feature tells the class; two views of each."""
    rng = np.random.default_rng(seed)
    features = np.repeat(rng.normal(0, 1, (count, FEATURES)), 2, axis=0).astype(np.float32)
    fake = np.repeat(np.arange(count) % 2 == 0, 2)
    if told_by is not None:
        features[:, told_by] += 3 * fake
    names = [str(at // 2) for at in range(2 * count)]
    return HeadFaces(features, fake, names, names)


def test_a_new_head_finds_what_the_old_one_missed_and_keeps_what_it_found():
    new, known = faces(1, 60, told_by=5), faces(2, 400, told_by=0)
    before, fitted = head(), fit_head(head(), new)
    assert fitted.strength is not None
    assert fitted.losses[fitted.strength] < fitted.unchanged
    unseen = faces(3, 400, told_by=5)
    assert auc(before.logits(unseen.features), unseen.fake) < 0.6
    assert auc(fitted.head.logits(unseen.features), unseen.fake) > 0.9
    # It was shown none of what it found before, and does not forget all of it.
    assert auc(fitted.head.logits(known.features), known.fake) > 0.7
    for name in ("head/mean", "head/hidden/kernel", "head/hidden/scale"):
        np.testing.assert_array_equal(fitted.head.arrays[name], before.arrays[name])


def test_where_nothing_is_to_be_learnt_the_old_head_stays():
    silent = ClipHead({**head().arrays, "head/linear/kernel": np.zeros(FEATURES, np.float32)})
    fitted = fit_head(silent, faces(4, 50, told_by=None))
    assert fitted.strength is None
    assert min(fitted.losses.values()) >= fitted.unchanged
    assert fitted.head is silent


def test_a_fit_is_the_same_whatever_the_order():
    new = faces(1, 30, told_by=5)
    turned = HeadFaces(new.features[::-1], new.fake[::-1], new.images[::-1], new.groups[::-1])
    probe = faces(6, 20, told_by=None).features
    one, other = (fit_head(head(), some).head.logits(probe) for some in (new, turned))
    np.testing.assert_allclose(one, other, atol=1e-3)
