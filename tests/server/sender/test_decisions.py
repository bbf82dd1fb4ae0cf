"""The sender's state machines, which take the time: reconnecting, heartbeat, pacing, source choice, status line."""

from __future__ import annotations

import io
import json
import logging
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.errors import VisavisError
from model.motion import CanonicalKeypoints, Motion
from model.source.quality import Quality
from server.awake_clock import AwakeClock
from server.nodes.lease import LEASE_SECONDS
from server.rate_limit import RateLimit
from server.sender.connection.heartbeat import GONE_AFTER, OPEN_PINGS, Heartbeat
from server.sender.connection.reconnect import (
    FIRST_DELAY,
    JITTER,
    LONGEST_DELAY,
    MOST_MOVES,
    MOST_PLACING,
    PLACING_DELAY,
    STABLE_AFTER,
    STARTING_DELAY,
    Reconnect,
)
from server.sender.media.capture import CapturedFrame, FrameMailbox, FramePacer
from server.sender.media.reader import Timeline
from server.sender.media.samples import MAX_SOURCES
from server.sender.media.source_choice import (
    FIRST_WINDOW,
    GOOD_ENOUGH,
    SETTLE,
    Candidate,
    EnrolledSource,
    FirstChoice,
    SourceCover,
)
from server.sender.media.source_selection import SourceSelection
from server.sender.status_line import LineFilter, Status, StatusLine, status_json, status_text
from tests.server.fakes import FakeClock

# Reconnecting


def test_a_stable_connection_is_tried_again_at_once_and_then_ever_later() -> None:
    machine = Reconnect(chance=lambda: 0.0)
    machine.start()
    machine.connected(1.0)
    assert machine.lost(1.0 + STABLE_AFTER) == 0.0
    now, delays = 1.0 + STABLE_AFTER, []
    for _ in range(8):
        machine.start()
        delays.append(machine.lost(now))
        now += delays[-1]
    assert delays == [0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 15.0, 15.0]
    machine.start()
    machine.connected(now)
    assert machine.reconnects == 1
    assert machine.state == "live"


def test_a_flapping_connection_still_backs_off() -> None:
    machine = Reconnect(chance=lambda: 0.0)
    now, delays = 0.0, []
    for _ in range(4):
        machine.start()
        machine.connected(now)
        delays.append(machine.lost(now + 0.1))
        now += 0.1 + delays[-1]
    assert delays == [0.5, 1.0, 2.0, 4.0]


@settings(deadline=None)
@given(st.lists(st.floats(0.0, 0.999), min_size=1, max_size=40))
def test_delays_stay_within_their_bounds(chances: list[float]) -> None:
    rest = iter(chances)
    machine = Reconnect(chance=lambda: next(rest))
    now = 0.0
    for _ in chances:
        machine.start()
        delay = machine.lost(now)
        assert FIRST_DELAY * (1 - JITTER) <= delay <= LONGEST_DELAY
        now += delay


def test_an_attempt_is_given_up_soon_and_further_ones_later() -> None:
    machine = Reconnect(chance=lambda: 0.0)
    given: list[float] = []
    for _ in range(5):
        given.append(machine.patience)
        machine.start()
        machine.lost(0.0)
    assert given == [3.0, 3.0, 6.0, 12.0, 15.0]
    machine.start()
    machine.connected(0.0)
    machine.lost(2 * STABLE_AFTER)
    assert machine.patience == 3.0


def test_reconnect_refuses_what_makes_no_sense() -> None:
    machine = Reconnect(chance=lambda: 0.0)
    with pytest.raises(ValueError, match="while idle"):
        machine.connected(0.0)
    machine.start()
    machine.lost(0.0)
    machine.end()
    with pytest.raises(ValueError, match="ended"):
        machine.start()


# Heartbeat


def test_heartbeat_measures_the_round_trip_and_notices_silence() -> None:
    heartbeat = Heartbeat(0.0)
    number = heartbeat.ping(1.0)
    heartbeat.heard(1.03)
    heartbeat.pong(number, 1.03)
    assert heartbeat.round_trip == pytest.approx(0.03)
    heartbeat.pong(number, 5.0)  # a duplicate
    heartbeat.pong(999, 5.0)  # made up
    assert heartbeat.round_trip == pytest.approx(0.03)
    silent = [heartbeat.gone(float(second)) for second in range(2, 8)]
    assert silent == [False] * 5 + [True]
    heartbeat.heard(8.0)
    assert not heartbeat.gone(8.0)


