"""Playout buffer under simulated loss, jitter, reordering, bundling and clock drift."""

from __future__ import annotations

import random
from collections.abc import Iterable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.motion import Motion
from server.receiver.playout import PlayoutBuffer, PlayoutFrame, PlayoutSettings
from server.receiver.playout_delay import DelaySettings, PlayoutDelay

K = 3


def motion(value: float) -> Motion:
    return Motion(
        yaw=np.float32(value),
        pitch=np.float32(0.0),
        roll=np.float32(0.0),
        translation=np.zeros(3, np.float32),
        scale=np.float32(1.0),
        expression=np.full((K, 3), value, np.float32),
    )


def simulate(
    buffer: PlayoutBuffer,
    frames: Iterable[tuple[float, float]],  # (capture, arrival), seconds
    until: float,
    offset: float = 0.0,
    speed: float = 10.0,
    fps: float = 30.0,
    drift: float = 0.0,
) -> list[tuple[float, PlayoutFrame]]:
    """Play frames whose yaw is `speed` * capture time; returns (render time, output) in order."""
    arrivals = sorted((arrival, capture) for capture, arrival in frames)
    outputs: list[tuple[float, PlayoutFrame]] = []
    position = 0
    for tick in range(int(until * fps)):
        now = tick / fps
        while position < len(arrivals) and arrivals[position][0] <= now:
            arrival, capture = arrivals[position]
            sender_ms = int((capture * (1 + drift) + offset) * 1000) % (1 << 32)
            buffer.push(sender_ms, motion(speed * capture), 0, arrival)
            position += 1
        played = buffer.sample(now)
        if played is not None:
            outputs.append((now, played))
    return outputs


def steady(seconds: float, fps: float = 25.0) -> list[float]:
    return [i / fps for i in range(int(seconds * fps))]


def test_nothing_before_the_first_frame() -> None:
    assert PlayoutBuffer().sample(1.0) is None


def test_smooth_motion_at_another_rate() -> None:
    outputs = simulate(PlayoutBuffer(), [(c, c + 0.02) for c in steady(6)], 6)
    yaws = np.array([float(o.motion.yaw) for t, o in outputs if t > 2])
    steps = np.diff(yaws)
    assert np.all(np.abs(steps - 10.0 / 30.0) < 0.02)  # 25 fps came in, 30 even steps a second come out


def test_delay_is_small_on_a_good_network() -> None:
    buffer = PlayoutBuffer()
    outputs = simulate(buffer, [(c, c + 0.02) for c in steady(4)], 4)
    now, last = outputs[-1]
    assert now - last.capture_ms / 1000 <= 0.02 + 0.04 + 0.005
    assert buffer.counters.freezes == 0
    assert buffer.counters.late == 0


def frame_for_frame(
    buffer: PlayoutBuffer, frames: list[tuple[float, float]], until: float
) -> list[tuple[float, PlayoutFrame]]:
    """Play as `MotionVideo` does: each frame when it is due, and soon again when it is late."""
    outputs: list[tuple[float, PlayoutFrame]] = []
    waiting = sorted(frames, key=lambda frame: frame[1])
    now = 0.0
    while now < until:
        while waiting and waiting[0][1] <= now:
            capture, arrival = waiting.pop(0)
            buffer.push(round(capture * 1000), motion(10 * capture), 0, arrival)
        played = buffer.sample(now)
        if played is not None:
            outputs.append((now, played))
        due = buffer.next_due
        now = now + 0.005 if due is None else max(due, now + 0.005)
    return outputs


