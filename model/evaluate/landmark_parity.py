"""How far `model.landmarks` is from MediaPipe's own run of the same networks:
`python -m model.evaluate.landmark_parity CLIPS` (after `make teacher`).

Both follow the face through the same frames. Differences are in pixels of the networks' input of 192: distances in the
frame, divided by the side of the square that the network saw.
"""

from __future__ import annotations

import argparse
import json
import sys
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from model.errors import VisavisError
from model.evaluate.clips import find_clips
from model.landmarks.indices import LEFT_EYE, LIPS, RIGHT_EYE
from model.landmarks.network import POINTS, SIDE
from model.landmarks.roi import Region
from model.landmarks.tracker import LandmarkTracker
from model.landmarks.weights import load_face_detector, load_landmark_network
from model.media.video import read_frames
from model.teacher.landmarks import LandmarkSource, Teacher

RATE = 25.0
"""Frames a second of the clock that the tracker is given."""

PARTS = {
    "lips": np.array(LIPS),
    "eyes": np.array(LEFT_EYE + RIGHT_EYE),
    "irises": np.arange(POINTS - 10, POINTS),
    "rest": np.setdiff1d(np.arange(POINTS - 10), LIPS + LEFT_EYE + RIGHT_EYE),
}


def differences(
    frames: NDArray[np.uint8], teacher: LandmarkSource, tracker: LandmarkTracker, tracking: bool = True
) -> tuple[NDArray[np.float32], int]:
    """Differences (N, 478, 3) in pixels of 192 for the frames (M, H, W, 3) of one shot in which both see the face, and
    in how many frames only one of them does.

    tracking   follow the face; otherwise the teacher takes each frame for a still, and a fresh tracker is to be given
    """
    theirs, present = teacher.landmarks(frames, tracking)
    height, width = frames.shape[1:3]
    found = []
    alone = 0
    for index, frame in enumerate(frames):
        ours = tracker.update(frame, index / RATE)
        if ours is None or not present[index]:
            alone += (ours is None) == bool(present[index])
            continue
        expected = (theirs[index] + np.array([1, 1, 0], np.float32)) / 2 * np.array([width, height, width], np.float32)
        found.append((ours.points - expected) * (SIDE / Region.of_landmarks(expected).side))
    return np.array(found, np.float32).reshape(-1, POINTS, 3), alone


def summary(found: NDArray[np.float32]) -> dict[str, float]:
    """Of differences (N, 478, 3): in the picture's plane and in depth, and the plane's by parts of the face."""
    plane = np.linalg.norm(found[..., :2], axis=-1)
    figures = {"mean": plane.mean(), "median": np.median(plane), "p95": np.percentile(plane, 95), "max": plane.max()}
    figures["depth_mean"] = np.abs(found[..., 2]).mean()
    figures |= {f"{name}_mean": plane[:, points].mean() for name, points in PARTS.items()}
    return {name: round(float(value), 4) for name, value in figures.items()}


def parity(paths: list[Path], frames: int, stills: bool) -> dict[str, Any]:
    """The figures over about so many frames, as many of each clip's beginning; stills: one by one instead."""
    each = -(-frames // len(paths))
    landmarks, detector = load_landmark_network(), load_face_detector()
    found: list[NDArray[np.float32]] = []
    alone = count = 0
    means: dict[str, float] = {}
    with Teacher() as teacher:
        for path in tqdm(paths, unit="clip", file=sys.stderr, disable=None):
            shot = np.stack([frame.rgb() for frame in islice(read_frames(path), each)])
            parts = [shot[i : i + 1] for i in range(len(shot))] if stills else [shot]
            of_clip = []
            for part in parts:
                tracker = LandmarkTracker(landmarks, detector)
                differing, once = differences(part, teacher, tracker, tracking=not stills)
                of_clip.append(differing)
                alone += once
            count += len(shot)
            found += of_clip
            both = np.concatenate(of_clip)
            if len(both):
                means[path.stem] = round(float(np.linalg.norm(both[..., :2], axis=-1).mean()), 3)
    together = np.concatenate(found)
    worst = dict(sorted(means.items(), key=lambda item: -item[1])[:5])
    return {"clips": len(paths), "frames": count, "compared": len(together), "only_one_sees_a_face": alone} | (
        summary(together) | {"worst_clips": worst}
    )


def main() -> int:
    """Compare and print JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("clips", type=Path, help="folder of clips, one person each")
    parser.add_argument("--frames", type=int, default=1000, help="about so many, from as many clips as that gives")
    parser.add_argument("--each", type=int, default=25, help="frames of a clip")
    parser.add_argument("--stills", action="store_true", help="every frame for itself, without tracking")
    options = parser.parse_args()
    try:
        paths = find_clips(options.clips)
        # Evenly over the folder: neighbours show the same person.
        wanted = max(1, min(len(paths), options.frames // options.each))
        paths = [paths[i * len(paths) // wanted] for i in range(wanted)]
        print(json.dumps(parity(paths, options.frames, options.stills), indent=1))
    except VisavisError as error:
        print(error, file=sys.stderr)
        return error.exit_status
    return 0


if __name__ == "__main__":
    sys.exit(main())
