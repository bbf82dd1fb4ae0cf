"""Fan-out: keyframe rules, streams and views, rate steering, encoders, and the broadcast that joins them."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Hashable
from typing import Any

import av
import numpy as np
import pytest
from aiortc.mediastreams import MediaStreamError
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from server.media.broadcast import Broadcast, BroadcastSettings
from server.media.encoder import Codec, EncodedFrame, VideoEncoder
from server.media.fanout import PacketTrack, ViewerQueue
from server.media.picture import PictureTimes, TimedPicture
from server.media.rtp_feedback import BitrateSettings, BitrateSteering, Estimate, KeyframeGate
from server.media.sent_frames import SentFrames
from server.media.streams import StreamTable, ViewLimitError

CODECS: dict[str, Codec] = {"one": "VP8", "another": "H264"}


def frame(pts: int, keyframe: bool = False) -> EncodedFrame:
    return EncodedFrame(b"x", pts, keyframe)


# One viewer's queue


def test_a_new_viewer_starts_at_a_keyframe() -> None:
    queue = ViewerQueue("a")
    assert queue.needs_keyframe
    assert not queue.offer("a", frame(0))
    assert queue.offer("a", frame(1, True))
    assert queue.offer("a", frame(2))
    assert [queue.take(), queue.take(), queue.take()] == [frame(1, True), frame(2), None]


def test_a_slow_viewer_drops_to_the_next_keyframe() -> None:
    queue = ViewerQueue("a", capacity=3)
    for pts in range(3):
        assert queue.offer("a", frame(pts, pts == 0))
    assert not queue.offer("a", frame(3))
    assert len(queue) == 0
    assert queue.needs_keyframe
    assert queue.dropped == 4
    assert not queue.offer("a", frame(4))
    assert queue.offer("a", frame(5, True))
    assert queue.take() == frame(5, True)


def test_switching_goes_on_with_the_old_stream_until_the_keyframe() -> None:
    queue = ViewerQueue("a")
    queue.offer("a", frame(0, True))
    queue.switch("b")
    assert queue.needs_keyframe
    assert queue.streams == {"a", "b"}
    assert not queue.offer("b", frame(1))
    assert queue.offer("a", frame(1))
    assert queue.offer("b", frame(2, True))
    assert not queue.offer("a", frame(2))
    assert queue.offer("b", frame(3))
    pts = [f.pts for f in iter(queue.take, None)]
    assert pts == [0, 1, 2, 3]


def test_times_rise_when_two_streams_show_one_instant() -> None:
    queue = ViewerQueue("a")
    queue.offer("a", frame(100, True))
    queue.switch("b")
    queue.offer("b", frame(100, True))
    assert [f.pts for f in iter(queue.take, None)] == [100, 101]


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("offer"), st.sampled_from("abc"), st.booleans()),
            st.tuples(st.just("switch"), st.sampled_from("abc"), st.booleans()),
            st.tuples(st.just("take"), st.just(""), st.booleans()),
        ),
        max_size=80,
    )
)
def test_what_a_viewer_gets_is_always_decodable(actions: list[tuple[str, str, bool]]) -> None:
    queue = ViewerQueue("a", capacity=4)
    sequence: dict[Hashable, int] = {"a": 0, "b": 0, "c": 0}
    got: list[tuple[str, int, bool, int]] = []

    def drain() -> None:
        taken = queue.take()
        if taken is not None:
            name, number = taken.data.decode().split()
            got.append((name, int(number), taken.keyframe, taken.pts))

    for clock, (action, name, flag) in enumerate(actions):
        if action == "offer":
            sequence[name] += 1
            queue.offer(name, EncodedFrame(f"{name} {sequence[name]}".encode(), clock, flag))
            assert len(queue) <= 4
        elif action == "switch":
            queue.switch(name)
        else:
            drain()
    while len(queue):
        drain()
    for index, (name, number, keyframe, pts) in enumerate(got):
        if index:
            assert pts > got[index - 1][3]
        # A frame that is no keyframe follows the one right before it in its own stream.
        assert keyframe or (index and got[index - 1][:2] == (name, number - 1))


# Keyframes and rate


def test_keyframe_requests_are_coalesced() -> None:
    gate = KeyframeGate(spacing=0.5)
    assert gate.take(0.0)  # every stream begins with one
    assert not gate.take(0.1)
    made = 0
    for tick in range(300):
        now = 0.2 + tick / 30
        gate.request()
        gate.request()
        made += gate.take(now)
    assert 18 <= made <= 20


def test_rate_follows_the_slowest_viewer_within_bounds() -> None:
    settings = BitrateSettings(minimum=100_000, maximum=900_000, start=900_000, down_every=2, far=0.3, up_every=10)
    steering = BitrateSteering(settings)
    assert steering.target == 900_000
    steering.estimate("a", 600_000, 0.0)
    steering.estimate("b", 300_000, 0.0)
    assert steering.update(0.0)
    assert steering.target == 300_000
    steering.estimate("b", 60_000, 1.0)
    assert not steering.update(1.0)  # too soon
    assert steering.update(2.5)
    assert steering.target == 100_000
    steering.forget("b")
    rates = []
    for now in (3.0, 5.0, 7.0, 9.0):
        steering.update(now)
        rates.append(steering.target)
    assert rates == [100_000, 200_000, 400_000, 600_000], "the others soon have what it did not carry"
    steering.estimate("a", 650_000, 50.0)
    assert not steering.update(50.0)  # not worth a keyframe
    assert steering.update(80.0)  # an estimate that old is none
    assert steering.target == 900_000


def test_a_hopeless_line_does_not_spoil_the_others() -> None:
    settings = BitrateSettings()
    steering = BitrateSteering(settings)
    steering.estimate("a", 10_000, 0.0)
    steering.estimate("b", 300_000, 0.0)
    assert not steering.update(0.0)
    steering.forget("b")
    assert steering.update(0.3)
    assert steering.target == settings.minimum, "where there are no others, it has what the least costs"


def test_a_new_stream_begins_with_what_its_viewers_are_known_to_carry() -> None:
    for bits, begins in ((800_000, 800_000), (20_000, 40_000), (2_000_000, 900_000)):
        known: dict[Hashable, Estimate] = {"a": Estimate(0.0, bits), "b": Estimate(0.0, 2_000_000)}
        assert BitrateSteering(estimates=known).target == begins


def test_a_stream_begins_with_what_narrow_lines_carry_and_rises_quickly() -> None:
    settings = BitrateSettings()
    steering = BitrateSteering(settings)
    assert steering.target == settings.start
    rates = []
    for tick in range(100):
        now = 0.1 * tick
        steering.estimate("a", 250_000 + 100_000 * int(now), now)
        steering.update(now)
        rates.append(steering.target)
    assert rates[19] == settings.start
    assert rates[-1] >= 0.8 * settings.maximum
    assert len(set(rates)) <= 5, "each new rate costs a keyframe"
    steering.estimate("a", 500_000, 20.0)
    assert steering.update(20.0)
    steering.estimate("a", 900_000, 25.0)
    assert not steering.update(25.0), "once it has been found, it rises slowly"


def test_without_estimates_a_stream_soon_has_all_it_may() -> None:
    steering = BitrateSteering()
    settings, rates = BitrateSettings(), []
    for now in range(12):
        steering.update(float(now))
        rates.append(steering.target)
    assert rates[4] == settings.start
    assert rates[-1] == settings.maximum


def test_a_far_reduction_does_not_wait() -> None:
    steering = BitrateSteering(BitrateSettings(start=900_000))
    steering.estimate("a", 700_000, 0.0)
    assert steering.update(0.0)
    steering.estimate("a", 500_000, 0.3)
    assert not steering.update(0.3)
    steering.estimate("a", 150_000, 0.4)
    assert steering.update(0.4)
    assert steering.target == 150_000


# Which picture is which


def test_frames_are_told_once_and_the_oldest_go() -> None:
    sent = SentFrames(kept=3)
    for number in range(5):
        sent.add(1000 * number, None if number == 3 else 10.0 + number)
    assert sent.take() == [(1000, 11.0), (2000, 12.0), (4000, 14.0)]
    assert sent.take() == []


@pytest.mark.asyncio
async def test_capture_times_stay_with_their_pictures() -> None:
    broadcast = Broadcast(BroadcastSettings(keyframe_spacing=0.0))
    tracks = [broadcast.add(name, codec, 0, lambda: None) for name, codec in CODECS.items()]
    sent: dict[str, list[EncodedFrame]] = {name: [] for name in CODECS}
    for name, track in zip(CODECS, tracks, strict=True):
        track.on_sent = sent[name].append

    async def show() -> None:
        for step in range(2000):
            times = PictureTimes(0.0, None if step % 4 == 0 else 100.0 + step)
            broadcast.show(0, TimedPicture(picture(step), step * 3000, times))
            await asyncio.sleep(0.005)

    showing = asyncio.create_task(show())
    for name, track in zip(CODECS, tracks, strict=True):
        packets = await read(track, 12)
        # The last one is out when the next is asked for.
        assert [frame.pts for frame in sent[name]] == [packet.pts for packet in packets[:-1]]
        assert {frame.captured is None for frame in sent[name]} == {True, False}
        for frame in sent[name]:
            step = frame.pts // 3000
            assert frame.captured == (None if step % 4 == 0 else 100.0 + step)
    showing.cancel()
    await broadcast.close()


# Streams


def test_equal_views_share_a_stream() -> None:
    table = StreamTable()
    assert table.join("a", "VP8", 0, 0.0).stream is table.join("b", "VP8", 0, 0.0).stream
    table.join("c", "H264", 0, 0.0)
    assert len(table.streams) == 2


def test_a_lone_viewer_takes_its_stream_along() -> None:
    table = StreamTable()
    queue = table.join("a", "VP8", 0, 0.0)
    stream = queue.stream
    queue.offer(stream, frame(0, True))
    for view in range(1, 20):
        table.turn("a", view, view / 30)
    assert queue.stream is stream
    assert not queue.needs_keyframe
    assert [s.view for s in table.streams] == [19]


def test_leaving_a_shared_view_opens_a_stream_and_returning_merges_it() -> None:
    table = StreamTable(settle=0.5)
    stays, turns = table.join("a", "VP8", 0, 0.0), table.join("b", "VP8", 0, 0.0)
    shared = stays.stream
    for queue in (stays, turns):
        queue.offer(shared, frame(0, True))
    for step in range(1, 10):
        table.turn("b", step, step / 30)
    assert turns.streams == {shared, turns.stream}
    assert turns.offer(shared, frame(1))  # no pause meanwhile
    own = turns.stream
    turns.offer(own, frame(2, True))
    table.turn("b", 0, 1.0)
    assert turns.stream is own, "passing by another's view joins nothing"
    table.merge(1.2)
    assert turns.stream is own
    table.merge(2.0)
    assert turns.stream is shared
    turns.offer(shared, frame(3, True))
    table.sweep()
    assert table.streams == [shared]


def test_views_are_bounded() -> None:
    table = StreamTable(max_views=2)
    table.join("a", "VP8", 0, 0.0)
    table.join("b", "VP8", 0, 0.0)
    table.join("c", "VP8", 1, 0.0)
    with pytest.raises(ViewLimitError):
        table.join("d", "VP8", 2, 0.0)
    with pytest.raises(ViewLimitError):
        table.turn("b", 2, 0.0)
    table.turn("c", 2, 0.0)  # alone: its own view moves
    table.leave("c")
    table.leave("nobody")
    assert [s.view for s in table.streams] == [0]


# Encoders


def picture(step: int, size: int = 64) -> NDArray[np.uint8]:
    y, x = np.mgrid[0 : size * 3 // 2, 0:size]
    return np.asarray((x * 3 + y + step * 5) % 200 + 20, np.uint8)


@pytest.mark.parametrize(("codec", "decoder"), [("VP8", "libvpx"), ("H264", "h264")])
def test_encoders_give_each_picture_at_once_and_keyframes_on_demand(codec: Codec, decoder: str) -> None:
    encoder = VideoEncoder(codec, 300_000)
    frames = [encoder.encode(picture(i), i * 3000, i in (0, 7)) for i in range(12)]
    assert all(f is not None for f in frames)
    assert [f.keyframe for f in frames if f] == [i in (0, 7) for i in range(12)]
    context = av.CodecContext.create(decoder, "r")
    assert isinstance(context, av.VideoCodecContext)
    decoded = [d for f in frames[7:] if f for d in context.decode(av.Packet(f.data))]
    decoded += context.decode(None)
    assert len(decoded) == 5, "a viewer that comes at the keyframe sees everything from there"


@pytest.mark.parametrize("codec", ["VP8", "H264"])
def test_a_new_rate_or_size_starts_with_a_keyframe(codec: Codec) -> None:
    encoder = VideoEncoder(codec, 300_000)
    encoder.encode(picture(0), 0, True)
    encoder.set_bit_rate(300_000)
    same = encoder.encode(picture(1), 3000)
    encoder.set_bit_rate(150_000)
    slower = encoder.encode(picture(2), 6000)
    wider = encoder.encode(picture(3, 128), 9000)
    assert same is not None
    assert not same.keyframe
    assert slower is not None
    assert slower.keyframe
    assert wider is not None
    assert wider.keyframe


# Broadcast


async def read(track: PacketTrack, count: int) -> list[Any]:
    return [await asyncio.wait_for(track.recv(), 10) for _ in range(count)]


async def feed(broadcast: Broadcast, view: Hashable = 0, start: int = 0) -> None:
    for step in range(start, start + 2000):
        broadcast.show(view, TimedPicture(picture(step), step * 3000))
        await asyncio.sleep(0.005)


@pytest.mark.asyncio
async def test_one_encoder_for_many_viewers_and_no_restart_by_a_late_one() -> None:
    broadcast = Broadcast(BroadcastSettings(keyframe_spacing=0.0))
    stopped: list[int] = []
    tracks = [broadcast.add(i, "VP8", 0, lambda i=i: stopped.append(i)) for i in range(5)]  # type: ignore[misc]
    feeding = asyncio.create_task(feed(broadcast))
    first = await asyncio.gather(*(read(track, 5) for track in tracks[:4]))
    assert broadcast.viewers == 4
    late = await read(tracks[4], 3)
    assert all(packets[0].is_keyframe for packets in [*first, late])
    rest = await asyncio.gather(*(read(track, 3) for track in tracks))
    assert rest
    assert broadcast.streams == 1
    assert broadcast.counters.keyframes <= 2 + 3  # at the start (viewers come in turn) and for the late one
    feeding.cancel()
    await broadcast.close()
    await broadcast.close()
    assert sorted(stopped) == [0, 1, 2, 3, 4]
    assert not [t for t in threading.enumerate() if t.name.startswith("video-encoder")]
    with pytest.raises(MediaStreamError):
        await tracks[0].recv()


@pytest.mark.asyncio
async def test_requests_of_all_viewers_make_one_keyframe() -> None:
    now = [0.0]
    broadcast = Broadcast(BroadcastSettings(keyframe_spacing=1.0), lambda: now[0])
    tracks = [broadcast.add(i, "VP8", 0, lambda: None) for i in range(3)]
    feeding = asyncio.create_task(feed(broadcast))
    await asyncio.gather(*(read(track, 3) for track in tracks))
    before = broadcast.counters.keyframes
    for viewer in (0, 1, 2, "nobody"):
        broadcast.request_keyframe(viewer)
        broadcast.estimate(viewer, 500_000)
    await read(tracks[0], 3)
    now[0] = 2.0
    await asyncio.gather(*(read(track, 20) for track in tracks))
    assert broadcast.counters.keyframes == before + 1
    feeding.cancel()
    await broadcast.close()


@pytest.mark.asyncio
async def test_a_viewer_turning_away_never_pauses() -> None:
    broadcast = Broadcast(BroadcastSettings(keyframe_spacing=0.0))
    stays, turns = (broadcast.add(name, "VP8", 0, lambda: None) for name in ("stays", "turns"))
    feeds = [asyncio.create_task(feed(broadcast, view)) for view in (0, 1)]
    await asyncio.gather(read(stays, 2), read(turns, 2))
    broadcast.turn("turns", 1)
    packets = await read(turns, 20)
    keyframes = [i for i, packet in enumerate(packets) if packet.is_keyframe]
    assert keyframes, "it arrived on the stream of the new view"
    assert broadcast.views() == [0, 1]
    gaps = np.diff([int(packet.pts or 0) for packet in packets])
    assert gaps.min() > 0
    await read(stays, 2)
    for task in feeds:
        task.cancel()
    await broadcast.close()
