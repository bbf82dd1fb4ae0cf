"""Networks that MediaPipe publishes, read from its package in the teacher's environment."""

from __future__ import annotations

import io
import subprocess
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from model.errors import WeightsError
from model.teacher.landmarks import PYTHON, check_environment

_PROCESS = Path(__file__).with_name("published_process.py")


def read_published(file: str, sha256: str, python: Path = PYTHON) -> dict[str, NDArray[np.generic]]:
    """Arrays of a TensorFlow Lite file within the package mediapipe 0.10.21, as `published_process.py` writes them.

    Raises TeacherError without that environment, WeightsError when the package holds another file.
    """
    check_environment(python)
    answer = subprocess.run([str(python), str(_PROCESS), file, sha256], capture_output=True, check=False)
    if answer.returncode:
        raise WeightsError(f"{python} has no {file} with sha256 {sha256[:16]}...")
    with np.load(io.BytesIO(answer.stdout)) as arrays:
        return dict(arrays)
