"""Make int8 networks of an fp32 graph, in several ways to compare."""

from __future__ import annotations

import contextlib
import logging
import sys
from typing import TYPE_CHECKING, Any

from deepfake_core.records import UInt8Array

if TYPE_CHECKING:
    from deepfake_core.engines.libraries import ov

# The head of a network that was trained here: few filters carry everything.
HEAD = "head_"
LAYERS = {"Convolution", "GroupConvolution", "MatMul"}

# The ways in the order in which they are tried; the first that qualifies is shipped.
WAYS: dict[str, dict[str, Any]] = {
    "simple": {},
    "smooth": {"smooth_quant": True},
    "accurate_bias": {"fast_bias_correction": False},
    "ends_kept": {"keep_ends": True},
    "ends_kept_accurate_bias": {"keep_ends": True, "fast_bias_correction": False},
}


def quantise(
    model: ov.Model,
    pixels: UInt8Array,
    *,
    keep_ends: bool = False,
    smooth_quant: bool = False,
    fast_bias_correction: bool = True,
) -> ov.Model:
    """Quantise a graph after training (NNCF).

    Args:
        model: from uint8[N, size, size, 3] to float32[N].
        pixels: uint8[M, size, size, 3] that the ranges are found on; not images that the result
            is judged by.
        keep_ends: whether the layers of `ends` stay in floating point.
        smooth_quant: move outliers from activations into weights (Xiao et al. 2022).
        fast_bias_correction: correct the shift of each layer roughly, or layer by layer.
    """
    from deepfake_core.engines.libraries import nncf

    # Its log has a handler of its own, on standard output.
    nncf.set_log_level(logging.ERROR)
    ignored = ends(model) if keep_ends else []
    advanced = nncf.AdvancedQuantizationParameters(
        # Without VNNI, pairs of full-range products overflow 16 bits; half-range weights do not,
        # so that the file gives the same scores on every processor.
        overflow_fix=nncf.quantization.advanced_parameters.OverflowFix.ENABLE,
        smooth_quant_alphas=nncf.AdvancedSmoothQuantParameters(
            convolution=0.5 if smooth_quant else -1, matmul=0.5 if smooth_quant else -1
        ),
    )
    data = nncf.Dataset([pixels[at : at + 1] for at in range(len(pixels))])
    # Its progress bars go to standard output, which belongs to the result of the command.
    with contextlib.redirect_stdout(sys.stderr):
        quantised: ov.Model = nncf.quantize(
            model,
            data,
            preset=nncf.QuantizationPreset.MIXED,
            subset_size=len(pixels),
            fast_bias_correction=fast_bias_correction,
            ignored_scope=nncf.IgnoredScope(names=ignored) if ignored else None,
            advanced_parameters=advanced,
        )
    return quantised


def ends(model: ov.Model) -> list[str]:
    """The names of the first layer, which sees raw pixels, and of the head or the last layer."""
    layers = [op for op in model.get_ordered_ops() if op.get_type_name() in LAYERS]
    names = [op.get_friendly_name() for op in layers]
    head = [name for name in names if name.startswith(HEAD)]
    # A foreign network's outputs are joined by a product, before which its own last layer is.
    return list(dict.fromkeys([*names[:1], *(head or names[-2:])]))
