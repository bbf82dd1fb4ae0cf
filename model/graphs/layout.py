"""A change to a converted graph that spares copies: convolutions of joined maps, where an enlarged map is among them.

Convolutions and enlargements keep the channels of a pixel together, grid sampling keeps planes. A join of both is made
in planes, so the enlarged map, always the largest part, is turned around and back. A convolution of a join is a sum,
    W * [a, b] = W_a * a + W_b * b,
and with one convolution for each kind of layout only the smaller part is turned. That is a tenth of a rendering.
"""

from __future__ import annotations

from typing import Any

import numpy as np


def split_joined(model: Any, operations: Any) -> int:
    """Split such convolutions of an OpenVINO model, in place; how many there were.

    operations   the operation set to build with, such as `openvino.opset13`
    """
    count = 0
    for node in model.get_ops():
        join = node.input_value(0).get_node() if node.get_type_name() == "Convolution" else None
        if join is None or join.get_type_name() != "Concat" or len(join.output(0).get_target_inputs()) > 1:
            continue
        parts = join.input_values()
        enlarged = [part.get_node().get_type_name() == "Interpolate" for part in parts]
        weight = node.input_value(1).get_node()
        if all(enlarged) or not any(enlarged) or weight.get_type_name() != "Constant":
            continue
        if join.get_attributes()["axis"] not in (1, 1 - len(weight.get_output_shape(0))):
            continue
        ends = np.cumsum([part.get_shape()[1] for part in parts])
        pieces = np.split(weight.data, ends[:-1], axis=1)  # (outputs, channels of the part, 3, 3) each
        halves = [
            _convolution(
                operations,
                node,
                [part for part, large in zip(parts, enlarged, strict=True) if large is kind],
                [piece for piece, large in zip(pieces, enlarged, strict=True) if large is kind],
            )
            for kind in (True, False)
        ]
        total = operations.add(*halves).output(0)
        for target in node.output(0).get_target_inputs():
            target.replace_source_output(total)
        count += 1
    model.validate_nodes_and_infer_types()
    return count


def _convolution(operations: Any, like: Any, parts: list[Any], pieces: list[Any]) -> Any:
    """The convolution of some of the parts, with the strides and the padding of the one that it comes from."""
    joined = parts[0] if len(parts) == 1 else operations.concat(parts, 1)
    weight = operations.constant(np.ascontiguousarray(np.concatenate(pieces, 1)))
    return convolution_like(operations, like, joined, weight)


def convolution_like(operations: Any, node: Any, data: Any, weight: Any) -> Any:
    """A convolution of other data with other weights, with a node's strides and padding."""
    given = node.get_attributes()
    placing = {name: given[name] for name in ("strides", "pads_begin", "pads_end", "dilations", "auto_pad")}
    return operations.convolution(data, weight, **placing)
