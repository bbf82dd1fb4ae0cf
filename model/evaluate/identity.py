"""Identity similarity CSIM, by the face-embedding network that the PyPI package face_recognition_models 0.3.0 carries.

What number this is. The network is dlib's ResNet-29 (King 2017; 99.38 % on LFW; public domain), trained with a metric
loss on Euclidean distance, not ArcFace: its embeddings share a large common part, so that the plain cosine of two
strangers is about .83. CSIM here is the cosine after the mean embedding of 468 photos of 421 people is taken off
(`identity_mean.npy`, made by `mean_embedding`). Measured with it, as 5th, 50th and 95th percentile: two photos of one
person .76 .83 .99, two shots of one person in the training clips .67 .86 .98, two frames of one evaluation clip
.59 .89 .98, two strangers -.29 -.02 .33. It orders pictures as ArcFace's CSIM does but cannot be compared with
published CSIM digit by digit.
"""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.errors import WeightsError

PACKAGE = "face_recognition_models"
FILES = {
    "dlib_face_recognition_resnet_model_v1.dat": "55533b28a95800a551ba546ba62fe69625c7e95a7061c338adffead08719da30",
    "shape_predictor_5_face_landmarks.dat": "c4b1e9804792707d3a405c2c16a80a20269e6675021f64a41d30fffafbc41888",
}
MEAN = Path(__file__).with_name("identity_mean.npy")

Box = tuple[int, int, int, int]
"""Left, top, right, bottom in pixels."""


class IdentityNetwork:
    """Face embeddings. About 60 ms a face on one CPU core.

    Raises WeightsError when the package that carries the networks is missing or not the one whose hashes are known.
    """

    def __init__(self) -> None:
        network, shape = package_files(FILES)
        import dlib

        self._network = dlib.face_recognition_model_v1(str(network))
        self._shape = dlib.shape_predictor(str(shape))
        self._detector = dlib.get_frontal_face_detector()
        self._rectangle = dlib.rectangle
        self._chip = dlib.get_face_chip

    def find(self, frame: NDArray[np.uint8]) -> Box | None:
        """The largest face of a frame uint8 (H, W, 3), or None."""
        return largest_face(self._detector, frame)

    def embed(self, frame: NDArray[np.uint8], box: Box) -> NDArray[np.float32]:
        """Embedding (128,) of the face of `frame` uint8 (H, W, 3) in `box`, aligned by five landmarks.

        For a rendered frame pass the box found in the true frame that it should equal: a face too spoilt to be found
        then counts as a bad one instead of not counting.
        """
        frame = np.ascontiguousarray(frame)
        chip = self._chip(frame, self._shape(frame, self._rectangle(*box)), 150, 0.25)
        return np.asarray(self._network.compute_face_descriptor(chip), np.float32)


def largest_face(detector: Any, frame: NDArray[np.uint8]) -> Box | None:
    """What dlib's frontal `detector` finds largest in a frame uint8 (H, W, 3), or None."""
    faces = detector(np.ascontiguousarray(frame), 0)
    if not faces:
        return None
    face = max(faces, key=lambda box: int(box.area()))
    return face.left(), face.top(), face.right(), face.bottom()


def similarity(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float32]:
    """CSIM in [-1, 1] of embeddings (..., 128): cosine after the mean embedding is taken off both."""
    mean = np.load(MEAN, allow_pickle=False)
    a, b = a - mean, b - mean
    norms = np.linalg.norm(a, axis=-1) * np.linalg.norm(b, axis=-1)
    return np.asarray((a * b).sum(-1) / np.maximum(norms, 1e-12), np.float32)


def mean_embedding(network: IdentityNetwork, photos: list[NDArray[np.uint8]]) -> NDArray[np.float32]:
    """Mean embedding (128,) of photos of many people, uint8 (H, W, 3) each; photos without a face do not count.

    Raises ValueError when no photo shows a face.
    """
    boxes = [(photo, network.find(photo)) for photo in photos]
    embeddings = [network.embed(photo, box) for photo, box in boxes if box is not None]
    if not embeddings:
        raise ValueError("no photo shows a face")
    return np.asarray(np.mean(embeddings, axis=0), np.float32)


def package_files(files: Mapping[str, str]) -> list[Path]:
    """Paths of files of the package, by name, with their SHA-256. Raises WeightsError, also where dlib is missing."""
    spec = importlib.util.find_spec(PACKAGE)  # the package itself wants pkg_resources; its files are all we need
    if spec is None or not spec.submodule_search_locations or importlib.util.find_spec("dlib") is None:
        raise WeightsError(f"dlib's networks need {PACKAGE} and dlib-bin: pip install -r requirements-evaluate.txt")
    folder = Path(next(iter(spec.submodule_search_locations))) / "models"
    paths = [folder / name for name in files]
    for path, expected in zip(paths, files.values(), strict=True):
        try:
            with path.open("rb") as file:
                actual = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise WeightsError(f"{PACKAGE} lacks {path.name}: {error}") from error
        if actual != expected:
            raise WeightsError(f"SHA-256 of {path.name} is not that of {PACKAGE} 0.3.0")
    return paths
