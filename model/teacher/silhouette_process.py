"""The teacher environment's side of `model.teacher.silhouette_weights`: reads the network that MediaPipe brings.

Standard output  NumPy's npz: of the i-th convolution, in the order in which they run, "i weight", "i bias" and "i kind"
                 (0 plain, 1 depthwise, 2 transposed); weights (outputs, height, width, inputs), depthwise ones
                 (1, height, width, channels), half precision as published.
Exit status 3 when the file is not the one whose SHA-256 is given as argument.
"""

from __future__ import annotations

import hashlib
import importlib.util
import io
import sys
from pathlib import Path

import numpy as np

PLAIN, DEPTHWISE, TRANSPOSED = 0, 1, 2


def convolutions(data: bytes) -> dict[str, np.ndarray]:
    """The arrays of a TensorFlow Lite file, as standard output has them."""
    import tflite

    kinds = {
        tflite.BuiltinOperator.CONV_2D: PLAIN,
        tflite.BuiltinOperator.DEPTHWISE_CONV_2D: DEPTHWISE,
        tflite.BuiltinOperator.CUSTOM: TRANSPOSED,  # MediaPipe's Convolution2DTransposeBias, the only one
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
    for index in range(graph.OperatorsLength()):
        operator = graph.Operators(index)
        code = model.OperatorCodes(operator.OpcodeIndex())
        name = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
        inputs = operator.InputsAsNumpy().tolist()
        if name == tflite.BuiltinOperator.DEQUANTIZE:
            values[operator.Outputs(0)] = values[inputs[0]]
        elif name in kinds:
            count = len(found) // 3
            found |= {f"{count} weight": values[inputs[1]], f"{count} bias": values[inputs[2]]}
            found[f"{count} kind"] = np.array(kinds[name])
    return found


def main() -> int:
    """Write what is asked for."""
    package = importlib.util.find_spec("mediapipe")
    if package is None or package.origin is None:
        return 3
    path = Path(package.origin).parent / "modules/selfie_segmentation/selfie_segmentation.tflite"
    data = path.read_bytes()
    if hashlib.sha256(data).hexdigest() != sys.argv[1]:
        return 3
    out = io.BytesIO()
    np.savez(out, **convolutions(data))  # type: ignore[arg-type]
    sys.stdout.buffer.write(out.getvalue())
    return 0


if __name__ == "__main__":
    sys.exit(main())
