"""The sender's networks and constants as files that a browser reads: `python -m model export --web DIR`.

Networks become ONNX (opset 19, 4-D GridSample alone). Their weights lie beside them in half precision, as in the
weights file; a browser widens them once, when it loads them, since onnxruntime-web would do so in every frame. The
codec's statistics and what each network must answer to a test picture become one file of float32 values.
`manifest.json` names all files with their SHA-256. File names carry the hash, so that they may be cached for ever.
"""

from __future__ import annotations

import hashlib
import io
import json
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from model.errors import InputError
from model.graphs.tracing import ExtractionStage
from model.landmarks.detector import SIDE as DETECTOR_SIDE
from model.landmarks.network import SIDE as LANDMARK_SIDE
from model.landmarks.weights import load_face_detector, load_landmark_network
from model.media.atomic_file import complete_file
from model.networks.small import SmallNetworks
from model.networks.small.config import GUIDED
from model.networks.small.guided import STILL
from model.talking_head import Trained

OPSET = 19
"""The newest in which onnxruntime-web's WebGPU has GridSample."""

_FEWEST_TAKEN = 64
"""Weights with fewer values stay in the graph, in float32: they are scalars and shapes."""


@dataclass(frozen=True)
class WebNetwork:
    """A network as a browser runs it: a picture (1, 3, side, side) in [0, 1] -> one float32 tensor."""

    module: nn.Module
    side: int
    tolerance: float  # by which a browser's answer to the test picture may differ


class _CanonicalStage(nn.Module):
    """L: picture (B, 3, S, S) in [0, 1] -> canonical keypoints (B, K, 3)."""

    def __init__(self, networks: SmallNetworks) -> None:
        super().__init__()
        self.networks = networks

    def forward(self, picture: Tensor) -> Tensor:
        points: Tensor = self.networks.canonical(picture).points
        return points


def web_networks(trained: Trained) -> dict[str, WebNetwork]:
    """What a sender runs, by name. Raises InputError for a profile without landmarks."""
    networks = trained.networks
    if not isinstance(networks, SmallNetworks):
        raise InputError(f"a browser cannot send motion of the profile {trained.profile.name}: it has no landmarks")
    networks = networks.eval().requires_grad_(False)
    return {
        "detector": WebNetwork(load_face_detector(), DETECTOR_SIDE, 0.05),
        "landmarks": WebNetwork(load_landmark_network(), LANDMARK_SIDE, 0.05),
        "motion": WebNetwork(ExtractionStage(networks), trained.profile.size, 0.01),
        "canonical": WebNetwork(_CanonicalStage(networks), trained.profile.size, 0.001),
    }


