"""The windows of a call: mouth and eyes within one budget, and nothing from behind a hand."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from model.motion import CanonicalKeypoints, Motion
from model.networks.small_config import EYE_KEYPOINTS, MOUTH, SMALL
from model.source.call_windows import CallWindows, SourceLook
from model.source.quality import sharpness
from model.source.window_choice import MOST_BYTES, SPAN
from model.window import EYE_SLOTS, MAX_WINDOW_BYTES, MOUTH_SLOTS
from model.window.eyes import EyeWindow
from model.window.mouth import MouthWindow
from tests.model import eyes, mouths

STILL = CanonicalKeypoints(np.zeros((SMALL.keypoints, 3), np.float32))
AT_REST = (0.0, 0.7)  # openings of mouth and lids


def moved(mouth: float, lids: float) -> Motion:
    """Motion, beside canonical keypoints at nought, of a mouth and eyes that are so far open."""
    vector = np.zeros(11 + 3 * SMALL.keypoints + 128, np.float32)
    vector[3] = 1
    expression = vector[11 : 11 + 3 * SMALL.keypoints].reshape(-1, 3)
    expression[list(MOUTH), :2] = mouths.lips(mouth, (0.0, 0.5), 0.4)
    expression[np.array(EYE_KEYPOINTS), :2] = eyes.eyes(lids)
    return Motion.from_vector(vector)


def picture(lids: float) -> NDArray[np.uint8]:
    """A crop whose eyes are so far open; the mouth is bare skin."""
    return eyes.picture(eyes.eyes(lids))


@dataclass
class Call:
    """A sender that captures a frame in .1 s; `sent` has the time and slot of each window."""

    size: int = 700
    windows: CallWindows = field(default_factory=CallWindows)
    now: float = 0.0
    sent: list[tuple[float, int]] = field(default_factory=list)
    kinds: set[type] = field(default_factory=set)

    def __post_init__(self) -> None:
        crop = picture(AT_REST[1])
        self.look = SourceLook.of(crop, STILL, moved(*AT_REST), sharpness(crop))

    def show(self, mouth: float, lids: float, crop: NDArray[np.uint8] | None = None) -> None:
        crop = picture(lids) if crop is None else crop
        chosen = self.windows.update(crop, STILL, moved(mouth, lids), self.look, self.now)
        if chosen is not None:
            self.windows.sent(chosen, self.size, self.now)
            self.sent.append((self.now, chosen.slot))
            self.kinds.add(type(chosen.cut(crop)))
        self.now += 0.1

    @property
    def slots(self) -> list[int]:
        return [slot for _, slot in self.sent]


def test_mouths_and_eyes_have_their_own_slots_and_a_frame_gives_one_window() -> None:
    call = Call()
    for index in range(60):
        call.show(0.9 if index % 4 > 1 else 0.0, 0.05 if index % 6 > 2 else 0.7)
    assert any(slot in MOUTH_SLOTS for slot in call.slots)
    assert any(slot in EYE_SLOTS for slot in call.slots)
    assert call.kinds == {MouthWindow, EyeWindow}
    times = [now for now, _ in call.sent]
    assert times == sorted(set(times))


def test_what_never_changes_needs_no_window() -> None:
    call = Call()
    for index in range(60):
        call.show(0.0, 0.05 if index % 6 > 2 else 0.7)
    assert call.slots
    assert all(slot in EYE_SLOTS for slot in call.slots)


def test_an_eye_behind_a_hand_becomes_no_window_while_the_mouth_does() -> None:
    call = Call()
    for index in range(60):
        lids = 0.05 if index % 6 > 2 else 0.7
        crop = picture(lids)
        crop[70:130, :126] = eyes.SKIN
        call.show(0.9 if index % 4 > 1 else 0.0, lids, crop)
    assert call.slots
    assert all(slot in MOUTH_SLOTS for slot in call.slots)


def test_a_blurred_face_becomes_none() -> None:
    call = Call()
    for index in range(60):
        crop = np.full((256, 256, 3), 128, np.uint8)
        call.show(0.9 if index % 4 > 1 else 0.0, 0.05 if index % 6 > 2 else 0.7, crop)
    assert call.slots == []


def test_both_together_never_spend_more_than_a_minute_may() -> None:
    call, random = Call(size=MAX_WINDOW_BYTES), np.random.default_rng(1)
    for _ in range(1500):
        call.show(float(random.uniform(0, 1.2)), float(random.uniform(0.05, 1.2)))
    assert len(call.sent) > MOST_BYTES // MAX_WINDOW_BYTES
    for since, _ in call.sent:
        within = sum(since <= now < since + SPAN for now, _ in call.sent)
        assert within * MAX_WINDOW_BYTES <= MOST_BYTES


def test_after_a_cut_slots_are_filled_anew() -> None:
    call = Call()
    for index in range(30):
        call.show(0.9 if index % 4 > 1 else 0.0, 0.7)
    before = len(call.sent)
    call.windows.cut()
    for index in range(30):
        call.show(0.9 if index % 4 > 1 else 0.0, 0.7)
    assert call.slots[0] == call.slots[before] == MOUTH_SLOTS.start
