"""What the page must reproduce of windows of mouth and eyes: a part of tests/vectors/extraction.json."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.motion import CanonicalKeypoints, Motion
from model.networks.small_config import EYE_KEYPOINTS, SMALL
from model.networks.small_config import MOUTH as MOUTH_KEYPOINTS
from model.source.call_windows import CallWindows, SourceLook
from model.source.eye_choice import alike, eye_areas, eye_points
from model.source.mouth_choice import CallMouth, bare_skin, mouth_points, skin_unevenness
from model.source.quality import sharpness
from model.source.window_choice import EYES, MOUTH, Budget, WindowChoice
from model.window.corners import UNIT, corner_coordinates
from model.window.eyes import cut_window as cut_eyes
from model.window.eyes import usable as eyes_usable
from model.window.mouth import cut_window, shape_distance, usable
from tests.server.sender.media.made_up import CROP, canonical, rounded, surroundings, vector

CHOICE_FRAMES, CHOICE_WIDER, CHOICE_CUT = 1900, 250, 1700
CALL_FRAMES, CALL_MOUTH_HIDDEN, CALL_BARE = 100, 30, 45


def mouth_shape(index: int) -> NDArray[np.float32]:
    """A made-up mouth (10, 2) in its own coordinates."""
    upper, lower, skew = (7 * index % 12) / 24, (7 * index % 12) / 8, (index % 7 - 3) / 8
    above, below, side = upper + 0.25 + (index % 5) / 16, lower + 0.375, 0.4375 + (index % 3) / 16
    points = [(-1, 0), (1, 0), (skew, -above), (skew, below), (skew, -upper), (skew, lower)]
    points += [(-side, -0.7 * above), (side, -0.7 * above), (-side, 0.9 * below), (side, 0.9 * below)]
    return np.array(points, np.float32)


def eye_shape(index: int) -> NDArray[np.float32]:
    """Made-up eyes (2, 5, 2), each in its own coordinates: exact in binary, none between two steps."""
    opening, aside = (5 * index % 9) / 16, (index % 7 - 3) / 8
    middle, upper, lower, iris = aside / 4 + 1 / 64, -opening - 1 / 64, opening / 2 + 1 / 64, -opening / 4 - 1 / 128
    eyes = [
        [(-1, 0), (1, 0), (middle, high * upper), (middle, high * lower), (aside, high * iris)] for high in (1, 0.75)
    ]
    return np.array(eyes, np.float32)


def _placed(shape: NDArray[np.float32], x: float, y: float, u: float, v: float) -> NDArray[np.float32]:
    """A shape in crop units, by its middle and half the way from corner to corner."""
    return np.array([x, y], np.float32) + shape @ np.array([[u, v], [-v, u]], np.float32)


def _both_placed(shape: NDArray[np.float32], x: float, y: float, u: float, v: float) -> NDArray[np.float32]:
    """Eyes on either side of a place, the right one a little larger."""
    left = _placed(shape[0], x - 2 * u, y - 2 * v, u, v)
    return np.stack([left, _placed(shape[1], x + 2 * u, y + 2 * v, 1.25 * u, 1.25 * v)])


_MOUTHS = [
    # index of the made-up mouth, crop units: its middle, then half the way from corner to corner
    (0, 0.0, 0.375, 0.25, 0.0),
    (2, -0.125, 0.25, 0.1875, 0.0625),
    (5, 0.0625, 0.25, 0.3125, -0.125),
    (4, 0.5, -0.25, 0.0625, 0.03125),
    (8, 0.875, 0.25, 0.25, 0.0),
    (3, 0.0, 0.5, 0.03125, 0.0),
]

_EYES = [
    # index of the made-up eyes, by how much they are opened wider, crop units: their middle, half the left eye's width
    (0, 1, 0.0, -0.25, 0.125, 0.0),
    (3, 1, 0.0625, -0.1875, 0.109375, 0.03125),
    (5, 1, -0.25, 0.5, 0.15625, -0.0625),
    (2, 1, 0.0, -0.25, 0.25, 0.0),
    (4, 1, 0.0, -0.96875, 0.0546875, 0.0),  # their skin reaches beyond the crop
    (7, 1, 0.625, -0.25, 0.125, 0.0),  # so does the right eye
    (1, 1, 0.0, -0.25, 0.015625, 0.0),  # too small
    (1, 16, 0.0, 0.0, 0.0625, 0.0),  # too far open
]


def call_mouth() -> dict[str, Any]:
    """Unevenness of a mouth that begins to speak, goes behind a hand and comes back; and when it counts as covered."""
    speaks = [0.1 + 0.009 * index for index in range(20)]
    seen = [0.11, *speaks, 0.5, 0.3, 0.24, 0.2, 0.17, 0.26]
    mouth = CallMouth(0.1)
    return {"own": 0.1, "seen": seen, "covered": [mouth.update(one) for one in seen]}


def mouth() -> dict[str, Any]:
    """What is made of mouths in a made-up crop."""
    crop = surroundings(0, 0, False, 0)
    mouths = []
    for index, *place in _MOUTHS:
        points = _placed(mouth_shape(index), *place)
        mouth: dict[str, Any] = {
            "points": points.ravel().tolist(),
            "coordinates": rounded(corner_coordinates(points)),
            "usable": bool(usable(points)),
        }
        if mouth["usable"]:
            window = cut_window(crop, points)
            mouth |= {
                "lips": _steps(window.lips),
                "middle": round(window.middle / UNIT),
                "half": round(window.half / UNIT),
                "side": len(window.picture),
                "green": window.picture[..., 1].ravel()[::37].tolist(),
                "unevenness": round(skin_unevenness(crop, points), 5),
            }
        mouths.append(mouth)
    shapes = [mouth_shape(index) for index in range(6)]
    return {
        "keypoints": rounded(mouth_points(canonical(1), Motion.from_vector(vector(3)))),
        "placed": mouths,
        "distances": rounded([[shape_distance(a, b) for b in shapes] for a in shapes]),
        "bare_skin": rounded([bare_skin(0.01), bare_skin(0.2)]),
        "call": call_mouth(),
        "sharpness": round(sharpness(crop), 5),
    }


def eyes() -> dict[str, Any]:
    """What is made of eyes in a made-up crop."""
    crop = surroundings(0, 0, False, 0)
    eyes = []
    for index, wider, *place in _EYES:
        points = _both_placed(eye_shape(index) * np.array([1, wider], np.float32), *place)
        both: dict[str, Any] = {
            "points": points.ravel().tolist(),
            "coordinates": rounded(corner_coordinates(points)),
            "usable": bool(eyes_usable(points)),
            "areas": rounded(eye_areas(crop, points).ravel()[::7]),
        }
        if both["usable"]:
            window = cut_eyes(crop, points)
            both |= {
                "lids": _steps(window.lids),
                "side": len(window.picture),
                "green": window.picture[..., 1].ravel()[::37].tolist(),
            }
        eyes.append(both)
    shapes = [eye_shape(index) for index in range(6)]
    _, _, *place = _EYES[0]
    areas = [eye_areas(picture, _both_placed(shapes[0], *place)) for picture in _hidden_or_not()]
    return {
        "keypoints": rounded(eye_points(canonical(1), Motion.from_vector(vector(3)))),
        "placed": eyes,
        "distances": rounded([[EYES.distance(a, b) for b in shapes] for a in shapes]),
        "alike": [[bool(alike(a, b)) for b in areas] for a in areas],
    }


def _hidden_or_not() -> list[NDArray[np.uint8]]:
    """Crops: a face, in more light, a little beside its place; an eye of it hidden, and all; something far beside it,
    and nothing but one colour.
    """
    crop, other = surroundings(0, 0, False, 0), surroundings(0, 0, True, 0)
    beside = [surroundings(0, 0, False, 30), surroundings(3, 2, False, 0)]
    half = np.concatenate([other[:, : CROP // 2], crop[:, CROP // 2 :]], 1)
    return [crop, *beside, half, other, surroundings(40, 0, False, 0), np.full_like(crop, 128)]


def choice() -> list[list[int]]:
    """At which frame of made-up mouths and eyes, one in .06 s, which slot is asked for, within what both may spend.

    They are opened wider by and by; from one frame on they are of another source.
    """
    budget, asked = Budget(), []
    mouths, eyes = WindowChoice(MOUTH, budget), WindowChoice(EYES, budget)
    for frame in range(CHOICE_FRAMES):
        if frame == CHOICE_CUT:
            mouths.cut()
            eyes.cut()
        wider = np.array([1, 1 + frame % CHOICE_CUT // CHOICE_WIDER], np.float32)
        source, now = int(frame >= CHOICE_CUT), 5 + 0.06 * frame
        for choice, shape, own, clear in (
            (mouths, mouth_shape(frame // 2), mouth_shape(source), frame % 7 != 3),
            (eyes, eye_shape(frame // 3), eye_shape(source), frame % 5 != 2),
        ):
            slot = choice.update(shape * wider, own, clear, now)
            if slot is not None and frame % 11 != 1:
                choice.sent(slot, shape * wider, 100 + 8 * frame % 200, now)
            asked += [] if slot is None else [[frame, slot]]
    return asked


def spoken(index: int) -> Motion:
    """Motion, beside canonical keypoints at nought, of a head that looks ahead, with this made-up mouth and eyes."""
    motion = vector(0)
    motion[:] = 0
    motion[3] = 1
    expression = motion[11 : 11 + 3 * SMALL.keypoints].reshape(-1, 3)
    expression[list(MOUTH_KEYPOINTS), :2] = _placed(mouth_shape(index), 0, 0.25, 0.25, 0)
    expression[np.array(EYE_KEYPOINTS), :2] = _both_placed(eye_shape(index), 0, -0.25, 0.125, 0)
    return Motion.from_vector(motion)


def call() -> list[list[int]]:
    """At which frame of a made-up call, one in .11 s, which slot is sent.

    At first an eye is hidden, then half of the mouth, then nothing, until all bytes are spent.
    """
    crop, still = surroundings(0, 0, False, 0), CanonicalKeypoints(np.zeros((SMALL.keypoints, 3), np.float32))
    eye_hidden, mouth_hidden = crop.copy(), crop.copy()
    eye_hidden[: CROP // 2, : CROP // 2] = surroundings(0, 0, True, 0)[: CROP // 2, : CROP // 2]
    mouth_hidden[CROP // 2 :, CROP // 2 :] //= 8
    source = SourceLook.of(crop, still, spoken(0), sharpness(crop))
    windows, sent = CallWindows(), []
    for frame in range(CALL_FRAMES):
        picture = eye_hidden if frame < CALL_MOUTH_HIDDEN else mouth_hidden if frame < CALL_BARE else crop
        chosen = windows.update(picture, still, spoken(frame), source, 0.11 * frame)
        if chosen is not None:
            windows.sent(chosen, 1400, 0.11 * frame)
            sent.append([frame, chosen.slot])
    return sent


def _steps(coordinates: NDArray[np.float32]) -> list[int]:
    steps: list[int] = np.round(coordinates / UNIT).astype(int).ravel().tolist()
    return steps
