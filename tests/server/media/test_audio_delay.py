"""Delay line, lip sync and the relay of sound."""

from __future__ import annotations

import asyncio
from fractions import Fraction
from typing import Any

import av
import numpy as np
import pytest
from aiortc.mediastreams import MediaStreamError
from hypothesis import given
from hypothesis import strategies as st

from server.media.audio_delay import TOLERANCE, DelayLine, lip_sync_delays
from server.media.audio_relay import AudioRelay
from server.media.media_packet import MediaPacket
from tests.server.fakes import FakeClock, FakeSource, until


def test_items_come_out_after_the_delay_in_order() -> None:
    line: DelayLine[int] = DelayLine()
    line.set_delay(0.1)
    out: list[tuple[int, int]] = []
    for tick in range(50):
        now = tick * 0.02
        line.push(tick, now)
        out += [(tick, item) for item in line.due(now + 1e-9)]
    assert all(tick - item == 5 for tick, item in out)
    assert [item for _, item in out] == list(range(45))


def test_a_new_delay_is_approached() -> None:
    line: DelayLine[int] = DelayLine(slew=0.1)
    line.set_delay(0.1)
    line.push(0, 0.0)
    line.set_delay(0.3)
    line.push(1, 1.0)
    assert abs(line.delay - 0.2) < 1e-9
    line.push(2, 5.0)
    assert line.delay == 0.3


def test_the_line_is_bounded() -> None:
    line: DelayLine[int] = DelayLine(capacity=5)
    line.set_delay(100.0)
    for item in range(20):
        line.push(item, 0.0)
    assert len(line) == 5
    assert line.dropped == 15
    assert line.due(100.0) == [15, 16, 17, 18, 19]


@given(picture=st.floats(0, 0.5), sound=st.floats(0, 0.5))
def test_lips_stay_within_the_tolerance(picture: float, sound: float) -> None:
    delays = lip_sync_delays(picture, sound)
    gap = (sound + delays.sound) - (picture + delays.picture)
    assert -1e-9 <= gap <= TOLERANCE + 1e-9
    assert min(delays.sound, delays.picture) == 0


