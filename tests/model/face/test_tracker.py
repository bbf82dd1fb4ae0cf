"""The steady crop: rests, glides without a jerk, forgets a lost face; told faces by a script, not by a detector."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from model.face.box import Box
from model.face.crop import Crop
from model.face.tracker import CropFollower, HeadTracker, State

FRAME = np.zeros((720, 1280, 3), np.uint8)
DT = 1 / 30


class ScriptedFinder:
    """Finds what it is told to."""

    def __init__(self, *faces: Box) -> None:
        self.faces = list(faces)
        self.calls = 0

    def find(self, frame: NDArray[np.uint8], finely: bool = True) -> list[Box]:
        self.calls += 1
        return self.faces

    def find_near(self, frame: NDArray[np.uint8], face: Box) -> Box | None:
        self.calls += 1
        near = [f for f in self.faces if abs(f.x - face.x) + abs(f.y - face.y) < face.height]
        return near[0] if near else None


def test_crop_rests_while_the_detector_jitters() -> None:
    random = np.random.default_rng(1)
    follower = CropFollower()
    crops = []
    for _ in range(300):
        x, y, size = random.normal(0, (3, 3, 0.08))
        crop = follower.follow(Box(640 + x, 360 + y, 150 * np.exp(size)), DT, 1280, 720)
        assert crop is not None
        crops.append(crop)
    assert len(set(crops)) == 1


def test_crop_glides_after_the_head_and_rests_again() -> None:
    follower = CropFollower()
    path = []
    for i in range(150):
        crop = follower.follow(Box(500 if i < 10 else 640, 360, 150), DT, 1280, 720)
        assert crop is not None
        path.append(crop.x)
    steps = np.diff(path)
    assert path[9] == 500
    assert abs(path[-1] - 640) < 0.06 * 150
    assert steps.min() >= -1e-6, "no overshoot"
    assert np.abs(np.diff(steps)).max() < 0.05 * 150, "no jerk"
    assert not follower.gliding
    assert steps[-1] == 0


def test_glide_does_not_depend_on_the_frame_rate() -> None:
    ends = []
    for rate in (15, 60):
        follower = CropFollower()
        follower.follow(Box(500, 360, 150), 1 / rate, 1280, 720)
        follower.jump(Box(500, 360, 150))
        for _ in range(rate // 2):
            crop = follower.follow(Box(650, 360, 150), 1 / rate, 1280, 720)
        assert crop is not None
        ends.append(crop.x)
    assert abs(ends[0] - ends[1]) < 12


def test_crop_follows_a_face_that_comes_nearer() -> None:
    follower = CropFollower()
    for i in range(300):
        crop = follower.follow(Box(640, 360, 100 if i < 5 else 160), DT, 1280, 720)
    assert crop is not None
    assert abs(crop.side / (2.2 * 160) - 1) < 0.1


def test_tracker_goes_through_its_states() -> None:
    finder = ScriptedFinder()
    tracker = HeadTracker(finder, patience=1.0)

    def watch(frames: int) -> tuple[State, list[Crop | None]]:
        crops = [tracker.update(FRAME, DT) for _ in range(frames)]
        return tracker.state, crops

    assert watch(1) == ("searching", [None])
    finder.faces = [Box(640, 360, 150)]
    state, crops = watch(7)
    assert state == "tracking"
    assert crops[-1] is not None
    finder.faces = []
    state, crops = watch(25)
    assert state == "tracking", "a moment without a face is bridged"
    assert None not in crops
    assert watch(15)[0] == "lost"
    finder.faces = [Box(200, 300, 150)]
    state, crops = watch(7)
    assert state == "tracking"
    assert crops[-1] is not None
    assert crops[-1].x == pytest.approx(200), "a face found anew is not glided to"


def test_after_a_cut_the_next_frame_is_searched_and_its_face_taken_wherever_it_is() -> None:
    finder = ScriptedFinder(Box(640, 360, 150))
    tracker = HeadTracker(finder)
    for _ in range(30):
        tracker.update(FRAME, DT)
        tracker.hint(Box(640, 360, 150), measured=True)
    finder.faces = [Box(200, 300, 100)]
    crop = tracker.update(FRAME, DT)
    assert crop is not None
    assert crop.x == pytest.approx(640), "else it would be looked for where it was"
    tracker.restart()
    crop = tracker.update(FRAME, DT)
    assert crop is not None
    assert crop.x == pytest.approx(200)
    finder.faces = []
    tracker.restart()
    assert tracker.update(FRAME, DT) is None


def test_a_slow_machine_does_not_lose_a_face_it_did_not_look_for() -> None:
    finder = ScriptedFinder(Box(640, 360, 150))
    tracker = HeadTracker(finder, patience=1.0)
    for _ in range(20):
        tracker.update(FRAME, 0.5)
        assert tracker.state == "tracking"
    finder.faces = []
    for _ in range(6):
        tracker.update(FRAME, 0.5)
    assert tracker.state == "lost"


@pytest.mark.parametrize(("measured", "detections"), [(True, 4), (False, 15)])
def test_a_face_that_is_measured_in_each_frame_is_detected_once_a_second(measured: bool, detections: int) -> None:
    finder = ScriptedFinder(Box(640, 360, 150))
    tracker = HeadTracker(finder)
    for _ in range(100):
        tracker.update(FRAME, DT)
        tracker.hint(Box(640, 360, 150), measured)
    assert abs(finder.calls - detections) <= 1


def test_several_faces_are_flagged_and_the_first_person_is_kept() -> None:
    finder = ScriptedFinder(Box(640, 360, 150))
    tracker = HeadTracker(finder)
    tracker.update(FRAME, DT)
    finder.faces = [Box(640, 360, 150), Box(200, 360, 220)]
    for _ in range(100):
        crop = tracker.update(FRAME, DT)
    assert tracker.several
    assert crop is not None
    assert crop.x == pytest.approx(640)


def test_hints_move_the_crop_between_detections() -> None:
    tracker = HeadTracker(ScriptedFinder(Box(640, 360, 150)))
    tracker.update(FRAME, DT)
    for i in range(29):
        tracker.hint(Box(640 + 4 * i, 360, 150), measured=True)
        crop = tracker.update(FRAME, DT)
    assert crop is not None
    assert crop.x > 690


def test_wild_hints_are_ignored_and_a_head_pose_keeps_no_face_alive() -> None:
    finder = ScriptedFinder(Box(640, 360, 150))
    tracker = HeadTracker(finder, patience=0.5)
    tracker.hint(Box(1, 1, 150), measured=True)
    first = tracker.update(FRAME, DT)
    tracker.hint(Box(1200, 360, 150), measured=True)
    assert tracker.update(FRAME, DT) == first
    finder.faces = []
    for _ in range(30):
        tracker.hint(Box(640, 360, 150))
        tracker.update(FRAME, DT)
    assert tracker.state == "lost"


def test_landmarks_keep_a_face_that_the_detector_misses() -> None:
    finder = ScriptedFinder(Box(640, 360, 150))
    tracker = HeadTracker(finder, patience=0.5)
    tracker.update(FRAME, DT)
    finder.faces = []
    for _ in range(150):
        tracker.hint(Box(640, 360, 150), measured=True)
        tracker.update(FRAME, DT)
    assert tracker.state == "tracking"


def test_a_face_elsewhere_ends_what_landmarks_alone_believe() -> None:
    finder = ScriptedFinder(Box(640, 360, 150))
    tracker = HeadTracker(finder, patience=0.5)
    tracker.update(FRAME, DT)
    finder.faces = [Box(200, 300, 150)]
    places = []
    for _ in range(300):
        tracker.hint(Box(640, 360, 150), measured=True)
        crop = tracker.update(FRAME, DT)
        places.append(None if crop is None else crop.x)
    assert places[-1] == pytest.approx(200)
