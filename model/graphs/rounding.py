"""A change to a converted graph that halves its convolutions' time: each computes in bfloat16, all else in float32.

Processors that multiply bfloat16 (AVX512_BF16, AMX) do so twice as fast, and sum in float32. What a convolution takes
and gives is rounded to 8 bits of mantissa; coordinates, masks and what they sample never are. The engine's own hint for
this, `INFERENCE_PRECISION_HINT`, cannot tell them apart: layers that it replaces while it compiles lose any mark that
they are to stay exact, and pictures tremble.
"""

from __future__ import annotations

from typing import Any

from model.graphs.layout import convolution_like


def round_convolutions(model: Any, operations: Any) -> int:
    """Round what convolutions of constant weights take and give, of an OpenVINO model in place; how many there were.

    operations   the operation set to build with, such as `openvino.opset13`
    """
    count = 0
    for node in model.get_ops():
        if node.get_type_name() != "Convolution":
            continue
        weight = node.input_value(1).get_node()
        if weight.get_type_name() != "Constant":
            continue
        data, weights = (operations.convert(node.input_value(i), "bf16") for i in (0, 1))
        rounded = convolution_like(operations, node, data, weights)
        exact = operations.convert(rounded, "f32").output(0)
        for target in node.output(0).get_target_inputs():
            target.replace_source_output(exact)
        count += 1
    model.validate_nodes_and_infer_types()
    return count
