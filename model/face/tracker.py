"""A steady crop around a head that moves: still while the head stays near, gliding after it when it leaves."""

from __future__ import annotations

import math
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from model.face.box import Box, are_several, main_face
from model.face.crop import Crop, face_crop

State = Literal["searching", "tracking", "lost"]


class Finder(Protocol):
    """What the tracker asks of `model.face.finder.HeadFinder`."""

    def find(self, frame: NDArray[np.uint8], finely: bool = ...) -> list[Box]: ...

    def find_near(self, frame: NDArray[np.uint8], face: Box) -> Box | None: ...


class CropFollower:
    """The crop for a stream of measured faces. Pure: takes the faces and the time that passed.

    The measured face is low-pass filtered, as the detector jitters by some percent. The crop rests while the filtered
    face stays within a dead-band around its middle; beyond that it glides to it like a critically damped spring, that
    is without a jerk and without overshoot, and rests again.
    """

    LEAVE = 0.22  # dead-band of the middle, in face heights
    LEAVE_SIZE = 0.2  # dead-band of the size, in natural logarithms
    ARRIVE = 0.06  # closer than this in both measures, and slower than this a second, the crop rests again
    PLACE_SECONDS = 0.12  # time constant of the filter of the middle
    SIZE_SECONDS = 1.5  # and of the size, which seldom changes
    STIFFNESS = 4.0  # of the spring, rad/s at the edge of the dead-band; more the further the face has got away

    def __init__(self) -> None:
        self._face: NDArray[np.float64] | None = None  # filtered: x, y, log height
        self._target = np.zeros(3)  # the face that the crop is made for
        self._speed = np.zeros(3)
        self._since_face = 0.0  # seconds since the last measured face
        self.gliding = False

    def follow(self, face: Box | None, elapsed: float, width: int, height: int) -> Crop | None:
        """The crop in a frame width x height, `elapsed` seconds after the last one; None before the first face.

        `face`: what was measured in this frame, None when nothing was.
        """
        self._since_face += elapsed
        if face is not None:
            measured = np.array([face.x, face.y, math.log(max(face.height, 1.0))])
            if self._face is None:
                self._face, self._target = measured, measured.copy()
            else:
                seconds = np.array([self.PLACE_SECONDS, self.PLACE_SECONDS, self.SIZE_SECONDS])
                self._face += (1 - np.exp(-self._since_face / seconds)) * (measured - self._face)
            self._since_face = 0.0
        if self._face is None:
            return None
        self._glide(elapsed)
        x, y, size = self._target
        return face_crop(float(x), float(y), math.exp(size), width, height)

    def jump(self, face: Box) -> None:
        """Forget the past: the next crop lies around this face at once (a face found anew)."""
        self._face = np.array([face.x, face.y, math.log(max(face.height, 1.0))])
        self._target, self._speed = self._face.copy(), np.zeros(3)
        self._since_face, self.gliding = 0.0, False

    def _glide(self, elapsed: float) -> None:
        assert self._face is not None
        unit = np.array([math.exp(self._target[2])] * 2 + [1.0])
        gap = (self._face - self._target) / unit
        away = max(float(np.hypot(gap[0], gap[1])) / self.LEAVE, abs(float(gap[2])) / self.LEAVE_SIZE)
        self.gliding = self.gliding or away > 1
        if not self.gliding:
            return
        # Exact solution of the critically damped spring over `elapsed`, so that frame rate does not matter.
        stiffness = self.STIFFNESS * max(1.0, away)
        rest = self._target - self._face
        swing = (self._speed + stiffness * rest) * elapsed
        decay = math.exp(-stiffness * elapsed)
        self._target = self._face + (rest + swing) * decay
        self._speed = (self._speed - stiffness * swing) * decay
        near = np.abs((self._face - self._target) / unit) < self.ARRIVE
        slow = np.abs(self._speed / unit) < self.ARRIVE
        if near.all() and slow.all():
            self.gliding, self._speed = False, np.zeros(3)


