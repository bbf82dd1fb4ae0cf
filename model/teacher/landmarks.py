"""The teacher: 478 three-dimensional face landmarks a frame, from MediaPipe's face mesh in an environment of its own.

Training and evaluation only. MediaPipe wants another NumPy than visavis, so it runs as a child process in
`.venv-teacher` (`make teacher`) that reads frames and answers with landmarks through pipes.
"""

from __future__ import annotations

import contextlib
import os
import struct
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from model.errors import VisavisError

POINTS = 478
"""Landmarks of MediaPipe's refined face mesh: 468 of the mesh and five for each iris."""

PYTHON = Path(__file__).resolve().parents[2] / ".venv-teacher" / "bin" / "python"
"""The teacher environment's interpreter."""

_PROCESS = Path(__file__).with_name("landmarks_process.py")


class TeacherError(VisavisError):
    """The teacher's environment is missing or its process died."""


def check_environment(python: Path) -> None:
    """Raises TeacherError where there is no such interpreter."""
    if not python.exists():
        raise TeacherError(f"no teacher environment at {python}; make one with `make teacher`")


class LandmarkSource(Protocol):
    """Whatever gives landmarks for frames; tests give their own."""

    def landmarks(
        self, frames: NDArray[np.uint8], tracking: bool = True
    ) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """See `Teacher.landmarks`."""


class Teacher:
    """MediaPipe's face mesh behind a pipe; started on the first call, to be closed (or used as a context)."""

    def __init__(self, python: Path | None = None) -> None:
        """`python`: the teacher environment's interpreter, by default `.venv-teacher/bin/python` of this checkout."""
        self._python = python or PYTHON
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Teacher:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the process; harmless when there is none."""
        process, self._process = self._process, None
        if process is None:
            return
        assert process.stdin is not None
        assert process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            process.stdin.close()
        process.stdout.close()
        try:
            process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def landmarks(
        self, frames: NDArray[np.uint8], tracking: bool = True
    ) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Landmarks of the most prominent face of each frame.

        frames    uint8 (N, H, W, 3) RGB. With `tracking` they are successive frames of one shot (steadier, 3 ms a
                  frame), without they are unrelated stills (8 ms).
        Returns   points float32 (N, 478, 3) and present bool (N,). x and y span [-1, 1] over the frame's width and
                  height, z is in the unit of x and grows away from the viewer: for square frames, crop units.
                  Points of frames without a face are zero.
        Raises TeacherError when the teacher cannot be run.
        """
        count, height, width, _ = frames.shape
        points = np.zeros((count, POINTS, 3), np.float32)
        present = np.zeros(count, np.bool_)
        process = self._start()
        assert process.stdin is not None
        assert process.stdout is not None
        size = 1 + POINTS * 3 * 4
        try:
            process.stdin.write(struct.pack("<4I", count, height, width, tracking))
            for i in range(count):
                process.stdin.write(np.ascontiguousarray(frames[i]).tobytes())
                process.stdin.flush()
                answer = process.stdout.read(size)
                if len(answer) != size:
                    raise BrokenPipeError
                present[i] = answer[0]
                points[i] = np.frombuffer(answer, np.float32, offset=1).reshape(POINTS, 3)
        except BrokenPipeError as error:
            self.close()
            raise TeacherError(f"the teacher process died; try {self._python} {_PROCESS}") from error
        points[present] *= np.float32(2.0)
        points[present, :, :2] -= np.float32(1.0)
        return points, present

    def _start(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            check_environment(self._python)
            quiet = {"GLOG_minloglevel": "3", "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""}
            self._process = subprocess.Popen(
                [str(self._python), str(_PROCESS)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env={**os.environ, **quiet},
            )
        return self._process
