"""Builds tests/vectors/extraction.json: what the page's own arithmetic must reproduce of the daemon's.

    python -m tests.server.sender.media.extraction_vectors

writes the file anew; do that when the daemon's arithmetic changes on purpose, and change client_web/motion/ with it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from model.face.box import Box
from model.face.crop import Crop, face_crop
from model.face.region import in_crop_units
from model.face.tracker import CropFollower
from model.landmarks.detector import ANCHORS, faces_of
from model.landmarks.roi import Region
from model.landmarks.tracker import LandmarkTracker
from model.motion import RESIDUAL_FLOW_SCALARS, CanonicalKeypoints, Motion, compose
from model.networks.grid import pixel_grid
from model.networks.small.dense_motion import KeypointTransforms, squared_distance
from model.networks.small.guided import STILL, face_points, following, with_canonical, with_face
from model.networks.small_config import FEATURES, GUIDED, SMALL
from model.registration.background import BackgroundTracker
from model.registration.body import BodyTracker
from model.registration.keypoint_tracker import Effort, SmallAligner
from model.registration.keypoints import Alignment
from model.registration.similarity import GreyPyramid, thumbnail
from model.registration.surface import FollowedSurface
from model.source.expression import eye_openness
from model.source.quality import quality
from server.sender.media.source_choice import EnrolledSource, SourceCover
from tests.server.sender.media import window_vectors
from tests.server.sender.media.made_up import KEYPOINTS, canonical, rounded, surroundings, vector

PATH = Path(__file__).parents[3] / "vectors" / "extraction.json"
WIDTH, HEIGHT = 48, 36


def build() -> dict[str, Any]:
    """The vectors as JSON values."""
    return {
        "frame": {"width": WIDTH, "height": HEIGHT},
        "layout": {
            "keypoints": KEYPOINTS,
            "body": SMALL.layout.body_count,
            "guided": list(GUIDED),
            "features": len(FEATURES),
            "still": list(STILL),
        },
        "samples": _samples(),
        "region_of_landmarks": _fields(Region.of_landmarks(landmarks(3))),
        "crops": _crops(),
        "face_crops": [_fields(face_crop(*face, WIDTH, HEIGHT)) for face in ((20, 15, 8), (2, 3, 10), (40, 30, 40))],
        "crop_motion": rounded(Crop(20, 15, 24).motion_to(Crop(26, 12, 30))),
        "follower": _follower(),
        "detector": _detector(),
        "motion": _motion(),
        "cover": _cover(),
        "tracker": _tracker(),
        "registration": _registration(),
        "alignment": _alignment(),
        "followed": _followed(),
        "mouth": window_vectors.mouth(),
        "eyes": window_vectors.eyes(),
        "window_choice": window_vectors.choice(),
        "call_windows": window_vectors.call(),
    }


def frame() -> NDArray[np.uint8]:
    """A made-up picture (H, W, 3) that a second implementation draws alike."""
    y, x, channel = np.meshgrid(np.arange(HEIGHT), np.arange(WIDTH), np.arange(3), indexing="ij")
    return ((7 * x + 13 * y + 50 * channel + 5 * ((x * y) % 23)) % 256).astype(np.uint8)


def landmarks(seed: int) -> NDArray[np.float32]:
    """Made-up landmarks (478, 3), pixels: exact in binary."""
    index = np.arange(478)
    x = 12 + (index * (7 + seed)) % 97 / 4
    y = 8 + (index * (5 + seed)) % 89 / 4
    z = (index * (3 + seed)) % 31 / 8 - 2
    return np.stack([x, y, z], -1).astype(np.float32)


def moved_landmarks(seed: int) -> NDArray[np.float32]:
    """The same, turned, larger, shifted and a little bent."""
    x, y, z = landmarks(seed).T
    bent = (np.arange(478) % 5) / 16
    moved = np.stack([1.25 * x + 0.25 * y - 3, 1.25 * y - 0.25 * x + 0.5 * z + bent, 1.25 * z - 0.5 * y], -1)
    return moved.astype(np.float32)


def _samples() -> list[dict[str, Any]]:
    picture = frame()
    found = []
    for region, beyond in (
        (Region(20, 16, 12, 0.3), "border"),
        (Region(3, 34, 20, -0.8), "border"),
        (Region.whole(WIDTH, HEIGHT), "zeros"),
        (Region(46, 2, 15, 2.5), "zeros"),
    ):
        values = region.sample(picture, 6, beyond)  # type: ignore[arg-type]
        points = region.to_frame(np.array([[0.25, 0.75], [1.5, -0.5]]))
        found.append(
            {"region": _fields(region), "beyond": beyond, "values": rounded(values), "to_frame": rounded(points)}
        )
    return found


def _crops() -> list[dict[str, Any]]:
    picture = frame()
    crops = (Crop(24, 18, 16), Crop(20.3, 15.7, 11.4), Crop(4, 30, 21.5), Crop(24.25, 17.5, 33.1))
    return [{"crop": _fields(crop), "size": 8, "rgb": crop.cut(picture, 8).ravel().tolist()} for crop in crops]


def _follower() -> list[dict[str, Any]]:
    follower = CropFollower()
    steps = []
    for index in range(40):
        face = (
            None if index % 7 == 3 else Box(300 + (60 if index > 12 else 0) + index % 3, 200 - index, 120 + 2 * index)
        )
        elapsed = 0.03 + 0.01 * (index % 3)
        crop = follower.follow(face, elapsed, 640, 480)
        assert crop is not None
        seen = None if face is None else {"x": face.x, "y": face.y, "height": face.height}
        steps.append({"face": seen, "elapsed": elapsed, "crop": _fields(crop)})
    return steps


def detector_output(faces: list[tuple[int, float, float]]) -> NDArray[np.float32]:
    """Output (896, 17) of a detector that sees something at these anchors, each with its logit and its size."""
    output = np.zeros((ANCHORS, 17), np.float32)
    output[:, 0] = -8
    for anchor, logit, size in faces:
        output[anchor] = [logit, 0.5, -0.25, size, size, -8, -6, 8, -5, *[0.5] * 8]
    return output


_SEEN = [(150, 2.0, 40.0), (151, 1.0, 44.0), (152, 0.5, 40.0), (700, -0.25, 30.0), (20, -3.0, 50.0)]


def _detector() -> dict[str, Any]:
    faces = [{"box": rounded(box), "score": round(score, 6)} for box, score in faces_of(detector_output(_SEEN))]
    return {"seen": _SEEN, "faces": faces}


def _motion() -> dict[str, Any]:
    crop = Crop(24, 18, 30)
    motion = Motion.from_vector(vector(3))
    points = face_points(in_crop_units(landmarks(2), crop))
    placed = with_face(motion, canonical(1), points)
    later = following(
        motion,
        canonical(1),
        in_crop_units(landmarks(2), crop),
        in_crop_units(moved_landmarks(2), crop),
        SMALL.layout,
    )
    relative = with_canonical(placed, canonical(1), canonical(4), len(GUIDED))
    source = EnrolledSource(canonical(4), Motion.from_vector(vector(2)), SMALL.layout.head_count)
    judged = quality(frame()[:, :HEIGHT], motion, 0.2)
    return {
        "crop": _fields(crop),
        "points": rounded(points),
        "with_face": rounded(placed.to_vector()),
        "with_canonical": rounded(relative.to_vector()),
        "following": rounded(later.to_vector()),
        "gap": round(source.gap(motion), 5),
        "eye_openness": round(float(eye_openness(canonical(1), placed)), 5),
        "quality": rounded([judged.sharpness, judged.frontality, judged.eyes]),
    }


def _cover() -> list[dict[str, Any]]:
    """Frames whose pose and expression leave the first source, and come back."""
    heads = SMALL.layout.head_count
    cover = SourceCover(EnrolledSource(canonical(4), Motion.from_vector(vector(2)), heads))
    steps = []
    for index in range(60):
        driving = vector(2)
        driving[0] += 40 * math.sin(index / 8)
        driving[11:41] += 0.0625 * (index % 20 == 7)
        wanted = cover.update(Motion.from_vector(driving), 0.7 if index > 12 else 0.5, index / 10)
        if wanted:
            cover.add(EnrolledSource(canonical(4), Motion.from_vector(driving), heads))
        steps.append({"yaw": float(driving[0]), "spoken": index % 20 == 7, "wanted": wanted, "index": cover.index})
    return steps


_TRACKED = [
    # seconds, then in the order of asking: confidences of the landmark network, logits of a face
    (0.0, [0.9], [2.0]),
    (0.04, [0.8], []),
    (0.08, [0.2, 0.7], [2.0]),
    (0.5, [0.9], []),
    (1.2, [0.9], [2.0]),
    (1.3, [0.1, 0.1], [2.0]),
    (1.4, [], [-8.0]),
    (2.4, [0.6], [-8.0, -8.0, 3.0]),
    (2.5, [0.9], []),
    (3.5, [0.9], []),
]


def _tracker() -> list[dict[str, Any]]:
    """What a tracker asks of its networks, frame by frame, and whether it has a face."""
    confidences: list[float] = []
    logits: list[float] = []

    def scripted(script: list[float], answer: Callable[[float], NDArray[np.float32]]) -> Callable[[Tensor], Tensor]:
        return lambda _picture: torch.from_numpy(answer(script.pop(0)))[None]

    tracker = LandmarkTracker(
        scripted(confidences, landmark_output),
        scripted(logits, lambda logit: detector_output([(150, logit, 40.0)])),
    )
    steps = []
    for time, said, seen in _TRACKED:
        said, seen = said + [0.3] * 12, seen + [-8.0] * 48  # more than any frame asks for
        confidences[:], logits[:] = said, seen
        found = tracker.update(frame(), time)
        steps.append(
            {
                "time": time,
                "confidences": said,
                "logits": seen,
                "left": [len(confidences), len(logits)],
                "points": None if found is None else rounded(found.points[[0, 100, 477]]),
            }
        )
    return steps


def landmark_output(confidence: float) -> NDArray[np.float32]:
    """Output (1435,) of a landmark network that sees a made-up face."""
    points = landmarks(1) * np.float32(4)
    return np.concatenate([[confidence], points.ravel()]).astype(np.float32)


_REGISTERED = [
    # where the picture begins, whether it is another, light, what the crop's move lets expect, if a source is known
    *[(4 * step, -3 * step, False, 0, None, False) for step in range(8)],
    *[(32, -24 + step, False, 10, None, True) for step in range(4)],
    (57, -21, False, 10, [-24 / 128, 0.0, 0.0, 0.0], True),
    (57, -21, False, 10, None, True),
    (60, -21, True, 10, None, True),
    (60, -20, False, 12, None, True),
    (64, -20, False, 12, None, True),
]
_SOURCE = 3


def _registration() -> list[dict[str, Any]]:
    """Where background and body are found in crops of a picture that moves."""
    background, source, body = BackgroundTracker(), None, None
    steps = []
    for index, (x, y, other, light, expected, known) in enumerate(_REGISTERED):
        picture = GreyPyramid(thumbnail(surroundings(x, y, other, light)))
        driving = vector(3)
        driving[3:6] = 0.55, 0.05 - x / 128, -0.15 - y / 128
        motion = Motion.from_vector(driving)
        way = None if expected is None else np.array(expected, np.float32)
        place = background.follow(picture, motion, source if known else None, way)
        if index == _SOURCE:
            source = background.backdrop()
            body = BodyTracker(picture, motion, SMALL.layout)
        step = {"crop": [x, y, other, light], "expected": expected, "known": known, "place": rounded(place)}
        if body is not None:
            followed = body.follow(picture, motion)
            step |= {"measured": body.measured, "body": rounded(followed.expression[SMALL.layout.body])}
        steps.append(step)
    return steps


def _made_up_surface(canonical: CanonicalKeypoints, source: Motion, driving: Motion) -> tuple[Tensor, Tensor]:
    """Flow (1, 2, 64, 64) and masks (1, K + 1, 64, 64) as a network might have them, of motions of batch shape (1,)."""
    grid = pixel_grid(64, 64, driving.translation)
    k = torch.arange(KEYPOINTS)
    middles = torch.stack([(7 * k) % 19 / 9.5 - 0.95, (11 * k) % 23 / 11.5 - 0.95], -1)[None]
    logits = torch.cat([torch.full((1, 1, 64, 64), -1.0), -20 * squared_distance(grid, middles)], 1)
    masks = logits.softmax(1)
    apart = (compose(canonical, source) - compose(canonical, driving))[0, :, :2]
    flow = grid.permute(2, 0, 1) + torch.einsum("khw,kc->chw", masks[0, 1:], apart)
    return (flow + driving.residual_flow.mean(1)[0, :, None, None])[None], masks


_ALIGNED = [
    # where the picture begins, whether it is another, light; degrees by which the head has turned
    (4, -3, False, 0, 2.0),
    (6, -4, False, 10, 3.0),
    (9, -4, False, 10, 3.0),
    (3, -4, True, 0, 3.0),
    (12, -2, False, 0, -4.0),
]


def _alignment() -> list[dict[str, Any]]:
    """What is found of keypoints and residual flow in crops of a picture that moves."""
    layout = SMALL.layout
    points = CanonicalKeypoints(torch.from_numpy(canonical(1).points)[None])
    source = aligned_motion(0, 0, 0.0)
    still = source.to_torch()

    def surface(driving: Motion, _keypoints: object) -> tuple[Tensor, Tensor]:
        return _made_up_surface(points, still, driving)

    picture = GreyPyramid(thumbnail(surroundings(0, 0, False, 0)))
    page = Effort(600, 4.0, follows=False)
    aligner = SmallAligner(surface, layout, points, still, picture, 1 - surface(still, None)[1][:, :1], page)
    before: Alignment | None = None
    steps = []
    for x, y, other, light, turn in _ALIGNED:
        frame = GreyPyramid(thumbnail(surroundings(x, y, other, light)))
        before = aligner(frame, aligned_motion(x, y, turn)[0], before)
        steps.append(
            {
                "crop": [x, y, other, light],
                "turn": turn,
                "correction": rounded(before.keypoint_correction),
                "residual_flow": rounded(before.residual_flow),
                "residual": rounded(before.residual.ravel()[::397]),
            }
        )
    return steps


_FOLLOWED = [(0.0, 0), (1.0, 0), (-1.0, 1), (1.5, 2), (0.5, 1), (20.0, 6)]
"""Degrees by which the head has turned, pixels of 128 by which picture and background have gone."""


def _followed() -> list[dict[str, Any]]:
    """How a made-up network moves a source image, asked of it for one frame of several."""
    layout = SMALL.layout
    points = CanonicalKeypoints(torch.from_numpy(canonical(1).points)[None])
    still = aligned_motion(0, 0, 0.0).to_torch()
    runs = 0

    def surface(driving: Motion, _keypoints: object) -> tuple[Tensor, Tensor]:
        nonlocal runs
        runs += 1
        return _made_up_surface(points, still, driving)

    followed = FollowedSurface(surface, layout)
    steps = []
    for turn, x in _FOLLOWED:
        driving = aligned_motion(x, 0, turn).to_vector()[0]
        driving[7:11] += np.array([x / 64, -x / 128, x / 50, turn], np.float32)
        driving[-RESIDUAL_FLOW_SCALARS:] += 0.01 * (np.arange(RESIDUAL_FLOW_SCALARS) % 5)
        motion = Motion.from_vector(driving[None]).to_torch()
        flow, _ = followed(motion, KeypointTransforms.of(points, still, motion, layout))
        steps.append({"turn": turn, "x": x, "runs": runs, "flow": rounded(flow.numpy().ravel()[::97])})
    return steps


def aligned_motion(x: int, y: int, turn: float) -> Motion:
    """A motion (1,) of a head that has gone with the picture, but for two pixels, as an extractor would err."""
    driving = vector(3)
    driving[0] += turn
    driving[3:6] = 0.55, 0.05 - (x + 2 * (x > 0)) / 128, -0.15 - y / 128
    return Motion.from_vector(driving[None])


def _fields(value: Region | Crop) -> dict[str, float]:
    return {name: round(float(number), 6) for name, number in vars(value).items()}


def main() -> None:
    """Write the file."""
    PATH.write_text(json.dumps(build()) + "\n")


if __name__ == "__main__":
    main()
