"""Pictures from motion: what is asked of the render engine when it keeps up, and when it does not."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from model.media.face_mark import FaceMark, marked_planes
from model.temporal_filter import FrameTime
from server.media.picture import Planes, TimedPicture
from server.receiver.lost_mark import draw_held
from server.receiver.motion_video import MotionVideo
from server.receiver.render_engine import RenderedPicture
from server.receiver.rendered_view import FRONT

PLANES = np.zeros((6, 4), np.uint8)


class Stage:
    """A video whose playout, engine and viewers are told what to do; every instant has a motion of its own."""

    sizes = (256,)

    def __init__(self) -> None:
        self.now = 10.0
        self.asked: list[tuple[float, Callable[[RenderedPicture | None], None]]] = []  # instant and answer
        self.frame_times: list[FrameTime] = []
        self.shown: list[Hashable] = []
        self.pictures: list[Planes] = []
        self.dropped: list[str] = []
        self.watched: list[Hashable] = [FRONT]
        self.next_due: float | None = None
        self.paused = False
        stage: Any = self
        self.video = MotionVideo(stage, stage, stage, stage, stage, stage, lambda: self.now, 30.0)

    def sample(self, now: float) -> Any:
        return SimpleNamespace(motion=now, source=0, capture_ms=0, held=False, state="playing")

    def state(self, source: int) -> Any:
        return self

    def captured_at(self, capture_ms: int, now: float) -> float | None:
        return now

    def frame_dropped(self, reason: str) -> None:
        self.dropped.append(reason)

    def views(self) -> list[Hashable]:
        return self.watched

    def submit(
        self,
        state: object,
        motion: float,
        view: object,
        frame_time: FrameTime,
        deadline: float,
        done: Any,
        size: int | None = None,
    ) -> bool:
        self.asked.append((motion, done))
        self.frame_times.append(frame_time)
        return True

    def show(self, view: Hashable, picture: TimedPicture) -> None:
        self.shown.append(view)
        self.pictures.append(picture.planes)

    def tick(self, at: float) -> None:
        self.now = at
        self.video.tick(at)

    def answer(self, at: float, rendered: bool = True) -> None:
        self.now = at
        self.asked[-1][1](RenderedPicture(PLANES, 0.0, 0.01) if rendered else None)


def test_an_engine_that_keeps_up_is_asked_on_every_tick() -> None:
    stage = Stage()
    for tick in (10.00, 10.03, 10.06):
        stage.tick(tick)
        stage.answer(tick + 0.02)
    assert [motion for motion, _ in stage.asked] == [10.00, 10.03, 10.06]
    assert len(stage.shown) == 3
    assert not stage.dropped


def test_each_view_has_a_filter_of_its_own_as_long_as_it_is_watched() -> None:
    stage = Stage()
    aside = (20, 0, 0)
    for tick, watched in ((10.00, [FRONT, aside]), (10.03, [FRONT, aside]), (10.06, [FRONT]), (10.09, [FRONT, aside])):
        stage.watched = list(watched)
        stage.tick(tick)
        for _, done in stage.asked[-len(watched) :]:
            done(RenderedPicture(PLANES, 0.0, 0.01))
    front, side = [stage.frame_times[i] for i in (0, 2, 4, 5)], [stage.frame_times[i] for i in (1, 3, 6)]
    assert {id(frame_time.filter) for frame_time in front} == {id(front[0].filter)}
    assert [frame_time.at for frame_time in front] == [10.00, 10.03, 10.06, 10.09]
    assert side[0].filter is side[1].filter
    assert side[0].filter not in (front[0].filter, side[2].filter)


def test_the_filter_of_a_view_that_never_got_a_picture_goes_as_well() -> None:
    stage = Stage()
    for tick, watched in ((10.00, [FRONT]), (10.03, []), (10.06, [FRONT])):
        stage.watched = list(watched)
        stage.tick(tick)
        if watched:
            stage.answer(tick, rendered=False)
    first, second = stage.frame_times
    assert first.filter is not second.filter


def test_a_slow_engine_goes_on_at_once_with_what_is_due_then() -> None:
    stage = Stage()
    stage.tick(10.00)
    stage.tick(10.03)  # the picture of 10.00 is still being rendered: nothing may wait behind it
    assert len(stage.asked) == 1
    assert stage.dropped == ["busy"]
    stage.answer(10.05)
    assert [motion for motion, _ in stage.asked] == [10.00, 10.05]
    stage.answer(10.055)  # nothing was left out meanwhile: the next tick asks
    assert len(stage.asked) == 2
    stage.tick(10.06)
    assert len(stage.asked) == 3


def test_frames_that_are_pictures_are_played_when_they_are_due() -> None:
    stage = Stage()
    assert stage.video.next_tick(10.01) == pytest.approx(10 + 1 / 30)  # the common grid
    stage.next_due = 10.02
    assert stage.video.next_tick(10.01) == 10.02
    assert 10.02 < stage.video.next_tick(10.02) < 10.03  # it is late: look again soon
    assert 10.5 < stage.video.next_tick(10.5) < 10.51
    assert stage.video.next_tick(10.53) == pytest.approx(10 + 16 / 30)  # nothing comes any more


def test_a_slow_engine_waits_for_a_frame_that_is_nearly_due() -> None:
    stage = Stage()
    stage.next_due = 10.06
    stage.tick(10.00)
    stage.tick(10.03)
    stage.answer(10.055)
    assert len(stage.asked) == 1  # what is due now would be older for as long as a picture takes
    stage.tick(10.06)
    stage.next_due = 10.09
    stage.tick(10.09)
    stage.next_due = 10.12
    stage.answer(10.10)
    assert [motion for motion, _ in stage.asked] == [10.00, 10.06, 10.10]


def test_a_picture_that_failed_owes_the_next_one_all_the_same() -> None:
    stage = Stage()
    stage.tick(10.00)
    stage.tick(10.03)
    stage.answer(10.05, rendered=False)
    assert len(stage.asked) == 2
    assert stage.shown == []


def test_a_view_that_nobody_watches_any_more_is_owed_nothing() -> None:
    stage = Stage()
    stage.tick(10.00)
    stage.tick(10.03)
    stage.watched = []
    stage.tick(10.06)
    stage.answer(10.07)
    assert len(stage.asked) == 1


def test_the_mark_is_in_every_picture_and_stays_bright_while_the_face_is_held() -> None:
    stage = Stage()
    planes = np.full((96, 64), 100, np.uint8)
    steps: list[tuple[float, FaceMark | None, bool]] = [
        (10.0, None, False),
        (10.1, "avatar", False),
        (10.2, "avatar", True),
    ]
    for at, mark, paused in steps:
        stage.video.face_mark = mark
        stage.paused = paused
        stage.tick(at)
        stage.asked[-1][1](RenderedPicture(planes, 0.0, 0.01))
    plain, avatar, held = stage.pictures
    assert np.array_equal(plain, planes)
    assert np.array_equal(avatar, marked_planes(planes, "avatar"))
    assert np.array_equal(held, marked_planes(draw_held(planes, False), "avatar"))
