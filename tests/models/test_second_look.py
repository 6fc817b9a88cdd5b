"""Second looks on disk: found by name, checked by hash, paired by the hash of the first look."""

import json

import numpy as np
import pytest

from deepfake_core.errors import ModelError
from deepfake_core.models.bundle import Curve
from deepfake_core.models.decision import Calibration, Thresholds
from deepfake_core.models.pair import Pair
from deepfake_core.models.registry import list_models
from deepfake_core.models.second_look import (
    LOOK_FILE,
    LookDescription,
    SecondBundle,
    find_second,
    read_second,
    write_pair,
    write_second,
)
from deepfake_core.release.clip_import import store_arrays
from tests.support.vision_transformer import TINY_SHAPE, tiny_arrays

FIRST = "a" * 64


def registered(registry, name: str = "clip", version: int = 1, *, seed: int = 0) -> SecondBundle:
    """A second look in a registry, which is current."""
    folder = registry / name / str(version)
    store_arrays(folder, tiny_arrays(seed))
    (registry / name / "current.json").write_text(json.dumps({"version": version}))
    description = LookDescription(
        name=name,
        version=version,
        shape=TINY_SHAPE,
        finder="centerface@1",
        calibrations={"fp32": Calibration()},
        files={},
    )
    return write_second(folder, description)


def paired(look: SecondBundle, first: str = FIRST, line: float = 0.1) -> Pair:
    curve = Curve(calibration=Calibration(), thresholds=Thresholds(real_below=0.2, fake_from=0.8))
    return Pair(
        first=first,
        first_model_id="tiny@1+aaaaaaaa",
        second=look.digest,
        line=line,
        curves={"int8": curve},
    )


def test_it_is_found_by_name_by_version_or_as_the_only_one(tmp_path):
    assert find_second(None, tmp_path) is None
    first = registered(tmp_path, version=1)
    second = registered(tmp_path, version=2, seed=1)
    assert find_second(None, tmp_path) == second
    assert find_second("clip", tmp_path) == second
    assert find_second("clip@1", tmp_path) == first
    assert first.model_id == f"clip@1+{first.digest[:8]}"
    with pytest.raises(ModelError, match=r"no model clip@3 in .*; there are: clip@1, clip@2"):
        find_second("clip@3", tmp_path)
    for path in ("clip@../1", "../clip", "clip@01/..", "/etc"):
        with pytest.raises(ModelError, match="no model named"):
            find_second(path, tmp_path)
    registered(tmp_path, "other")
    with pytest.raises(ModelError, match="several second looks are current: clip, other"):
        find_second(None, tmp_path)


def test_it_is_never_offered_as_a_first_look(tmp_path):
    registered(tmp_path)
    assert list_models(tmp_path) == {}


def test_weights_come_back_as_they_were_and_damage_is_noticed(tmp_path):
    look = registered(tmp_path)
    weights = look.weights()
    assert {key: one.dtype for key, one in weights.items()} == {
        key: one.dtype for key, one in tiny_arrays().items()
    }
    assert all((weights[key] == one).all() for key, one in tiny_arrays().items())
    head = look.folder / "head.npz"
    head.write_bytes(head.read_bytes()[:-1] + b"x")
    with pytest.raises(ModelError, match="was changed or damaged"):
        look.weights()


def test_pickled_weights_are_refused(tmp_path):
    look = registered(tmp_path)
    np.savez(look.folder / "head.npz", anything=np.array([object()], dtype=object))
    again = write_second(look.folder, look.description)
    with pytest.raises(ModelError, match="cannot be read as weights"):
        again.weights()


def test_a_pair_is_found_by_the_hash_of_the_first_look(tmp_path):
    look = registered(tmp_path)
    assert look.pair_with(FIRST) is None
    write_pair(look, paired(look))
    assert look.pair_with(FIRST) == paired(look)
    assert look.pair_with("c" * 64) is None
    assert read_second(look.folder).digest == look.digest, "a pair changes nothing of the network"
    write_pair(look, paired(look, line=0.2))
    assert look.pair_with(FIRST).line == 0.2
    assert paired(look).digest != paired(look, line=0.2).digest


def test_a_pair_of_other_models_is_refused(tmp_path):
    look = registered(tmp_path)
    path = write_pair(look, paired(look))
    path.rename(path.with_name(f"{'c' * 64}.json"))
    with pytest.raises(ModelError, match="made with other models"):
        look.pair_with("c" * 64)
    write_pair(look, paired(look).model_copy(update={"second": "d" * 64}))
    with pytest.raises(ModelError, match="made with other models"):
        look.pair_with(FIRST)


def test_a_precision_without_a_curve_is_named(tmp_path):
    look = registered(tmp_path)
    assert paired(look).curve("int8").thresholds.fake_from == 0.8
    with pytest.raises(ModelError, match="paired at int8, not at bf16"):
        paired(look).curve("bf16")


def test_a_damaged_description_says_where(tmp_path):
    look = registered(tmp_path)
    path = look.folder / LOOK_FILE
    content = json.loads(path.read_text())
    path.write_text(json.dumps({**content, "shape": {**content["shape"], "heads": 0}}))
    with pytest.raises(ModelError, match=r"is not a second look: shape\.heads"):
        read_second(look.folder)