def opus(count: int, level: float = 0.5, duration: int = 20) -> list[bytes]:
    """Opus packets of a tone; `duration` in milliseconds."""
    context: Any = av.CodecContext.create("libopus", "w")
    context.bit_rate, context.format, context.layout, context.sample_rate = 24_000, "s16", "mono", 48_000
    context.options = {"application": "voip", "frame_duration": str(duration)}
    samples = 48 * duration
    packets: list[bytes] = []
    for number in range(count + 1):
        wave = 32767 * level * np.sin(np.arange(number * samples, (number + 1) * samples) * 0.05)
        frame = av.AudioFrame.from_ndarray(wave.astype(np.int16)[None], format="s16", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = 48_000, number * samples, Fraction(1, 48_000)
        packets += [bytes(packet) for packet in context.encode(frame)]
    return packets[:count]


def packet(number: int, payload: bytes = b"x", level: int | None = 20, samples: int = 960) -> MediaPacket:
    return MediaPacket(payload, (65_530 + number) % 65_536, number * samples, level=level)


async def sound(viewer: Any) -> MediaPacket:
    item: MediaPacket = await asyncio.wait_for(viewer.recv(), 10)
    return item


@pytest.mark.asyncio
async def test_packets_are_forwarded_as_they_came_gaps_and_lengths_included() -> None:
    """60 ms packets, one lost, one late, then a pause in which nothing was sent (DTX)."""
    relay = AudioRelay(asyncio.get_running_loop().time)
    source = FakeSource("audio")
    relay.attach(source)
    viewers = [relay.add() for _ in range(3)]
    reading = [asyncio.create_task(viewer.recv()) for viewer in viewers]
    await asyncio.sleep(0)
    numbers = [0, 1, 3, 2, 5, 40]
    sent = [packet(n, opus(1, duration=60)[0], samples=2880) for n in numbers]
    source.deliver(*sent)
    first = await asyncio.wait_for(asyncio.gather(*reading), 10)
    rest = [await sound(viewers[0]) for _ in numbers[1:]]
    got = [first[0], *rest]
    assert [p.restart for p in got] == [True, *[False] * 5], "numbers are those of the sender from the first on"
    assert [(p.payload, p.sequence, p.timestamp) for p in got] == [(p.payload, p.sequence, p.timestamp) for p in sent]
    viewers[0].stop()
    with pytest.raises(MediaStreamError):
        await viewers[0].recv()
    await relay.close()
    await relay.close()
    with pytest.raises(MediaStreamError):
        await viewers[1].recv()
    assert source.on_packet is None
    assert len(asyncio.all_tasks()) == 1


@pytest.mark.asyncio
async def test_another_source_follows_on_the_first() -> None:
    relay = AudioRelay(asyncio.get_running_loop().time)
    first, second = FakeSource("audio"), FakeSource("audio")
    relay.attach(first)
    viewer = relay.add()
    reading = asyncio.create_task(viewer.recv())
    await asyncio.sleep(0)
    first.deliver(packet(0))
    await reading
    relay.attach(second)
    first.deliver(packet(1))
    second.deliver(packet(700), packet(701))
    assert [(await sound(viewer)).restart, (await sound(viewer)).restart] == [True, False]
    await relay.close()


@pytest.mark.asyncio
async def test_who_is_silenced_is_not_heard_and_begins_anew_afterwards() -> None:
    relay = AudioRelay(asyncio.get_running_loop().time)
    source = FakeSource("audio")
    relay.attach(source)
    track = relay.add()
    reading = asyncio.create_task(track.recv())
    await asyncio.sleep(0)
    heard = []
    for number, silent in ((1, False), (2, True), (3, False)):
        relay.silence(silent)
        source.deliver(MediaPacket(bytes([number]), number, 960 * number, level=20))
        if not silent:
            packet = await asyncio.wait_for(reading, 10)
            heard.append((packet.payload, packet.restart))
            reading = asyncio.create_task(track.recv())
            await asyncio.sleep(0)
    assert heard == [(bytes([1]), True), (bytes([3]), True)]
    reading.cancel()
    await asyncio.gather(reading, return_exceptions=True)
    await relay.close()


@pytest.mark.asyncio
async def test_sound_waits_as_long_as_the_picture() -> None:
    clock = FakeClock()
    relay = AudioRelay(clock)
    source = FakeSource("audio")
    relay.attach(source)
    relay.set_delay(0.19)
    left: list[int] = []
    relay.released = lambda item: left.append(item.timestamp // 960)
    for number in range(20):
        source.deliver(packet(number))
        clock.now += 0.02
    assert left == list(range(10))
    await relay.close()


@pytest.mark.asyncio
async def test_loudness_is_read_from_the_header_or_decoded_beside() -> None:
    clock = FakeClock()
    relay = AudioRelay(clock)
    assert relay.level == -127.0
    source = FakeSource("audio")
    relay.attach(source)
    source.deliver(*[packet(n, level=30) for n in range(5)])
    assert abs(relay.level + 30) < 0.1
    source.deliver(*[packet(n, level=127) for n in range(5, 10)])
    assert relay.level == -127.0
    clock.now += 10
    loud = opus(30, level=0.5)
    for number, payload in enumerate(loud):
        source.deliver(packet(number, payload, level=None))
        clock.now += 0.03
        await asyncio.sleep(0.005)
    await until(lambda: -15 < relay.level < -6)
    clock.now += 1.0
    assert relay.level == -127.0, "nothing came: silence is often not sent"
    source.deliver(packet(99, b"\xff" * 3, level=None))
    await relay.close()


@pytest.mark.asyncio
async def test_unheard_viewers_and_slow_ones_are_bounded() -> None:
    relay = AudioRelay(asyncio.get_running_loop().time)
    idle, slow = relay.add(), relay.add()  # one connected but never read, one that is read once
    reading = asyncio.create_task(slow.recv())
    await asyncio.sleep(0)
    source = FakeSource("audio")
    relay.attach(source)
    source.deliver(*[packet(n) for n in range(500)])
    assert (await reading).restart, "the numbers of the first packet that is sent are the ones to follow"
    assert len(idle._packets) == 0
    assert len(slow._packets) == 49
    await relay.close()
