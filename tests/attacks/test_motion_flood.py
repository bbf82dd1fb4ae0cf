"""Legal motion messages with many frames each: frames are limited, not messages."""

from __future__ import annotations

import pytest

from model.codec.decoder import MotionDecoder
from model.codec.encoder import MotionEncoder
from model.codec.packet import MotionMessage
from model.codec.rate import Rate
from model.codec.statistics import MotionStatistics
from server.receiver.control_session import ControlSession
from server.receiver.motion_inlet import DECODED_PER_SECOND, FRAMES_PER_SECOND, MotionInlet
from server.receiver.observer import SilentObserver
from server.receiver.playout import PlayoutBuffer, PlayoutSettings
from tests.server.fakes import FakeChannel, FakeClock, K, motion


class CountingDecoder:
    """Decodes nothing and counts the frames that it was given."""

    def __init__(self) -> None:
        self.frames = 0

    def decode(self, data: bytes) -> list[object]:
        self.frames += MotionMessage.parse(data).frames
        return []

    def acknowledgement(self) -> bytes | None:
        return None


def inlet(clock: FakeClock, decoder: object) -> tuple[MotionInlet, FakeChannel, PlayoutBuffer]:
    control = ControlSession(clock, lambda *_: True, lambda: None, 5.0, clock)
    playout = PlayoutBuffer(PlayoutSettings(), 1 / 25)
    made = MotionInlet(playout, control, clock, SilentObserver(), 0.25, 0.25)
    channel = FakeChannel()
    made.attach(channel, decoder)  # type: ignore[arg-type]
    return made, channel, playout


def messages(rate: Rate, count: int) -> list[bytes]:
    encoder = MotionEncoder(MotionStatistics.default(K), rate)
    made: list[bytes] = []
    for number in range(count):
        message = encoder.encode(motion(number % 7).to_vector(), 33 * number, 0)
        if message is not None:
            made.append(message)
    return made


def test_a_hundred_messages_of_32_frames_a_second_decode_120_frames_a_second() -> None:
    clock, decoder = FakeClock(), CountingDecoder()
    receiving, channel, _ = inlet(clock, decoder)
    flood = messages(Rate(frames_per_message=32), 32 * 40)
    assert flood
    seconds = 10
    for number in range(100 * seconds):
        channel.deliver(flood[number % len(flood)])
        clock.now += 0.01
    assert decoder.frames <= DECODED_PER_SECOND * (seconds + 2)
    assert receiving.malformed > 900


@pytest.mark.parametrize("kbps", [2.0, 8.0, 25.0, 60.0, 200.0])
def test_no_rate_of_an_honest_sender_is_touched(kbps: float) -> None:
    clock, decoder = FakeClock(), CountingDecoder()
    receiving, channel, _ = inlet(clock, decoder)
    encoder = MotionEncoder(MotionStatistics.default(K), Rate.for_kbps(kbps))
    for number in range(600):  # 20 s of a camera of 30 frames a second
        message = encoder.encode(motion(number % 7).to_vector(), 33 * number, 0)
        if message is not None:
            channel.deliver(message)
        clock.now += 1 / 30
    assert receiving.malformed == 0


def test_new_frames_are_limited_to_sixty_a_second() -> None:
    clock = FakeClock()
    receiving, channel, _ = inlet(clock, MotionDecoder(MotionStatistics.default(K)))
    flood = messages(Rate(), 1100)
    for message in flood:
        channel.deliver(message)
        clock.now += 0.01
    played = len(flood) - receiving.malformed
    assert played <= FRAMES_PER_SECOND * (11 + 2)
    assert played >= FRAMES_PER_SECOND * 10