def test_a_laptop_that_slept_listens_before_it_gives_up() -> None:
    heartbeat = Heartbeat(0.0)
    assert not heartbeat.gone(3_600.0)
    assert not heartbeat.gone(3_601.0)
    heartbeat.heard(3_601.5)
    assert not any(heartbeat.gone(3_601.5 + second) for second in range(1, 5))
    assert heartbeat.gone(3_606.5)
    assert GONE_AFTER == 5.0


def test_own_pauses_count_as_little_as_on_the_server() -> None:
    clock = FakeClock(0.0)
    awake, heartbeat = AwakeClock(clock), Heartbeat(0.0)
    silent = []
    for pause in (1.0, 60.0, 0.5, 7.0, 1.0, 1.0):
        clock.now += pause
        silent.append(heartbeat.gone(clock.now))
        assert silent[-1] == (awake() >= GONE_AFTER)
    assert silent == [False] * 5 + [True]


def test_pings_become_rare_while_anything_is_heard() -> None:
    heartbeat = Heartbeat(0.0)
    pinged = []
    for second in range(1, 31):
        if second <= 20:
            heartbeat.heard(float(second))
        heartbeat.gone(float(second))
        if heartbeat.due():
            pinged.append(second)
    assert pinged == [1, 2, 3, 4, 5, 10, 20, *range(22, 31)], "and each second again in silence"


def test_heartbeat_forgets_pings_that_are_never_answered() -> None:
    heartbeat = Heartbeat(0.0)
    numbers = [heartbeat.ping(0.001 * i) for i in range(OPEN_PINGS + 5)]
    heartbeat.pong(numbers[0], 0.1)
    assert heartbeat.round_trip is None
    heartbeat.pong(numbers[-1], 0.1)
    assert heartbeat.round_trip is not None


# Pacing


@settings(deadline=None)
@given(st.floats(5.0, 60.0), st.floats(5.0, 60.0), st.randoms(use_true_random=False))
def test_pacer_keeps_the_lower_of_both_rates(camera_fps: float, wanted_fps: float, chance: object) -> None:
    pacer = FramePacer(wanted_fps)
    count = 400
    times = [i / camera_fps for i in range(count)]
    accepted = [t for t in times if pacer.accept(t)]
    seconds = count / camera_fps
    expected = min(camera_fps, wanted_fps) * seconds
    assert abs(len(accepted) - expected) <= max(3.0, 0.02 * expected)


def test_pacer_does_not_burst_after_a_pause() -> None:
    pacer = FramePacer(25.0)
    assert [pacer.accept(t) for t in (0.0, 0.01, 0.04)] == [True, False, True]
    assert [pacer.accept(t) for t in (10.0, 10.01, 10.02, 10.04)] == [True, False, False, True]


def test_timeline_repeats_after_the_files_length() -> None:
    timeline = Timeline(1.0, 0.4)
    assert [timeline.due(lap, 0.04) for lap in (0, 1, 2)] == pytest.approx([1.04, 1.44, 1.84])


def test_mailbox_keeps_the_newest_frame_and_counts_the_others() -> None:
    mailbox = FrameMailbox()
    frames = [CapturedFrame(np.zeros((2, 2, 3), np.uint8), float(i)) for i in range(3)]
    for frame in frames:
        mailbox.put(frame)
    assert mailbox.take() is frames[2]
    assert mailbox.dropped == 2
    mailbox.put(frames[0])
    mailbox.close()
    assert mailbox.take() is frames[0]
    assert mailbox.take() is None


# Source choice

KEYPOINTS = 6
CANONICAL = CanonicalKeypoints(
    np.array(
        [[0, -0.4, 0.3], [0.3, 0, -0.1], [-0.3, 0, -0.1], [0, 0.1, -0.3], [0, 0.3, -0.2], [0, 0.5, 0.2]], np.float32
    )
)


