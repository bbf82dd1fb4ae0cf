"""The teacher's side of `model.teacher.landmarks`: reads frames and writes landmarks, in the teacher's environment.

Standard input   requests: count, height, width, tracking as little-endian uint32, then count RGB frames.
Standard output  per frame one byte `present`, then 478 x 3 float32: MediaPipe's normalised x, y (of width and height)
                 and z (of width), zeros where no face was found.
"""

from __future__ import annotations

import os
import struct
import sys
from typing import BinaryIO

import numpy as np

POINTS = 478


def read_exactly(stream: BinaryIO, size: int) -> bytes | None:
    """`size` bytes, or None at the end of the stream."""
    data = stream.read(size)
    return data if len(data) == size else None


def main() -> None:
    """Answer requests until standard input ends."""
    # Native code of the libraries prints to file descriptor 1; the answers get a private copy of it.
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    import mediapipe

    requests = sys.stdin.buffer
    face_mesh = mediapipe.solutions.face_mesh
    while True:
        header = read_exactly(requests, 16)
        if header is None:
            return
        count, height, width, tracking = struct.unpack("<4I", header)
        with face_mesh.FaceMesh(
            static_image_mode=not tracking,
            max_num_faces=1,
            refine_landmarks=True,
            min_detection_confidence=0.4,
            min_tracking_confidence=0.5,
        ) as mesh:
            for _ in range(count):
                data = read_exactly(requests, height * width * 3)
                if data is None:
                    return
                frame = np.frombuffer(data, np.uint8).reshape(height, width, 3)
                found = mesh.process(frame).multi_face_landmarks
                points = np.zeros((POINTS, 3), np.float32)
                if found:
                    points[:] = [(p.x, p.y, p.z) for p in found[0].landmark]
                answers.write(bytes([bool(found)]) + points.tobytes())
                answers.flush()


if __name__ == "__main__":
    main()