def test_a_frame_that_is_a_picture_waits_for_no_neighbour() -> None:
    buffer = PlayoutBuffer(picture_interval=0.04)
    outputs = frame_for_frame(buffer, [(c, c + 0.02) for c in steady(4)], 4)
    calm = [(now, played) for now, played in outputs if now > 2]
    ages = [now - played.capture_ms / 1000 for now, played in calm]
    assert max(ages) <= 0.02 + 0.006  # the way alone, not one interval more
    yaws = sorted({round(float(played.motion.yaw), 3) for _, played in calm})
    assert yaws == pytest.approx([10 * c for c in steady(4) if 2.0 <= c < 4 - 0.02], abs=1e-3)  # each as it was sent
    assert all(played.held == 0 for _, played in calm)
    assert buffer.counters.freezes == buffer.counters.late == 0


@given(st.integers(0, 1000), st.floats(0.0, 0.03))
@settings(max_examples=25, deadline=None)
def test_frames_that_come_unevenly_are_each_shown_once_and_as_they_were_sent(seed: int, jitter: float) -> None:
    """Rendering takes most of an interval: a picture that shows an old frame once more keeps the new one waiting."""
    rng = random.Random(seed)
    buffer = PlayoutBuffer(picture_interval=0.04)
    outputs = frame_for_frame(buffer, [(c, c + 0.02 + jitter * rng.random()) for c in steady(6)], 5.9)
    shown = [played.motion for now, played in outputs if now > 1]
    different = [one for one, before in zip(shown[1:], shown[:-1], strict=True) if one is not before]
    yaws = [round(float(one.yaw) / 10 * 25, 2) for one in different]
    assert yaws == [round(yaws[0]) + i for i in range(len(yaws))]


def test_frames_that_come_in_pairs_are_each_shown_as_they_were_sent() -> None:
    """Two in a packet: the first comes late, when the second is there already, and is not mixed with it."""
    frames = [(i / 25, (i | 1) / 25 + 0.03) for i in range(150)]
    outputs = frame_for_frame(PlayoutBuffer(picture_interval=0.04), frames, 5.9)
    yaws = {round(float(played.motion.yaw) * 2.5, 3) for now, played in outputs if now > 1}
    assert all(yaw == round(yaw) for yaw in yaws)
    assert len(yaws) >= 120


def test_a_frame_after_one_that_was_lost_is_shown_as_it_is() -> None:
    frames = [(c, c + 0.02) for c in steady(4)]
    lost, after = frames.pop(60)[0], frames[60][0]
    outputs = frame_for_frame(PlayoutBuffer(picture_interval=0.04), frames, 4)
    yaws = {round(float(played.motion.yaw), 2) for now, played in outputs if lost < now < after + 0.03}
    assert round(10 * after, 2) in yaws
    assert len(yaws) == 2, "and nothing in between"


def test_slower_frames_than_pictures_are_interpolated() -> None:
    buffer = PlayoutBuffer(picture_interval=0.04)
    outputs = simulate(buffer, [(c, c + 0.02) for c in steady(6, fps=12.5)], 6, fps=25.0)
    assert not buffer.frame_for_frame
    assert buffer.next_due is None
    yaws = np.array([float(o.motion.yaw) for t, o in outputs if t > 3])
    assert np.all(np.abs(np.diff(yaws) - 0.4) < 0.03)


def test_a_lost_frame_is_held_and_counts_from_when_it_was_due() -> None:
    buffer = PlayoutBuffer(picture_interval=0.04)
    frames = [(c, c + 0.02) for c in steady(4)]
    del frames[60]  # captured at 2.4
    outputs = frame_for_frame(buffer, frames, 4)
    held = [(now, played.held) for now, played in outputs if played.held]
    times = [now for now, _ in held]
    assert times
    assert min(times) > 2.4 + 0.02
    assert max(times) < 2.44 + 0.03
    assert buffer.counters.freezes == 0
    yaws = [float(played.motion.yaw) for _, played in outputs]
    assert yaws == sorted(yaws)