class HeadTracker:
    """Frame by frame to a steady crop. Not thread-safe.

    A face that the caller measures in each frame on its landmarks is confirmed by the detector once a second; one that
    it does not measure is looked for five times a second.

    state     searching (no face so far), tracking, or lost (none for `patience` seconds)
    several   whether another face was seen in the last search of the whole frame; the tallest is the one followed
    """

    CHECK_SECONDS = 1.0
    """Between two detections of a face that is measured in each frame; and between two fine searches of a frame."""

    SEARCH_SECONDS = 0.2
    """Between two detections while no face is measured."""

    WHOLE = 4
    """Each so many detections of a known face go over the whole frame: somebody else may have come."""

    def __init__(self, finder: Finder, patience: float = 2.5) -> None:
        """`patience`: seconds without a face until it is lost."""
        self._finder = finder
        self._patience = patience
        self._follower = CropFollower()
        self._face: Box | None = None
        self._hint: Box | None = None
        self._hint_measured = False
        self._detections = 0
        self._since_detection = math.inf  # seconds
        self._since_fine = math.inf  # seconds since the whole frame was searched for small faces
        self._unseen = 0.0
        self._contradicted = False  # the detector sees faces, and not this one: landmarks alone are not believed
        self.several = False
        self.state: State = "searching"

    def restart(self) -> None:
        """Begin anew: the next frame shows something else, and is searched at once."""
        self._follower = CropFollower()
        self._face = self._hint = None
        self._hint_measured = self._contradicted = self.several = False
        self._detections = 0
        self._since_detection = self._since_fine = math.inf
        self._unseen = 0.0
        self.state = "searching"

    def hint(self, face: Box, measured: bool = False) -> None:
        """Where the model sees the face in the frame just taken: corrects the crop until the next detection.

        measured   on its landmarks, which know whether there is a face; a head pose (`Box.from_pose`) keeps no lost
                   face alive
        Ignored when it is far from the last known face.
        """
        last = self._face
        if last is None or self.state != "tracking":
            return
        distance = math.hypot(face.x - last.x, face.y - last.y)
        if distance < 0.5 * last.height and 0.6 < face.height / last.height < 1.7:
            self._hint, self._hint_measured = face, measured

    def update(self, frame: NDArray[np.uint8], elapsed: float = 1 / 30) -> Crop | None:
        """The crop for a frame uint8 (H, W, 3), `elapsed` seconds after the last one; None while no face is known."""
        height, width = frame.shape[:2]
        hint, self._hint = self._hint, None
        measured = hint if self._hint_measured and not self._contradicted else None
        self._since_detection += elapsed
        self._since_fine += elapsed
        searched = self._since_detection >= (self.CHECK_SECONDS if measured else self.SEARCH_SECONDS)
        if searched:
            measured = self._detect(frame, measured)
            self._since_detection = 0.0
        if measured is None:
            self._unseen += elapsed
            # At two frames a second the next search comes after the patience has run out: only a search in vain loses.
            if searched and self.state == "tracking" and self._unseen > self._patience:
                self.state, self._face = "lost", None
        else:
            self._unseen = 0.0
            if self.state != "tracking":
                self._follower.jump(measured)
            self.state = "tracking"
        if self.state != "tracking":
            return None
        best = measured or hint
        if best is not None:
            self._face = best
        return self._follower.follow(best, elapsed, width, height)

    def _detect(self, frame: NDArray[np.uint8], measured: Box | None) -> Box | None:
        """The face that is followed, or a new one; `measured` is where landmarks saw it last."""
        self._detections += 1
        face = measured or self._face
        if face is not None and self._detections % self.WHOLE:
            near = self._finder.find_near(frame, face)
            if near is not None:
                self._contradicted = False
                return near
        finely = face is None and self._since_fine >= self.CHECK_SECONDS
        if finely:
            self._since_fine = 0.0
        boxes = self._finder.find(frame, finely)
        self.several = are_several(boxes)
        if face is None:
            return main_face(boxes)
        # The person who was followed stays the one, though somebody nearer to the camera walks in.
        near_boxes = [b for b in boxes if math.hypot(b.x - face.x, b.y - face.y) < face.height]
        found = main_face(near_boxes) or self._finder.find_near(frame, face)
        # The detector misses heads that are turned far, which landmarks follow. It is believed where it sees others.
        self._contradicted = found is None and bool(boxes)
        return found or (None if boxes else measured)
