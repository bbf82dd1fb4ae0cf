"""The one module that knows OpenVINO: imports it without its telemetry, converts a traced network, compiles, runs.

Conversion and compilation happen in memory; what is kept on disk, `model.graphs.cache` keeps.
"""

from __future__ import annotations

import io
import math
import sys
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from model.errors import VisavisError
from model.graphs.layout import split_joined
from model.graphs.rounding import round_convolutions


class GraphError(VisavisError):
    """A network cannot be compiled on this machine, or computes something else than in torch."""

    http_status = 500


@cache
def openvino() -> Any:
    """The package, which never reports home. Raises GraphError when it is not there or does not load."""
    # Its conversion tools report their use over the network when this package is importable, and keep quiet when not.
    sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
    try:
        import openvino
    except (ImportError, OSError) as error:
        raise GraphError(f"openvino does not load: {error}") from None
    return openvino


class Graph:
    """A network compiled for the CPU, for calls with one shape of arguments.

    Not for two threads at a time.
    """

    def __init__(self, compiled: Any) -> None:
        """`compiled` as the engine has it: made by `compile_graph` and `restore_graph`."""
        self._compiled = compiled
        self._request = compiled.create_infer_request()
        self._outputs = len(compiled.outputs)

    def __call__(self, *inputs: Tensor) -> Tensor:
        """One inference, the first of its results; float32 in and out.

        It lies in memory of the graph and holds until the next call.
        """
        return self.outputs(*inputs)[0]

    def outputs(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """One inference, all its results, which hold until the next call."""
        arrays = [tensor.contiguous().numpy() for tensor in inputs]
        self._request.infer(arrays, share_inputs=True)
        return tuple(torch.from_numpy(self._request.get_output_tensor(i).data) for i in range(self._outputs))

    def exported(self) -> bytes:
        """The graph as bytes that `restore_graph` takes, on this machine and with this version of the engine."""
        stream = io.BytesIO()
        self._compiled.export_model(stream)
        return stream.getvalue()


def compile_graph(traced: Any, examples: Sequence[Tensor], threads: int = 0, rounded: bool = False) -> Graph:
    """A network `traced` as `model.graphs.tracing.trace` gives it; threads: at most so many, 0 takes every core.

    rounded: convolutions compute in bfloat16, which `multiplies_bfloat16` says is faster.
    Raises GraphError when an operation is not known to the engine, or the machine is not.
    """
    try:
        model = _converted(traced, examples)
        if rounded:
            round_convolutions(model, _operations())
        return Graph(_core().compile_model(model, "CPU", _configuration(threads)))
    except (RuntimeError, AttributeError) as error:  # AttributeError: a package without its conversion tools
        raise GraphError(f"the network cannot be compiled: {str(error).strip().splitlines()[-1]}") from error


def restore_graph(exported: bytes, threads: int = 0) -> Graph:
    """What `Graph.exported` gave, with the same number of threads. Raises GraphError."""
    try:
        return Graph(_core().import_model(io.BytesIO(exported), "CPU", _configuration(threads)))
    except RuntimeError as error:
        raise GraphError(f"the graph cannot be restored: {str(error).strip().splitlines()[-1]}") from error


@cache
def multiplies_bfloat16() -> bool:
    """Whether the engine computes in bfloat16 on this processor. Raises GraphError where there is no engine."""
    return "BF16" in _core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def _operations() -> Any:
    from openvino import opset13

    return opset13


@cache
def _core() -> Any:
    return openvino().Core()


def _configuration(threads: int) -> dict[str, Any]:
    configuration = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": "f32",
        # Pinned threads of two processes would meet on one core while another is free.
        "ENABLE_CPU_PINNING": False,
    }
    return configuration | {"INFERENCE_NUM_THREADS": threads} if threads else configuration


def _converted(traced: Any, examples: Sequence[Tensor]) -> Any:
    ov = openvino()
    from openvino.frontend.pytorch import ConversionExtension

    # What the networks use and the frontend does not know.
    extensions = [
        ConversionExtension("aten::mT", _swap_last_two),
        ConversionExtension("aten::deg2rad", _radians),
    ]
    shapes = [list(example.shape) for example in examples]
    model = ov.convert_model(traced, example_input=tuple(examples), input=shapes, extension=extensions)
    split_joined(model, _operations())
    return model


def _swap_last_two(context: Any) -> Any:
    operations, matrix = _operations(), context.get_input(0)
    rank = matrix.get_partial_shape().rank.get_length()
    order = np.array([*range(rank - 2), rank - 1, rank - 2], np.int64)
    return operations.transpose(matrix, operations.constant(order)).outputs()


def _radians(context: Any) -> Any:
    operations = _operations()
    return operations.multiply(context.get_input(0), operations.constant(np.float32(math.pi / 180))).outputs()
