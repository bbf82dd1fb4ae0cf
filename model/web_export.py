"""The sender's networks and constants as files that a browser reads: `python -m model export --web DIR`.

Networks become ONNX (opset 19, 4-D GridSample alone). Their weights lie beside them in half precision, as in the
weights file; a browser widens them once, when it loads them, since onnxruntime-web would do so in every frame. The
codec's statistics and what each network must answer to test values become one file of float32 values.
`manifest.json` names all files with their SHA-256. File names carry the hash, so that they may be cached for ever.
"""

from __future__ import annotations

import copy
import hashlib
import io
import json
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from model.errors import InputError
from model.graphs.tracing import ExtractionStage, SurfaceStage
from model.landmarks.detector import SIDE as DETECTOR_SIDE
from model.landmarks.network import SIDE as LANDMARK_SIDE
from model.landmarks.weights import load_face_detector, load_landmark_network
from model.media.atomic_file import complete_file
from model.motion import CanonicalKeypoints, Motion
from model.networks.small import SmallNetworks
from model.networks.small.guided import STILL
from model.networks.small_config import FEATURES, GUIDED
from model.registration.similarity import THUMBNAIL
from model.talking_head import Trained

OPSET = 19
"""The newest in which onnxruntime-web's WebGPU has GridSample."""

_FEWEST_TAKEN = 64
"""Weights with fewer values stay in the graph, in float32: they are scalars and shapes."""


_COMPARED = 4096
"""Values of an answer that a browser compares, about; of a longer one every n-th."""

Shape = tuple[int, ...]


@dataclass(frozen=True)
class WebNetwork:
    """A network as a browser runs it: float32 tensors -> one float32 tensor."""

    module: nn.Module
    inputs: dict[str, Shape]  # in their order
    tolerance: float  # by which a browser's answer to test values may differ


class _CanonicalStage(nn.Module):
    """L: picture (B, 3, S, S) in [0, 1] -> canonical keypoints (B, K, 3)."""

    def __init__(self, networks: SmallNetworks) -> None:
        super().__init__()
        self.networks = networks

    def forward(self, picture: Tensor) -> Tensor:
        points: Tensor = self.networks.canonical(picture).points
        return points