def test_depth_grows_with_jitter_and_shrinks_back() -> None:
    rng = random.Random(1)
    buffer = PlayoutBuffer()
    calm = [(c, c + 0.02) for c in steady(40)]
    rough = [(c, c + 0.02 + (rng.random() * 0.12 if 10 <= c < 20 else 0.0)) for c, _ in calm]
    outputs = simulate(buffer, rough, 40)
    delays = {round(t): t - o.capture_ms / 1000 for t, o in outputs}
    assert 0.12 <= delays[18] <= 0.22
    assert delays[38] <= 0.08


def test_a_depth_above_200_ms_is_given_back_fast() -> None:
    delay = PlayoutDelay(DelaySettings())
    for i in range(100):
        delay.observe(0.1 + (0.35 if i >= 40 else 0.0), 0.04 * i)
        delay.update(0.04 * i)
    assert delay.applied == pytest.approx(0.45, abs=0.06)
    for i in range(100, 225):
        delay.observe(0.1, 0.04 * i)
        applied = delay.update(0.04 * i)
        if i == 130:  # of the last 100 frames most are slow yet: nothing is given back before
            deep = applied
    assert deep > 0.35
    times = []
    for i in range(225, 300):
        delay.observe(0.1, 0.04 * i)
        times.append(delay.update(0.04 * i) - 0.1)
    assert min(times) < 0.2


def test_late_frames_are_dropped_and_counted() -> None:
    buffer = PlayoutBuffer()
    frames = [(c, c + 0.02) for c in steady(3)]
    frames[50] = (frames[50][0], frames[50][0] + 0.5)
    outputs = simulate(buffer, frames, 3)
    assert buffer.counters.late == 1
    yaws = [float(o.motion.yaw) for _, o in outputs]
    assert yaws == sorted(yaws)  # the straggler pulled nobody back


def test_duplicates_are_counted_once() -> None:
    buffer = PlayoutBuffer()
    assert buffer.push(40, motion(1), 0, 0.1)
    assert not buffer.push(40, motion(1), 0, 0.11)
    assert buffer.counters.duplicate == 1


def test_short_gap_is_bridged_by_interpolation() -> None:
    frames = [(c, c + 0.02 + 0.001 * (i % 3)) for i, c in enumerate(steady(5))]
    for lost in (60, 61, 62):
        frames[lost] = (frames[lost][0], 1e9)
    settings_ = PlayoutSettings(minimum_depth=0.2)
    outputs = simulate(PlayoutBuffer(settings_), frames, 5)
    yaws = np.array([float(o.motion.yaw) for t, o in outputs if t > 1])
    assert np.all(np.abs(np.diff(yaws) - 1 / 3) < 0.05)


def test_long_gap_is_held_then_lost_then_eased() -> None:
    buffer = PlayoutBuffer()
    frames = [(c, c + 0.02) for c in steady(8) if not 2.0 < c < 5.0]
    outputs = simulate(buffer, frames, 8)
    states = {round(t, 2): o.state for t, o in outputs}
    assert states[2.5] == "live"
    assert states[4.5] == "lost"
    assert states[6.0] == "live"
    assert buffer.counters.freezes == 1
    yaws = np.array([float(o.motion.yaw) for _, o in outputs])
    assert np.abs(np.diff(yaws)).max() < 30.0 / 1.5  # thirty degrees are not jumped in one frame
    assert abs(yaws[-1] - 10 * (outputs[-1][0] - 0.06)) < 0.4


@pytest.mark.parametrize("drift", [-2e-4, 2e-4])
def test_clock_drift_does_not_add_up(drift: float) -> None:
    buffer = PlayoutBuffer()
    outputs = simulate(buffer, [(c, c + 0.02) for c in steady(300)], 300, drift=drift, offset=12345.0)
    delay = outputs[-1][0] - (outputs[-1][1].capture_ms / 1000 - 12345.0) / (1 + drift)
    assert 0.03 < delay < 0.08
    assert buffer.counters.freezes == 0
    assert buffer.counters.late == 0


