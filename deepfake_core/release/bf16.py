"""A network that rounds like bfloat16 on any processor."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from deepfake_core.engines.libraries import ov


# What a processor with bf16 computes in it; the last three are in networks from elsewhere.
ROUNDED = {"Convolution", "MatMul", "Add", "Relu", "GroupConvolution", "Clamp", "Swish"}


def emulate_bf16(model: ov.Model) -> ov.Model:
    """A copy of a graph in which values are rounded to bf16 as a processor with bf16 would.

    Each operand of convolutions, products, sums and activations is rounded to eight
    significant bits by Veltkamp's splitting (Dekker 1971), in f32 arithmetic; sums inside a
    convolution stay f32, as in hardware. For measuring bf16 where the processor lacks it.
    """
    from deepfake_core.engines.libraries import ops

    copy = model.clone()
    for node in copy.get_ordered_ops():
        if node.get_type_name() not in ROUNDED:
            continue
        for value in node.inputs():
            source = value.get_source_output()
            if source.get_element_type() != ov.Type.f32:
                continue
            wide = ops.multiply(source, np.float32(2**16 + 1))
            value.replace_source_output(ops.subtract(wide, ops.subtract(wide, source)).output(0))
    copy.validate_nodes_and_infer_types()
    return copy