class _FeaturesStage(nn.Module):
    """What alignment needs of a source image: features for dense motion, and who is the person in it, in one row (N,).

    From the picture (1, 3, S, S) in [0, 1], its canonical keypoints (1, K, 3) and its motion vector.
    """

    def __init__(self, networks: SmallNetworks) -> None:
        super().__init__()
        self.networks = networks

    def forward(self, picture: Tensor, points: Tensor, motion: Tensor) -> Tensor:
        canonical = CanonicalKeypoints(points)
        features = self.networks.appearance(picture, canonical, Motion.from_vector(motion))
        person = F.avg_pool2d(features["person"], picture.shape[-1] // THUMBNAIL)
        return torch.cat([*(features[name].flatten() for name in _FEATURES_OF_SURFACE), person.flatten()])


_FEATURES_OF_SURFACE = ("quarter", "eighth")


class _EvenConvolution(nn.Module):
    """A 3x3 convolution that is given one more channel, of zeros: WebGPU computes one of 111 channels wrongly."""

    def __init__(self, convolution: nn.Conv2d) -> None:
        super().__init__()
        self.weight = nn.Parameter(F.pad(convolution.weight, (0, 0, 0, 0, 0, 1)), requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(F.pad(x, (0, 0, 0, 0, 0, 1)), self.weight, padding=1)


def _surface(networks: SmallNetworks) -> SurfaceStage:
    """M as `AlignmentReference` needs it, with convolutions that WebGPU computes rightly."""
    changed = copy.deepcopy(networks)
    first = changed.dense_motion.enter
    assert isinstance(first[0], nn.Conv2d)
    if first[0].in_channels % 2:
        first[0] = _EvenConvolution(first[0])
    return SurfaceStage(changed, _FEATURES_OF_SURFACE)


def web_networks(trained: Trained) -> dict[str, WebNetwork]:
    """What a sender runs, by name. Raises InputError for a profile without landmarks."""
    networks = trained.networks
    if not isinstance(networks, SmallNetworks):
        raise InputError(f"a browser cannot send motion of the profile {trained.profile.name}: it has no landmarks")
    networks = networks.eval().requires_grad_(False)
    size, config = trained.profile.size, networks.config
    vector = (1, trained.profile.motion_size)
    surface = {
        "points": (1, config.keypoints, 3),
        "source": vector,
        "driving": vector,
        "quarter": (1, config.skips[1], size // 4, size // 4),
        "eighth": (1, config.skips[2], size // 8, size // 8),
    }
    return {
        "detector": WebNetwork(load_face_detector(), _picture(DETECTOR_SIDE), 0.05),
        "landmarks": WebNetwork(load_landmark_network(), _picture(LANDMARK_SIDE), 0.05),
        "motion": WebNetwork(ExtractionStage(networks), _picture(size), 0.01),
        "canonical": WebNetwork(_CanonicalStage(networks), _picture(size), 0.001),
        "features": WebNetwork(
            _FeaturesStage(networks), _picture(size) | {"points": surface["points"], "motion": vector}, 0.01
        ),
        "surface": WebNetwork(_surface(networks), surface, 0.01),
    }


def _picture(side: int) -> dict[str, Shape]:
    return {"picture": (1, 3, side, side)}


def export_web(trained: Trained, folder: Path) -> None:
    """Write networks, arrays and manifest into a folder, made where it is missing; older files of it are removed.

    Raises InputError for a profile that a browser cannot send, and where the package `onnx` is missing.
    """
    folder.mkdir(parents=True, exist_ok=True)
    arrays = {name: np.asarray(getattr(trained.statistics, name), np.float32) for name in _STATISTICS}
    networks: dict[str, Any] = {}
    for name, network in web_networks(trained).items():
        with torch.inference_mode():
            answer = network.module(*map(torch.from_numpy, probes(network))).numpy().ravel()
        every = -(-answer.size // _COMPARED) | 1  # odd: rows and channels are all met
        arrays[f"probe.{name}"] = answer[::every]
        graph, weights = to_onnx(network)
        networks[name] = _written(folder, name, "onnx", graph) | {
            "weights": _written(folder, name, "bin", weights),
            "inputs": [{"name": key, "shape": shape} for key, shape in network.inputs.items()],
            "tolerance": network.tolerance,
            "every": every,
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
        "features": len(FEATURES),
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


def probes(network: WebNetwork) -> list[NDArray[np.float32]]:
    """Test values of each input, in [0, 1], that a browser computes alike: waves.

    In a picture (1, C, H, W) each channel's are shorter; values of another shape form one row. Each input begins later.
    """
    found = []
    for begin, shape in enumerate(network.inputs.values()):
        channels, height, width = shape[1:] if len(shape) == 4 else (1, 1, int(np.prod(shape)))
        channel, y, x = np.meshgrid(np.arange(channels), np.arange(height), np.arange(width), indexing="ij")
        wave = 0.5 + 0.5 * np.sin(0.1 * (channel + 1) * x + 0.07 * y + begin)
        found.append(wave.astype(np.float32).reshape(shape))
    return found


def to_onnx(network: WebNetwork) -> tuple[bytes, bytes]:
    """The network as ONNX, inputs as named, output `found`; and its weights, float16.

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
            tuple(map(torch.from_numpy, probes(network))),
            buffer,  # type: ignore[arg-type]
            opset_version=OPSET,
            dynamo=False,
            # Otherwise batch normalisation is folded into weights, which halves as exactly as the file has them.
            training=torch.onnx.TrainingMode.PRESERVE,
            input_names=list(network.inputs),
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