def motion(yaw: float = 0.0, mouth: float = 0.0, x: float = 0.0) -> Motion:
    expression = np.zeros((KEYPOINTS, 3), np.float32)
    expression[4:, 1] = mouth
    zero = np.float32(0)
    return Motion(np.float32(yaw), zero, zero, np.array([x, 0, 0], np.float32), np.float32(1), expression)


def enrolled(of: Motion | None = None) -> EnrolledSource:
    return EnrolledSource(CANONICAL, motion() if of is None else of, KEYPOINTS)


def candidate(score: float) -> Candidate:
    return Candidate(np.zeros((4, 4, 3), np.uint8), motion(), Quality(score, 1.0, 1.0))


def test_the_first_choice_takes_the_best_of_its_window() -> None:
    choice = FirstChoice()
    scores = [0.2, 0.7, 0.4]
    candidates = [candidate(score) for score in scores]
    for i, item in enumerate(candidates):
        assert choice.consider(item, 0.04 * i) is None
    assert choice.consider(candidate(0.1), FIRST_WINDOW) is candidates[1]


def test_a_good_frame_ends_the_first_choice_early() -> None:
    good = candidate(GOOD_ENOUGH)
    assert FirstChoice().consider(good, 0.0) is good


def test_place_in_the_crop_is_no_reason_for_another_source() -> None:
    source = enrolled()
    assert source.gap(motion(x=0.5)) == 0.0
    assert source.gap(motion(yaw=10.0)) < 1.0 < source.gap(motion(yaw=45.0))
    assert source.gap(motion(mouth=0.03)) < 1.0 < source.gap(motion(mouth=0.3))
    # A body that stays while the head moves lies elsewhere in the head's coordinates.
    body = np.concatenate([motion().expression, np.full((2, 3), -0.5, np.float32)])
    assert source.gap(replace(motion(x=0.5), expression=body)) == 0.0


def test_a_lasting_turn_asks_for_one_more_source_and_the_way_back_uses_the_old_one() -> None:
    cover = SourceCover(enrolled())
    turned = motion(yaw=50.0)
    assert not cover.update(turned, 1.0, 0.0)
    assert not cover.update(turned, 1.0, SETTLE - 0.001)
    assert not cover.update(turned, 0.1, SETTLE), "a blurred frame is no source"
    assert cover.update(turned, 1.0, SETTLE + 0.04)
    assert len(cover) == 1
    cover.add(enrolled(turned))
    assert cover.index == 1
    assert not cover.update(motion(), 1.0, 1.0)
    assert cover.index == 1, "a short turn back changes nothing"
    assert not cover.update(motion(), 1.0, 1.0 + SETTLE)
    assert cover.index == 0


def test_a_short_excursion_asks_for_nothing() -> None:
    cover = SourceCover(enrolled())
    for i in range(100):
        yaw = 50.0 if i % 10 < 8 else 0.0  # 320 ms away, 80 ms back
        assert not cover.update(motion(yaw=yaw), 1.0, 0.04 * i)


def test_the_number_of_sources_is_bounded() -> None:
    cover = SourceCover(enrolled())
    for i, yaw in enumerate((-60.0, -120.0, 60.0, 120.0, 180.0)):
        now = 10.0 * (i + 1)
        cover.update(motion(yaw=yaw), 1.0, now)
        if cover.update(motion(yaw=yaw), 1.0, now + SETTLE):
            cover.add(enrolled(motion(yaw=yaw)))
    assert len(cover) == MAX_SOURCES


def test_a_refused_first_source_is_chosen_anew_and_a_taken_one_is_used() -> None:
    selection = SourceSelection()
    assert selection.choose(candidate(GOOD_ENOUGH), 0.0) is not None
    assert selection.offer(enrolled()) == 0
    selection.answer(1, None)  # of another source
    assert not selection.growing
    selection.answer(0, VisavisError("no face"))
    assert selection.choosing
    selection.choose(candidate(GOOD_ENOUGH), 1.0)
    taken = enrolled()
    selection.offer(taken)
    selection.answer(0, None)
    assert (selection.current, selection.index) == (taken, 0)


