"""What a browser is given says what torch says, and the manifest names it."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from skimage import data

from model.errors import InputError
from model.motion import CanonicalKeypoints, Motion
from model.networks.small import SmallNetworks
from model.networks.small_config import GUIDED
from model.talking_head import TalkingHead, Trained, load_trained
from model.web_export import OPSET, WebNetwork, export_web, probes, web_networks

TOLERANCE = 1e-3
"""Pixels of landmarks and detector, degrees and crop units of motion."""


@pytest.fixture(scope="module")
def trained() -> Trained:
    return load_trained()


@pytest.fixture(scope="module")
def folder(trained: Trained, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("web")
    (path / "motion-0000000000000000.onnx").write_bytes(b"of older weights")
    export_web(trained, path)
    return path


def faces(side: int) -> list[NDArray[np.float32]]:
    """A photograph's face, at several sizes and tilts, (1, 3, side, side)."""
    portrait = Image.fromarray(data.astronaut())
    pictures = []
    for left, top, width, tilt in ((150, 20, 150, 0), (110, 0, 230, 12), (165, 45, 110, -20)):
        crop = portrait.rotate(tilt, center=(224, 110)).crop((left, top, left + width, top + width))
        pixels = np.asarray(crop.resize((side, side), Image.Resampling.BILINEAR), np.float32) / np.float32(255)
        pictures.append(np.ascontiguousarray(pixels.transpose(2, 0, 1)[None]))
    return pictures


def session(folder: Path, name: str, where: Path) -> onnxruntime.InferenceSession:
    """The network as a browser runs it: its weights widened to float32 beside it."""
    entry = json.loads((folder / "manifest.json").read_text())["networks"][name]
    weights = np.frombuffer((folder / entry["weights"]["file"]).read_bytes(), "<f2")
    (where / "weights").write_bytes(weights.astype("<f4").tobytes())
    (where / "network.onnx").write_bytes((folder / entry["file"]).read_bytes())
    return onnxruntime.InferenceSession(where / "network.onnx", providers=["CPUExecutionProvider"])


def inputs_of_faces(networks: dict[str, WebNetwork], name: str) -> list[list[NDArray[np.float32]]]:
    """What a network is given of three pictures of a face."""
    if name not in ("features", "surface"):
        return [[picture] for picture in faces(networks[name].inputs["picture"][2])]
    pictures = faces(networks["motion"].inputs["picture"][2])
    points, motions = ([answer(networks[n], picture) for picture in pictures] for n in ("canonical", "motion"))
    of_pictures = [list(given) for given in zip(pictures, points, motions, strict=True)]
    if name == "features":
        return of_pictures
    shapes = networks["surface"].inputs
    quarter, eighth = (shapes[feature] for feature in ("quarter", "eighth"))
    counts = np.cumsum([np.prod(quarter), np.prod(eighth)])
    features = np.split(answer(networks["features"], *of_pictures[0]), counts)
    of_source = [features[0].reshape(quarter), features[1].reshape(eighth)]
    return [[points[0], motions[0], driving, *of_source] for driving in motions]


def answer(network: WebNetwork, *given: NDArray[np.float32]) -> NDArray[np.float32]:
    """What torch says."""
    with torch.inference_mode():
        found: NDArray[np.float32] = network.module(*map(torch.from_numpy, given)).numpy()
    return found


@pytest.mark.parametrize("name", ["detector", "landmarks", "motion", "canonical", "features", "surface"])
def test_networks_say_what_torch_says(trained: Trained, folder: Path, tmp_path: Path, name: str) -> None:
    runtime = session(folder, name, tmp_path)
    networks = web_networks(trained)
    network = networks[name]
    answers = []
    for given in (*inputs_of_faces(networks, name), probes(network)):
        (found,) = runtime.run(None, dict(zip(network.inputs, given, strict=True)))
        expected = answer(network, *given)
        assert found.shape == expected.shape
        assert np.abs(found - expected).max() <= TOLERANCE
        answers.append(found)
    # Not as close to everything: two faces give two answers.
    assert np.abs(answers[0] - answers[1]).max() > 10 * TOLERANCE


def test_what_moves_a_picture_is_what_torch_has_without_another_channel(trained: Trained) -> None:
    """Dense motion is padded for WebGPU."""
    networks = web_networks(trained)
    _, given, _ = inputs_of_faces(networks, "surface")
    points, source, driving, quarter, eighth = map(torch.from_numpy, given)
    assert isinstance(trained.networks, SmallNetworks)
    flow, masks = trained.networks.surface(
        {"quarter": quarter, "eighth": eighth},
        CanonicalKeypoints(points),
        Motion.from_vector(source),
        Motion.from_vector(driving),
    )
    found = answer(networks["surface"], *given)
    assert np.allclose(found, torch.cat([flow, masks], 1).detach().numpy(), atol=1e-5)


def test_operators_are_those_of_browsers(folder: Path) -> None:
    for path in folder.glob("*.onnx"):
        model = onnx.load(path, load_external_data=False)
        assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", OPSET)]
        assert path.stat().st_size < 300_000, "the weights lie beside it"
        ranks = {
            value.name: len(value.type.tensor_type.shape.dim)
            for value in onnx.shape_inference.infer_shapes(model).graph.value_info
        }
        for node in model.graph.node:
            if node.op_type == "GridSample":
                assert ranks[node.output[0]] == 4


def test_the_manifest_names_every_file_by_its_hash(trained: Trained, folder: Path) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    networks = manifest["networks"].values()
    entries = [*networks, *(entry["weights"] for entry in networks), manifest["arrays"]]
    for entry in entries:
        content = (folder / entry["file"]).read_bytes()
        digest = hashlib.sha256(content).hexdigest()
        assert (entry["sha256"], entry["bytes"]) == (digest, len(content))
        assert digest[:16] in entry["file"]
    assert {path.name for path in folder.iterdir()} == {"manifest.json", *(entry["file"] for entry in entries)}
    assert manifest["weights"] == trained.weights_hash == TalkingHead.load().weights_hash
    assert (manifest["keypoints"], manifest["guided"]) == (trained.profile.keypoints, list(GUIDED))


def test_arrays_are_the_codecs(trained: Trained, folder: Path) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())["arrays"]
    values = np.frombuffer((folder / manifest["file"]).read_bytes(), "<f4")
    for name in ("mean", "importance", "basis", "units", "widths"):
        place = manifest["places"][name]
        expected = np.asarray(getattr(trained.statistics, name), np.float32)
        held = values[place["offset"] : place["offset"] + expected.size].reshape(place["shape"])
        assert np.array_equal(held, expected)


def test_a_profile_without_landmarks_is_refused(trained: Trained, tmp_path: Path) -> None:
    from model.networks.paper import PaperNetworks
    from model.networks.paper_config import PAPER_PROFILES

    config = next(iter(PAPER_PROFILES.values()))
    with torch.device("meta"):
        paper = PaperNetworks(config)
    other = Trained(trained.profile, paper, trained.statistics, trained.weights_hash)
    with pytest.raises(InputError, match="no landmarks"):
        export_web(other, tmp_path)
