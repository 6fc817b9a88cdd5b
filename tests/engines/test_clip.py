"""The second look's network: against plain NumPy, alone and in company, at each precision."""

import threading
from pathlib import Path

import numpy as np
import pytest

from deepfake_core.engines.clip_engine import (
    ClipEngine,
    open_second_look,
    processor_flags,
    second_precisions,
)
from deepfake_core.engines.clip_graph import build_clip_graph, build_feature_graph
from deepfake_core.errors import ModelError
from deepfake_core.models.decision import Calibration
from deepfake_core.models.second_look import (
    ClipShape,
    LookDescription,
    SecondBundle,
    write_second,
)
from deepfake_core.release.clip_import import store_arrays
from tests.support.vision_transformer import (
    TINY_SHAPE,
    reference_features,
    reference_logits,
    tiny_arrays,
)

FACES = np.random.default_rng(5).integers(0, 256, (5, 12, 12, 3), dtype=np.uint8)


def tiny_look(folder: Path, *, precisions: tuple = ("fp32", "bf16", "int8")) -> SecondBundle:
    store_arrays(folder, tiny_arrays())
    description = LookDescription(
        name="clip",
        version=1,
        shape=TINY_SHAPE,
        finder="centerface@1",
        calibrations={"fp32": Calibration()},
        precisions=precisions,
        files={},
    )
    return write_second(folder, description)


def test_the_graph_computes_what_numpy_does():
    from deepfake_core.engines.libraries import ov

    arrays = tiny_arrays()
    exact = {"INFERENCE_PRECISION_HINT": "f32", "DYNAMIC_QUANTIZATION_GROUP_SIZE": 0}
    logits, features = (
        ov.Core().compile_model(build(TINY_SHAPE, arrays), "CPU", exact)(FACES)[0]
        for build in (build_clip_graph, build_feature_graph)
    )
    assert features == pytest.approx(reference_features(TINY_SHAPE, arrays, FACES), abs=1e-3)
    assert logits == pytest.approx(reference_logits(TINY_SHAPE, arrays, FACES), abs=1e-3)
    assert np.ptp(logits) > 0.1, "faces that score alike would hide a fault"


def test_a_missing_array_is_named():
    arrays = tiny_arrays()
    del arrays["block2/up/bias"]
    with pytest.raises(ModelError, match="lack block2/up/bias"):
        build_clip_graph(TINY_SHAPE, arrays)


def test_a_shape_that_cannot_be_is_refused():
    with pytest.raises(ValueError, match="whole patches"):
        ClipShape(enlarged=225)
    with pytest.raises(ValueError, match="not all among 1 to 12"):
        ClipShape(read=(4, 13))


@pytest.mark.parametrize("precision", ["fp32", "bf16", "int8"])
def test_a_score_depends_on_nothing_but_the_face(tmp_path, precision):
    engine = open_second_look(tiny_look(tmp_path), precision)
    together = engine.logits(FACES)
    parts = [engine.logits(FACES[:2]), engine.logits(FACES[2:4]), engine.logits(FACES[4:])]
    assert (np.concatenate(parts) == together).all()
    assert (engine.logits(FACES[::-1]) == together[::-1]).all()
    expected = reference_logits(TINY_SHAPE, tiny_arrays(), FACES)
    assert together == pytest.approx(expected, abs=1e-3 if precision == "fp32" else 0.2)


@pytest.mark.skipif(
    not processor_flags() & {"avx512_vnni", "avx_vnni"}, reason="this processor lacks VNNI"
)
def test_int8_rounds_the_inputs_of_products_and_fp32_does_not(tmp_path):
    look = tiny_look(tmp_path)
    exact = reference_logits(TINY_SHAPE, tiny_arrays(), FACES)
    errors = {
        precision: np.abs(open_second_look(look, precision).logits(FACES) - exact).max()
        for precision in ("fp32", "int8")
    }
    assert errors["fp32"] < 1e-4 < errors["int8"]


def test_the_network_is_read_when_the_first_face_comes(tmp_path):
    look = tiny_look(tmp_path)
    engine = open_second_look(look, "fp32")
    assert engine.logits(FACES[:0]).shape == (0,)
    assert not engine.loaded
    (tmp_path / "head.npz").unlink()
    with pytest.raises(ModelError, match=r"lacks head\.npz"):
        engine.logits(FACES)


def test_several_threads_read_the_network_once():
    loads = []

    def load():
        loads.append(threading.get_ident())
        return build_clip_graph(TINY_SHAPE, tiny_arrays())

    engine = ClipEngine(load, size=12, precision="fp32")
    found: list[np.ndarray] = []
    threads = [
        threading.Thread(target=lambda: found.append(engine.logits(FACES))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(loads) == 1
    assert len(found) == 4
    assert all((one == found[0]).all() for one in found)


def test_pixels_of_another_size_are_refused(tmp_path):
    engine = open_second_look(tiny_look(tmp_path), "fp32")
    with pytest.raises(ValueError, match="expected uint8"):
        engine.logits(np.zeros((1, 128, 128, 3), np.uint8))


def test_the_fastest_precision_depends_on_the_processor(tmp_path):
    look = tiny_look(tmp_path)
    assert second_precisions(look, frozenset())[-1] == "fp32"
    assert "int8" not in second_precisions(look, frozenset())
    assert second_precisions(look, frozenset({"avx512_vnni"}))[0] == "int8"
    with_tiles = second_precisions(look, frozenset({"avx512_vnni", "amx_bf16"}))
    assert with_tiles[0] != "int8" or "bf16" not in with_tiles
    exact = tiny_look(tmp_path / "exact", precisions=("fp32",))
    assert second_precisions(exact, processor_flags()) == ("fp32",)