def test_one_further_source_is_offered_at_a_time() -> None:
    selection = covering(SourceSelection())
    turned = motion(yaw=50.0)
    assert not selection.wants(turned, 1.0, 0.0)
    assert selection.wants(turned, 1.0, SETTLE)
    assert selection.offer(enrolled(turned)) == 1
    assert not selection.wants(turned, 1.0, SETTLE + 0.04)
    selection.answer(0, None)  # the old one, attached again by a new connection
    assert selection.index == 0
    selection.answer(1, VisavisError("no face"))
    assert selection.wants(turned, 1.0, SETTLE + 0.08)
    assert selection.offer(enrolled(turned)) == 1
    selection.answer(1, None)
    assert selection.index == 1


def test_an_avatar_has_one_picture() -> None:
    assert not covering(SourceSelection(single=True)).growing
    refused = SourceSelection(single=True)
    refused.choose(candidate(GOOD_ENOUGH), 0.0)
    refused.offer(enrolled())
    with pytest.raises(VisavisError, match="no face"):
        refused.answer(0, VisavisError("no face"))


def covering(selection: SourceSelection) -> SourceSelection:
    """With a first source that the receiver has."""
    selection.choose(candidate(GOOD_ENOUGH), 0.0)
    selection.offer(enrolled())
    selection.answer(0, None)
    assert selection.growing or not selection.choosing
    return selection


def test_after_a_cut_no_source_of_before_is_used_again_and_the_last_one_keeps_its_place_longest() -> None:
    selection = covering(SourceSelection())
    offered = []
    for number in range(1, 7):
        now = 100.0 * number
        selection.cut()
        states = [selection.replacing]
        assert not selection.growing
        assert selection.choose(candidate(GOOD_ENOUGH), now) is not None
        source = enrolled()
        offered.append(selection.offer(source))
        selection.answer(offered[-2] if number > 1 else 0, None)
        assert not selection.growing, "an answer for the scene before is none for this one"
        selection.answer(offered[-1], None)
        assert [*states, selection.replacing] == [True, False]
        assert (selection.current, selection.index) == (source, offered[-1])
    assert offered == [1, 2, 3, 0, 1, 2]


def test_a_place_whose_picture_is_on_its_way_is_not_given_to_another() -> None:
    selection = SourceSelection()
    places = set()
    for number in range(MAX_SOURCES):
        assert selection.choose(candidate(GOOD_ENOUGH), 100.0 * number) is not None
        places.add(selection.offer(enrolled()))
        selection.cut()
    assert len(places) == MAX_SOURCES
    assert selection.choose(candidate(GOOD_ENOUGH), 900.0) is None
    selection.answer(2, None)  # of a scene before
    assert not selection.growing
    assert selection.choose(candidate(GOOD_ENOUGH), 901.0) is not None
    assert selection.offer(enrolled()) == 2


def test_further_sources_of_a_new_scene_take_the_oldest_places() -> None:
    selection = covering(SourceSelection())
    selection.cut()
    selection.choose(candidate(GOOD_ENOUGH), 0.0)
    selection.answer(selection.offer(enrolled()), None)
    taken = [selection.index]
    for number, yaw in enumerate((-60.0, 60.0, 120.0), 1):
        turned, now = motion(yaw=yaw), 100.0 * number
        assert not selection.wants(turned, 1.0, now)
        assert selection.wants(turned, 1.0, now + SETTLE)
        selection.answer(selection.offer(enrolled(turned)), None)
        taken.append(selection.index)
    assert taken == [1, 2, 3, 0]


def test_a_film_that_cuts_without_an_end_offers_no_more_than_a_receiver_takes() -> None:
    selection, offers = SourceSelection(), []
    for frame in range(25 * 300):
        now = frame / 25
        if frame % 10 == 0:
            selection.cut()
        if selection.choosing and selection.choose(candidate(GOOD_ENOUGH), now) is not None:
            selection.answer(selection.offer(enrolled()), None)
            offers.append(now)
    limit = RateLimit(30 / 60.0, 10)
    assert all(limit.admit(now) for now in offers), "Settings.uploads_per_minute, and ten at once"
    assert len(offers) > 100


# Status line


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


LIVE = Status("live", None, 25.0, 3.1, 21.6, 14.0, 22.5, 12.4, 3, 1, 0)


