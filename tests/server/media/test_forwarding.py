"""Packets forwarded: their numbers, where a viewer may begin, what is asked for upstream, what is sent again."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
from fractions import Fraction
from functools import partial
from typing import Any

import av
import pytest
from aiortc import MediaStreamTrack, RTCRtpSender
from aiortc.codecs.vpx import VpxPayloadDescriptor
from aiortc.rtp import RTCP_PSFB_PLI, RtcpPsfbPacket, RtpPacket
from hypothesis import given
from hypothesis import strategies as st

from server.media.aiortc_private import PacketOutlet, inlet_of
from server.media.audio_relay import AudioRelay
from server.media.broadcast import Broadcast
from server.media.fanout import ForwardQueue
from server.media.forwarding import Forwarding
from server.media.media_packet import MediaPacket
from server.media.rtp_feedback import BitrateSettings, KeyframeRequests, MissingPackets, RetransmissionBudget
from server.media.rtp_numbers import RtpNumbers
from server.media.rtp_payload import Vp8Descriptor, Vp8Numbers, keyframe_start
from tests.server.fakes import FakeCamera, FakeClock, FakeSource, until
from tests.server.loopback import connect, nothing_leaks, peers
from tests.server.signalling import GreyVideo


def packet(sequence: int, timestamp: int = 0, marker: bool = True, codec: str = "VP8") -> MediaPacket:
    return MediaPacket(b"\x10\x00", sequence % 65_536, timestamp % (1 << 32), marker, codec)


# Numbers


@given(
    start=st.integers(0, 65_535),
    order=st.permutations(range(40)),
    lost=st.sets(st.integers(0, 39), max_size=20),
)
def test_gaps_and_order_stay_what_they_were(start: int, order: list[int], lost: set[int]) -> None:
    numbers = RtpNumbers(90_000, 32_000, 7)
    first = next(n for n in order if n not in lost)
    numbers.restart((start + first) % 65_536, 3000 * first, 0.0)
    for n in order:
        if n not in lost:
            sequence, timestamp = numbers.outgoing((start + n) % 65_536, 3000 * n % (1 << 32), 0.0)
            assert (sequence - 32_000 - n + first) % 65_536 == 0
            assert (timestamp - 7 - 3000 * (n - first)) % (1 << 32) == 0


def test_another_stream_follows_on_the_one_before() -> None:
    numbers = RtpNumbers(90_000, 65_530, 100)
    numbers.restart(5, 1_000_000, 0.0)
    for n in range(10):
        numbers.outgoing(5 + n, 1_000_000 + 3000 * n, n / 30)
    numbers.restart(60_000, 42, 10 / 30)
    assert numbers.outgoing(60_000, 42, 10 / 30) == ((65_530 + 10) % 65_536, 100 + 3000 * 10)


def test_picture_numbers_of_vp8_go_on_over_a_change() -> None:
    numbers = Vp8Numbers(32_766)
    got: list[tuple[int, int]] = []
    for first, restart in ((77, True), (78, False), (79, False), (12_000, True), (12_001, False)):
        descriptor = VpxPayloadDescriptor(1, 0, picture_id=first, tl0picidx=first % 256, tid=(0, 0))
        data = numbers.outgoing(bytes(descriptor) + b"abc", restart)
        read, rest = VpxPayloadDescriptor.parse(data)
        assert rest == b"abc"
        assert read.picture_id is not None
        assert read.tl0picidx is not None
        got.append((read.picture_id, read.tl0picidx))
    assert got == [(32_766, 0), (32_767, 1), (0, 2), (1, 3), (2, 4)]
    short = b"\x90\x80\x11abc"
    assert numbers.outgoing(short, True) == short, "7 bits cannot hold the others' numbers"


@given(st.binary(max_size=12))
def test_descriptors_are_read_as_another_reader_does(data: bytes) -> None:
    try:
        theirs, rest = VpxPayloadDescriptor.parse(data)
    except ValueError:
        with pytest.raises(ValueError, match="VP8"):
            Vp8Descriptor.parse(data)
        return
    if data[0] & 0x08:
        return  # a reserved bit, which aiortc counts to the partition
    ours = Vp8Descriptor.parse(data)
    assert data[ours.length :] == rest
    assert ours.starts_frame == (theirs.partition_start == 1 and theirs.partition_id == 0)


@given(st.sampled_from(["VP8", "H264"]), st.binary(max_size=60))
def test_any_payload_is_read_or_refused(codec: str, payload: bytes) -> None:
    with contextlib.suppress(ValueError):
        keyframe_start(codec, payload)


# Where a viewer begins


def test_a_viewer_begins_at_a_keyframe_and_falls_back_to_the_next_one() -> None:
    queue = ForwardQueue(capacity=10)
    assert not queue.offer("a", packet(65_530), keyframe=False)
    assert queue.needs_keyframe
    assert queue.offer("a", packet(65_531), keyframe=True)
    assert not queue.offer("a", packet(65_529), keyframe=False), "late, of a frame before"
    for n in range(9):
        assert queue.offer("a", packet(65_532 + n), keyframe=False)
    first = queue.take()
    assert first is not None
    assert first.restart
    assert queue.offer("a", packet(65_541), keyframe=False)
    assert not queue.offer("a", packet(65_542), keyframe=False), "it is behind"
    assert len(queue) == 0
    assert queue.dropped == 10
    assert queue.needs_keyframe
    assert queue.offer("a", packet(65_560), keyframe=True)
    again = queue.take()
    assert again is not None
    assert again.restart, "its numbers follow on what was sent, so that nothing seems lost"


def test_a_long_run_keeps_taking_packets() -> None:
    queue = ForwardQueue()
    for n in range(200_000):
        assert queue.offer("a", packet(n), keyframe=n == 0)
        queue.take()


def test_another_camera_begins_with_its_own_keyframe() -> None:
    queue = ForwardQueue()
    assert queue.offer("a", packet(1), keyframe=True)
    assert not queue.offer("b", packet(2), keyframe=False)
    assert queue.offer("b", packet(9), keyframe=True)
    assert len(queue) == 1


# What is asked for


def test_requests_for_keyframes_are_one() -> None:
    requests = KeyframeRequests(0.5)
    assert not requests.due(0.0)
    for _ in range(50):
        requests.request()
    assert [now / 10 for now in range(12) if requests.due(now / 10)] == [0.0, 0.5, 1.0]
    requests.came()
    assert not requests.due(9.0)


def test_missing_packets_are_asked_for_a_few_times() -> None:
    missing = MissingPackets(again=0.1, attempts=3)
    assert missing.add(65_534, 0.0) == []
    assert missing.add(1, 0.01) == [65_535, 0]
    assert missing.add(2, 0.02) == []
    assert missing.add(0, 0.03) == []
    assert missing.add(3, 0.12) == [65_535]
    assert missing.add(4, 0.3) == [65_535]
    assert missing.add(5, 9.0) == [], "given up"


def test_a_jump_asks_for_nothing_and_costs_nothing() -> None:
    missing = MissingPackets(limit=128)
    missing.add(0, 0.0)
    for jump in range(1, 1000):
        assert missing.add(jump * 30_000 % 65_536, 0.0) == []
        assert len(missing._missing) <= 128


def test_repeats_are_a_share_of_what_is_sent() -> None:
    budget = RetransmissionBudget(share=0.25, burst=2000)
    assert [budget.take(1000) for _ in range(3)] == [True, True, False]
    for _ in range(4):
        budget.sent(1000)
    assert [budget.take(1000) for _ in range(2)] == [True, False]


@pytest.mark.asyncio
async def test_the_camera_is_asked_once_for_all_viewers_and_told_the_least_of_their_lines() -> None:
    clock = FakeClock()
    broadcast = Broadcast(clock=clock)
    forwarding = Forwarding(lambda: broadcast.tracks, clock, BitrateSettings(maximum=900_000))
    source, camera = FakeSource("video"), FakeCamera("VP8")
    forwarding.attach(source)
    tracks = [broadcast.add(name, "VP8", 0, lambda: None) for name in "abc"]
    reading = [asyncio.create_task(track.recv()) for track in tracks]
    await asyncio.sleep(0)
    for track in tracks[:2]:
        track.accepts = lambda packet: packet.codec == "VP8"

    def film(keyframe: bool = False) -> bool:
        packets = camera.frame(keyframe)
        return sum(forwarding.packet(p, keyframe and n == 0) for n, p in enumerate(packets)) > 0

    film(keyframe=True)
    tracks[0]._forward.clear()  # as if it had just come
    tracks[0].forwards = True
    for _ in range(30):
        assert film(), "the third needs pictures"
        clock.now += 1 / 30
    assert source.keyframes_asked == 2, "one in half a second"
    forwarding.request_keyframe()
    film(keyframe=True)
    clock.now += 5.0
    film()
    assert source.keyframes_asked == 2
    forwarding.estimate("a", 300_000)
    forwarding.estimate("b", 180_000)
    forwarding.estimate("c", 1_000)  # gets encoded pictures, and has its own rate
    clock.now += 15.0
    forwarding.estimate("a", 300_000)
    forwarding.estimate("b", 180_000)
    assert source.limits[-1] == 180_000
    clock.now += 15.0
    forwarding.estimate("b", 20_000)
    forwarding.estimate("a", 300_000)
    assert source.limits[-1] == 300_000, "a line that carries next to nothing does not spoil the picture of all"
    assert forwarding.viewers == 2
    for task in reading:
        task.cancel()
    await broadcast.close()


# Over real connections


def _lose(receiver: Any, nth: int, types: list[int]) -> None:
    """Drop every nth packet that comes; note the payload types of all."""
    handle = receiver._handle_rtp_packet
    count = 0

    async def lossy(packet: RtpPacket, arrival_time_ms: int) -> None:
        nonlocal count
        count += 1
        types.append(packet.payload_type)
        if not nth or count % nth:
            await handle(packet, arrival_time_ms)

    receiver._handle_rtp_packet = lossy


def _carries(outlet: PacketOutlet, packet: MediaPacket) -> bool:
    return outlet.payload_type(packet.codec) is not None


async def _forwarded(viewers: int, loss: int = 0, loss_after: int = 0) -> dict[str, Any]:
    """A camera of aiortc through an inlet and outlets to viewers of aiortc, who decode ten pictures each.

    Every `loss`-th packet is lost on its way in, every `loss_after`-th on its way out.
    """
    got: dict[str, Any] = {"frames": [], "asked": 0, "types": []}
    async with peers() as (sending, receiving), peers() as (first, first_serving), peers() as (second, second_serving):
        broadcast = Broadcast()
        forwarding = Forwarding(lambda: broadcast.tracks, time.monotonic)
        transceiver = sending.addTransceiver(GreyVideo(), direction="sendonly")
        vp8 = [c for c in RTCRtpSender.getCapabilities("video").codecs if c.mimeType in ("video/VP8", "video/rtx")]
        transceiver.setCodecPreferences(vp8)

        def taken(track: MediaStreamTrack) -> None:
            source = inlet_of(receiving, track, time.monotonic)
            forwarding.attach(source)
            _lose(source._receiver, loss, [])

            def forward(packet: MediaPacket) -> None:
                forwarding.packet(packet, keyframe_start("VP8", packet.payload) is not None)

            source.on_packet = forward

        receiving.on("track", taken)
        await connect(sending, receiving)
        for name, viewer, serving in (("a", first, first_serving), ("b", second, second_serving))[:viewers]:
            track = broadcast.add(name, "VP8", 0, lambda: None)
            sender = serving.addTransceiver(track, direction="sendonly").sender

            def asked() -> None:
                got["asked"] += 1
                forwarding.request_keyframe()

            outlet = PacketOutlet(sender, time.monotonic, asked)
            track.accepts = partial(_carries, outlet)
            viewer.addTransceiver("video", direction="recvonly")
            remote: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
            viewer.on("track", remote.set_result)
            await connect(viewer, serving)
            tracked = await remote
            _lose(viewer.getReceivers()[0], loss_after, got["types"])
            frames = [await asyncio.wait_for(tracked.recv(), 20) for _ in range(10)]
            got["frames"].append(frames)
            receiver = viewer.getReceivers()[0]
            await receiver._send_rtcp(RtcpPsfbPacket(fmt=RTCP_PSFB_PLI, ssrc=1, media_ssrc=sender._ssrc))
            await until(lambda: got["asked"] > 0)
        assert forwarding.viewers == viewers
        await broadcast.close()
    return got


@pytest.mark.e2e
@pytest.mark.asyncio
async def test_a_camera_reaches_viewers_as_it_came() -> None:
    async with nothing_leaks(90):
        got = await _forwarded(2)
        await asyncio.get_running_loop().shutdown_default_executor()
    assert [len(frames) for frames in got["frames"]] == [10, 10]
    for frames in got["frames"]:
        times = [frame.pts for frame in frames]
        assert {b - a for a, b in itertools.pairwise(times)} == {1800}, "its own timing"


@pytest.mark.e2e
@pytest.mark.asyncio
async def test_lost_packets_are_asked_for_and_come_late() -> None:
    async with nothing_leaks(90):
        got = await _forwarded(1, loss=10)
        await asyncio.get_running_loop().shutdown_default_executor()
    assert len(got["frames"][0]) == 10


@pytest.mark.e2e
@pytest.mark.asyncio
async def test_what_a_viewer_misses_is_sent_again() -> None:
    """By RTX (RFC 4588), since both sides have it."""
    async with nothing_leaks(90):
        got = await _forwarded(1, loss_after=7)
        await asyncio.get_running_loop().shutdown_default_executor()
    frames = got["frames"][0]
    assert len(frames) == 10
    assert len(set(got["types"])) == 2, "VP8, and its retransmissions"


class _Sound(MediaStreamTrack):
    """Packets of 60 ms with a pause of a second after each tenth, as a sender with DTX makes."""

    kind = "audio"

    def __init__(self) -> None:
        super().__init__()
        self._sent = 0

    async def recv(self) -> Any:
        await asyncio.sleep(0.005)
        packet = av.Packet(b"\x58" + bytes([self._sent % 256]) * 40)
        packet.pts = self._sent * 2880 + self._sent // 10 * 48_000
        packet.time_base = Fraction(1, 48_000)
        self._sent += 1
        return packet


@pytest.mark.e2e
@pytest.mark.asyncio
async def test_sound_keeps_its_gaps_and_pauses_over_real_connections() -> None:
    """The viewer is shown what was lost on the way in: its own receiver conceals it."""
    async with nothing_leaks(60), peers() as (sending, receiving), peers() as (watching, serving):
        relay = AudioRelay(time.monotonic)
        came: list[MediaPacket] = []
        got: list[MediaPacket] = []

        def published(track: MediaStreamTrack) -> None:
            source = inlet_of(receiving, track, time.monotonic)
            relay.attach(source)
            forward = source.on_packet
            assert forward is not None

            def lossy(packet: MediaPacket) -> None:
                if packet.sequence % 5:
                    came.append(packet)
                    forward(packet)

            source.on_packet = lossy

        def watched(track: MediaStreamTrack) -> None:
            inlet_of(watching, track, time.monotonic).on_packet = got.append

        receiving.on("track", published)
        watching.on("track", watched)
        PacketOutlet(serving.addTransceiver(relay.add(), direction="sendonly").sender, time.monotonic)
        watching.addTransceiver("audio", direction="recvonly")
        await connect(watching, serving)
        await until(lambda: watching.connectionState == serving.connectionState == "connected")
        sending.addTransceiver(_Sound(), direction="sendonly")
        await connect(sending, receiving)
        await until(lambda: len(got) > 60)
        await relay.close()
    begin = next(n for n, packet in enumerate(came) if packet.payload == got[0].payload)
    for theirs, ours in zip(came[begin:], got, strict=False):
        assert theirs.payload == ours.payload
        assert (ours.sequence - got[0].sequence) % 65_536 == (theirs.sequence - came[begin].sequence) % 65_536
        assert (ours.timestamp - got[0].timestamp) % (1 << 32) == (theirs.timestamp - came[begin].timestamp) % (1 << 32)