def test_capture_clock_wraps() -> None:
    buffer = PlayoutBuffer()
    near = (1 << 32) / 1000 - 2.0
    outputs = simulate(buffer, [(c, c + 0.02) for c in steady(5)], 5, offset=near)
    yaws = np.array([float(o.motion.yaw) for t, o in outputs if t > 1])
    assert np.all(np.abs(np.diff(yaws) - 1 / 3) < 0.05)
    assert buffer.counters.resets == 0


def test_restarted_sender_clock_is_followed() -> None:
    buffer = PlayoutBuffer()
    simulate(buffer, [(c, c + 0.02) for c in steady(2)], 2)
    for i in range(50):
        buffer.push(9_000_000 + i * 40, motion(5), 1, 2.0 + i * 0.04)
    played = buffer.sample(4.0)
    assert played is not None
    assert played.source == 1
    assert buffer.counters.resets == 1


def test_longer_way_is_followed_within_a_second() -> None:
    buffer = PlayoutBuffer()
    frames = [(c, c + (0.02 if c < 3 else 0.9)) for c in steady(12)]
    outputs = simulate(buffer, frames, 12)
    assert all(o.state == "live" for t, o in outputs if t > 6)
    yaws = np.array([float(o.motion.yaw) for t, o in outputs if t > 8])
    assert np.all(np.abs(np.diff(yaws) - 1 / 3) < 0.1)


def test_bundled_messages_play_smoothly() -> None:
    bundled = [(c, (i // 3 * 3 + 2) / 25 + 0.02) for i, c in enumerate(steady(10))]
    outputs = simulate(PlayoutBuffer(), bundled, 9)
    yaws = np.array([float(o.motion.yaw) for t, o in outputs if t > 3])
    assert np.all(np.abs(np.diff(yaws) - 1 / 3) < 0.05)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    loss=st.floats(0, 0.6),
    jitter=st.floats(0, 0.5),
    offset=st.floats(0, 4_000_000),
)
def test_any_network_gives_bounded_monotonic_output(seed: int, loss: float, jitter: float, offset: float) -> None:
    rng = random.Random(seed)
    frames = [(c, c + 0.01 + rng.random() * jitter) for c in steady(4) if rng.random() >= loss]
    frames += [frame for frame in frames if rng.random() < 0.1]
    buffer = PlayoutBuffer()
    outputs = simulate(buffer, frames, 5, offset=offset)
    shown = [o.capture_ms for _, o in outputs]
    assert shown == sorted(shown)
    assert len(buffer) <= PlayoutSettings().capacity
    for _, o in outputs:
        vector = o.motion.to_vector()
        assert np.all(np.isfinite(vector))
        assert -1e-3 <= vector[0] <= 40.0 + 1e-3
    assert buffer.depth <= PlayoutSettings().maximum_depth


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), jitter=st.floats(0, 0.15))
def test_bounded_jitter_without_loss_never_freezes(seed: int, jitter: float) -> None:
    rng = random.Random(seed)
    buffer = PlayoutBuffer()
    outputs = simulate(buffer, [(c, c + 0.01 + rng.random() * jitter) for c in steady(8)], 8)
    assert buffer.counters.freezes == 0
    late_delays = [t - o.capture_ms / 1000 for t, o in outputs if t > 5]
    assert max(late_delays) <= 0.01 + jitter + 0.04 * 2 + 0.005


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2**32 - 1), st.floats(0, 100)), max_size=60))
def test_wild_timestamps_are_survived(pairs: list[tuple[int, float]]) -> None:
    buffer = PlayoutBuffer()
    now = 0.0
    for capture, arrival in sorted(pairs, key=lambda pair: pair[1]):
        buffer.push(capture, motion(1.0), 0, arrival)
        now = max(now, arrival)
        played = buffer.sample(now)
        assert played is None or np.all(np.isfinite(played.motion.to_vector()))
    assert len(buffer) <= PlayoutSettings().capacity