def test_status_text_names_the_numbers() -> None:
    assert status_text(LIVE) == (
        "25.0 fps   motion  3.1 kbit/s (21.6 with headers)   voice 14.0 kbit/s (22.5)   round trip   12 ms   dropped 3"
    )
    assert status_text(Status("waiting", "cannot reach the server")) == "waiting: cannot reach the server"
    assert status_text(Status("paused", "no face in the picture")).startswith("paused: no face")


def test_status_json_has_every_key() -> None:
    parsed = json.loads(status_json(LIVE))
    assert parsed["motion_kbps"] == 3.1
    assert set(parsed) == set(Status.__dataclass_fields__)


def test_a_terminal_gets_one_line_drawn_over() -> None:
    screen = Terminal()
    line = StatusLine(screen, "human")
    line.show(LIVE, 0.0)
    line.show(Status("connecting"), 1.0)
    line.clear()
    assert "\n" not in screen.getvalue()
    assert screen.getvalue().count("\r") == 4
    shown = screen.getvalue().split("\r")
    assert len(shown[2]) == len(shown[1]), "the shorter line wipes the longer one"


def test_a_log_record_starts_on_a_clean_line() -> None:
    screen = Terminal()
    line = StatusLine(screen, "human")
    handler = logging.StreamHandler(screen)
    handler.addFilter(LineFilter(line))
    line.show(LIVE, 0.0)
    handler.handle(logging.makeLogRecord({"msg": "joined"}))
    width = len(status_text(LIVE))
    assert screen.getvalue().endswith("\r" + " " * width + "\rjoined\n")


def test_elsewhere_a_line_is_logged_when_the_state_changes_and_every_ten_seconds() -> None:
    lines: list[str] = []
    line = StatusLine(io.StringIO(), "human", lines.append)
    for second in range(15):
        line.show(LIVE, float(second))
    line.show(Status("connecting"), 15.0)
    assert len(lines) == 3


def test_what_the_sender_waits_for_is_logged_once_and_again_when_it_changes() -> None:
    lines: list[str] = []
    line = StatusLine(io.StringIO(), "human", lines.append)
    waits = ["cannot reach the server"] * 20 + ["the server is starting"] * 40
    for second, why in enumerate(waits):
        line.show(Status("waiting", why), float(second))
    assert lines == ["waiting: cannot reach the server", "waiting: the server is starting"]


def test_json_gets_an_object_a_line() -> None:
    screen = io.StringIO()
    line = StatusLine(screen, "json")
    line.show(LIVE, 0.0)
    line.show(LIVE, 0.001)
    assert [json.loads(text)["state"] for text in screen.getvalue().splitlines()] == ["live", "live"]


def test_a_server_that_is_starting_is_asked_again_soon_however_often() -> None:
    machine = Reconnect(chance=lambda: 0.0)
    for _ in range(20):
        machine.start()
        assert machine.lost(0.0, "starting") == STARTING_DELAY
    machine.start()
    assert machine.lost(0.0) == 0.5, "the first failure still"


def test_a_node_that_has_the_room_is_gone_to_at_once_but_not_in_circles() -> None:
    machine = Reconnect(chance=lambda: 0.0)
    delays = []
    for _ in range(MOST_MOVES + 2):
        machine.start()
        delays.append(machine.lost(0.0, "moved"))
    assert delays == [0.0] * MOST_MOVES + [PLACING_DELAY, 0.0]


def test_a_room_that_is_being_placed_is_asked_for_each_second_for_a_while() -> None:
    """Sent to a node that does not answer: by the time its lease ended there were several attempts."""
    machine = Reconnect(chance=lambda: 0.0)
    delays = []
    for _ in range(MOST_PLACING):
        for why in ("moved", "placing"):
            machine.start()
            delays.append(machine.lost(0.0, why))
    assert delays == [0.0, PLACING_DELAY] * MOST_PLACING
    assert PLACING_DELAY < LEASE_SECONDS / 2 < LEASE_SECONDS + PLACING_DELAY < 10.0
    machine.start()
    assert machine.lost(0.0, "placing") == FIRST_DELAY, "then it is a failure like others"
    machine.start()
    machine.connected(0.0)
    machine.lost(0.0)
    machine.start()
    assert machine.lost(0.0, "placing") == PLACING_DELAY
