"""The teacher environment's side of `model.teacher.published`: reads a network that MediaPipe brings.

Arguments        the TensorFlow Lite file within the package mediapipe, and its SHA-256.
Standard output  NumPy's npz: of the i-th layer, in the order in which they run, "i kind" (0 convolution, 1 depthwise
                 convolution, 2 PReLU, 3 transposed convolution), "i weight" and, of a convolution, "i bias"; weights
                 (outputs, height, width, inputs), depthwise ones (1, height, width, channels), slopes (1, 1, channels),
                 half precision as published.
Exit status 3 when the file is not the one whose SHA-256 is given.
"""

from __future__ import annotations

import hashlib
import importlib.util
import io
import sys
from pathlib import Path

import numpy as np

CONVOLUTION, DEPTHWISE, PRELU, TRANSPOSED = 0, 1, 2, 3


def layers(data: bytes) -> dict[str, np.ndarray]:
    """The arrays of a TensorFlow Lite file, as standard output has them."""
    import tflite

    kinds = {
        tflite.BuiltinOperator.CONV_2D: CONVOLUTION,
        tflite.BuiltinOperator.DEPTHWISE_CONV_2D: DEPTHWISE,
        tflite.BuiltinOperator.PRELU: PRELU,
        tflite.BuiltinOperator.CUSTOM: TRANSPOSED,  # of those with weights: MediaPipe's Convolution2DTransposeBias
    }
    model = tflite.Model.GetRootAsModel(data, 0)
    graph = model.Subgraphs(0)
    values = {}
    for index in range(graph.TensorsLength()):
        tensor = graph.Tensors(index)
        buffer = model.Buffers(tensor.Buffer())
        if buffer.DataLength() and tensor.Type() == tflite.TensorType.FLOAT16:
            values[index] = buffer.DataAsNumpy().view(np.float16).reshape(tensor.ShapeAsNumpy())
    found: dict[str, np.ndarray] = {}
    count = 0
    for index in range(graph.OperatorsLength()):
        operator = graph.Operators(index)
        code = model.OperatorCodes(operator.OpcodeIndex())
        name = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
        inputs = operator.InputsAsNumpy().tolist()
        if name == tflite.BuiltinOperator.DEQUANTIZE:
            values[operator.Outputs(0)] = values[inputs[0]]
        elif name in kinds and len(inputs) > 1 and inputs[1] in values:
            found |= {f"{count} kind": np.array(kinds[name]), f"{count} weight": values[inputs[1]]}
            if kinds[name] != PRELU:
                found[f"{count} bias"] = values[inputs[2]]
            count += 1
    return found


def main() -> int:
    """Write what is asked for."""
    package = importlib.util.find_spec("mediapipe")
    if package is None or package.origin is None:
        return 3
    data = (Path(package.origin).parent / sys.argv[1]).read_bytes()
    if hashlib.sha256(data).hexdigest() != sys.argv[2]:
        return 3
    out = io.BytesIO()
    np.savez(out, **layers(data))  # type: ignore[arg-type]
    sys.stdout.buffer.write(out.getvalue())
    return 0


if __name__ == "__main__":
    sys.exit(main())
