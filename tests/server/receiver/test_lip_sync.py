"""Lip sync over a perfect line: steady, whichever of sound and picture is the slower one."""

from __future__ import annotations

import pytest

from server.media.audio_relay import AudioRelay
from server.media.media_packet import MediaPacket
from server.media.picture import PictureTimes
from server.receiver.control_session import ControlSession
from server.receiver.latency_meter import LatencyMeter
from server.receiver.lip_sync import LipSync
from server.receiver.measures import Percentiles
from server.receiver.observer import SilentObserver
from server.receiver.playout import PlayoutBuffer, PlayoutSettings
from tests.server.fakes import FakeClock, FakeSource, motion

OFFSET = 4_000_000.0
"""Seconds that the sender's clock is ahead; its 32 bits of milliseconds wrap a third of an hour before this."""


async def run(audio_stage: float, way: float, render: float, bundled: bool = False) -> tuple[list[float], list[float]]:
    """A minute of a call without jitter: ages of the pictures and of the sound, seconds, from the 20th second on.

    audio_stage: age of a packet's first sample at sending; way: one way of the network; render: after playout;
    bundled: motion comes every 60 ms, behind the voice
    """
    clock = FakeClock(1000.0)
    control = ControlSession(clock, lambda *_: True, lambda: None, 5.0, clock)
    control.sender_stages = {"audio": audio_stage}
    playout = PlayoutBuffer(PlayoutSettings(), 1 / 30)
    latency = LatencyMeter(control, Percentiles(), SilentObserver())
    audio = AudioRelay(clock)
    source = FakeSource("audio")
    audio.attach(source)
    lips = LipSync(latency, control, playout.delay, audio)
    ages: list[float] = []
    sound: list[float] = []
    waiting: list[int] = []  # captured, on their way
    begin = clock.now
    audio.released = lambda packet: sound.append(clock.now - packet.timestamp / 48_000 - begin) if settled() else None

    def settled() -> bool:
        return clock.now - begin > 20.0

    for tick in range(60 * 100):
        clock.now = begin + tick / 100
        if tick % 100 == 0:
            control.sync.add(clock.now - 2 * way, clock.now, clock.now - way + OFFSET)
            lips.update()
        if tick % 4 == 0:
            captured = clock.now - way - 0.01 + OFFSET
            waiting.append(round(1000 * captured) % (1 << 32))
        if not bundled or tick % 6 == 0:
            for capture_ms in waiting:
                playout.push(capture_ms, motion(), 0, clock.now)
            waiting.clear()
        if tick % 6 == 0:
            # Of 60 ms: whoever captured it first waited for its end.
            stamp = round((clock.now - begin - way - audio_stage) * 48_000)
            source.deliver(MediaPacket(b"x", tick // 6 % 65_536, stamp, level=20))
        audio._delayed._run()  # its timer waits by the clock of the loop
        if tick % 3 == 0:
            played = playout.sample(clock.now)
            at = None if played is None else control.captured_at(played.capture_ms, clock.now)
            if at is not None:
                latency.picture_encoded(PictureTimes(clock.now, at, 0.001, render, 0.002), clock.now + render + 0.003)
                if settled():
                    ages.append(clock.now + render + 0.003 - at)
    await audio.close()
    return ages, sound


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("audio_stage", "way", "render", "bundled"),
    [
        (0.0265, 0.02, 0.03, False),
        (0.0665, 0.02, 0.03, False),
        (0.2, 0.02, 0.03, False),
        (0.35, 0.1, 0.03, False),
        (0.0665, 0.0, 0.005, False),
        (0.0665, 0.02, 0.03, True),
        (0.0665, 0.0, 0.005, True),
    ],
    ids=[
        *("sound waits", "60 ms packets", "picture waits", "picture waits long", "a short way"),
        *("motion behind the voice", "motion behind the voice over a short way"),
    ],
)
async def test_the_age_of_pictures_stays_within_10_ms_of_its_mean(
    audio_stage: float, way: float, render: float, bundled: bool
) -> None:
    ages, sound = await run(audio_stage, way, render, bundled)
    mean = sum(ages) / len(ages)
    # Motion is interpolated to any time, so that pictures have the age that was set; the rest is what swings.
    assert max(abs(age - mean) for age in ages) <= 0.010
    steady = sum(sound) / len(sound)
    assert max(abs(age - steady) for age in sound) <= 0.010 + 0.010, "and the sound's, to a tick of this test"
    assert -0.02 <= steady - mean <= 0.04, "within the tolerance of sound that is late"
