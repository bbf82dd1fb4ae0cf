"""Delay line, lip sync and the relay of sound."""

from __future__ import annotations

import asyncio
from fractions import Fraction

import av
import numpy as np
import pytest
from aiortc import MediaStreamTrack
from aiortc.mediastreams import MediaStreamError
from hypothesis import given
from hypothesis import strategies as st

from server.media.audio_delay import TOLERANCE, DelayLine, lip_sync_delays
from server.media.audio_relay import PACKET_SAMPLES, AudioRelay, OpusEncoder
from tests.server.fakes import until


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


def tone(samples: int, pts: int, rate: int = 48_000, layout: str = "stereo", level: float = 0.5) -> av.AudioFrame:
    wave = (level * 32767 * np.sin(np.arange(pts, pts + samples) * 2 * np.pi * 440 / rate)).astype(np.int16)
    channels = 2 if layout == "stereo" else 1
    frame = av.AudioFrame.from_ndarray(np.repeat(wave, channels)[None], format="s16", layout=layout)
    frame.sample_rate, frame.pts, frame.time_base = rate, pts, Fraction(1, rate)
    return frame


def test_opus_packets_carry_the_sound_and_its_times() -> None:
    encoder = OpusEncoder()
    packets = [p for i in range(25) for p in encoder.encode(tone(960, 960 * i))]
    assert [p.pts for p in packets] == [PACKET_SAMPLES * i for i in range(25)]
    decoder = av.CodecContext.create("libopus", "r")
    decoded = np.concatenate([f.to_ndarray().ravel() for p in packets for f in decoder.decode(p)]).astype(float)
    scale = 1.0 if np.abs(decoded).max() <= 1.5 else 32768.0
    assert 0.25 < np.sqrt(np.mean((decoded[9600:] / scale) ** 2)) < 0.45  # 0.5 / sqrt(2)


def test_other_rates_and_sizes_are_resampled() -> None:
    encoder = OpusEncoder()
    packets = [p for i in range(50) for p in encoder.encode(tone(160, 160 * i, 8000, "mono"))]
    assert 48 <= len(packets) <= 50
    assert [p.pts for p in packets] == [PACKET_SAMPLES * i for i in range(len(packets))]


def test_a_gap_stays_a_gap() -> None:
    encoder = OpusEncoder()
    times = [p.pts for i in (0, 1, 2, 10, 11) for p in encoder.encode(tone(960, 960 * i))]
    assert times == [0, 960, 1920, 9600, 10560]


class QueueTrack(MediaStreamTrack):
    kind = "audio"

    def __init__(self) -> None:
        super().__init__()
        self.queue: asyncio.Queue[av.AudioFrame | None] = asyncio.Queue(100)

    async def recv(self) -> av.AudioFrame:
        frame = await self.queue.get()
        if frame is None:
            raise MediaStreamError
        return frame


@pytest.mark.asyncio
async def test_relay_feeds_all_viewers_and_closes_cleanly() -> None:
    relay = AudioRelay(asyncio.get_running_loop().time)
    track = QueueTrack()
    relay.attach(track)
    viewers = [relay.add() for _ in range(3)]
    reading = [asyncio.create_task(viewer.recv()) for viewer in viewers]
    await asyncio.sleep(0)
    for i in range(5):
        track.queue.put_nowait(tone(960, 960 * i))
    packets = await asyncio.wait_for(asyncio.gather(*reading), 10)
    assert [p.pts for p in packets] == [0, 0, 0]
    assert relay.level > -15
    viewers[0].stop()
    with pytest.raises(MediaStreamError):
        await viewers[0].recv()
    second = QueueTrack()
    relay.attach(second)
    second.queue.put_nowait(tone(960, 0, level=0.0))
    second.queue.put_nowait(None)
    await relay.close()
    await relay.close()
    with pytest.raises(MediaStreamError):
        await viewers[1].recv()
    assert len(asyncio.all_tasks()) == 1


@pytest.mark.asyncio
async def test_silence_and_unheard_viewers() -> None:
    relay = AudioRelay(asyncio.get_running_loop().time)
    assert relay.level == -127.0
    idle = relay.add()  # connected, but never read
    track = QueueTrack()
    relay.attach(track)
    for i in range(50):
        track.queue.put_nowait(tone(960, 960 * i, level=0.0))
    await until(track.queue.empty)
    assert relay.level == -127.0
    assert len(idle._packets) == 0
    await relay.close()
