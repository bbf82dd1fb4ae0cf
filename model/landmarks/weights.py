"""Landmark network and face detector with the weights that ship."""

from __future__ import annotations

from pathlib import Path

from model.landmarks.detector import FaceDetector
from model.landmarks.network import LandmarkNetwork
from model.network_weights import with_weights
from model.weights.manifest import FACE_DETECTOR, LANDMARKS


def load_landmark_network(path: Path = LANDMARKS) -> LandmarkNetwork:
    """The network in evaluation mode, its weights fixed.

    Raises WeightsError when the file is missing, damaged or of another network.
    """
    return with_weights(LandmarkNetwork(), path)


def load_face_detector(path: Path = FACE_DETECTOR) -> FaceDetector:
    """The detector in evaluation mode. Raises WeightsError as above."""
    return with_weights(FaceDetector(), path)