def export_web(trained: Trained, folder: Path) -> None:
    """Write networks, arrays and manifest into a folder, made where it is missing; older files of it are removed.

    Raises InputError for a profile that a browser cannot send, and where the package `onnx` is missing.
    """
    folder.mkdir(parents=True, exist_ok=True)
    arrays = {name: np.asarray(getattr(trained.statistics, name), np.float32) for name in _STATISTICS}
    networks: dict[str, Any] = {}
    for name, network in web_networks(trained).items():
        picture = probe(network.side)
        with torch.inference_mode():
            arrays[f"probe.{name}"] = network.module(torch.from_numpy(picture)).numpy()
        graph, weights = to_onnx(network)
        networks[name] = _written(folder, name, "onnx", graph) | {
            "weights": _written(folder, name, "bin", weights),
            "side": network.side,
            "tolerance": network.tolerance,
        }
    places: dict[str, Any] = {}
    values = bytearray()
    for name, array in arrays.items():
        places[name] = {"offset": len(values) // 4, "shape": list(array.shape)}
        values += np.ascontiguousarray(array, "<f4").tobytes()
    profile, layout = trained.profile, trained.profile.layout
    manifest = {
        "weights": trained.weights_hash,
        "profile": profile.name,
        "size": profile.size,
        "keypoints": layout.count,
        "face": layout.face_count,
        "body": layout.body_count,
        "guided": list(GUIDED),
        "still": list(STILL),
        "networks": networks,
        "arrays": _written(folder, "arrays", "bin", bytes(values)) | {"places": places},
    }
    with complete_file(folder / "manifest.json") as part:
        part.write_text(json.dumps(manifest, indent=1) + "\n")
    named = [*networks.values(), *(entry["weights"] for entry in networks.values()), manifest["arrays"]]
    present = {entry["file"] for entry in named}
    for path in (*folder.glob("*.onnx"), *folder.glob("*.bin")):
        if path.name not in present:
            path.unlink()


def probe(side: int) -> NDArray[np.float32]:
    """A test picture (1, 3, side, side) in [0, 1] that a browser draws alike: waves, another in each channel."""
    channel, y, x = np.meshgrid(np.arange(3), np.arange(side), np.arange(side), indexing="ij")
    wave = 0.5 + 0.5 * np.sin(0.1 * (channel + 1) * x + 0.07 * y)
    return wave.astype(np.float32)[None]


def to_onnx(network: WebNetwork) -> tuple[bytes, bytes]:
    """The network as ONNX, input `picture`, output `found`; and its weights, float16.

    The graph reads its weights as external data `weights`: what comes of widening these to float32, little-endian.
    Raises InputError where the package `onnx` is missing.
    """
    try:
        import onnx
    except ImportError:
        raise InputError("the package onnx is missing: pip install -r requirements-dev.txt") from None
    buffer = io.BytesIO()
    symbolic = torch.onnx.register_custom_op_symbolic  # type: ignore[attr-defined]
    symbolic("aten::deg2rad", _deg2rad, OPSET)
    symbolic("aten::mT", _transposed, OPSET)
    with warnings.catch_warnings(), torch.no_grad():
        # Sizes that become constants are what is wanted here: a network has one shape. The exporter by tracing is
        # deprecated; its successor takes a 5-D path for GridSample, which no browser runs.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network.module.eval(),
            (torch.from_numpy(probe(network.side)),),
            buffer,  # type: ignore[arg-type]
            opset_version=OPSET,
            dynamo=False,
            # Otherwise batch normalisation is folded into weights, which halves as exactly as the file has them.
            training=torch.onnx.TrainingMode.PRESERVE,
            input_names=["picture"],
            output_names=["found"],
        )
    model = onnx.load_from_string(buffer.getvalue())
    weights = _take_weights(model)
    serialized: bytes = model.SerializeToString()
    return serialized, weights


# Two operations that the exporter lacks.


def _deg2rad(graph: Any, degrees: Any) -> Any:
    return graph.op("Mul", degrees, graph.op("Constant", value_t=torch.tensor(np.pi / 180, dtype=torch.float32)))


def _transposed(graph: Any, matrices: Any) -> Any:
    last = matrices.type().dim() - 1
    return graph.op("Transpose", matrices, perm_i=[*range(last - 1), last, last - 1])


def _take_weights(model: Any) -> bytes:
    """Take the weights out of a model, which then names their places; as float16."""
    from onnx import TensorProto, numpy_helper

    taken = bytearray()
    for weights in model.graph.initializer:
        if weights.data_type != TensorProto.FLOAT or np.prod(weights.dims) < _FEWEST_TAKEN:
            continue
        half = np.ascontiguousarray(numpy_helper.to_array(weights), "<f2").tobytes()
        places = {"location": "weights", "offset": str(2 * len(taken)), "length": str(2 * len(half))}
        taken += half
        weights.ClearField("raw_data")
        weights.data_location = TensorProto.EXTERNAL
        for key, value in places.items():
            entry = weights.external_data.add()
            entry.key, entry.value = key, value
    return bytes(taken)


def _written(folder: Path, name: str, ending: str, data: bytes) -> dict[str, Any]:
    """Write a file under a name that carries its hash; its entry in the manifest."""
    digest = hashlib.sha256(data).hexdigest()
    file = f"{name}-{digest[:16]}.{ending}"
    with complete_file(folder / file) as part:
        part.write_bytes(data)
    return {"file": file, "sha256": digest, "bytes": len(data)}


_STATISTICS = ("mean", "importance", "basis", "units", "widths")
