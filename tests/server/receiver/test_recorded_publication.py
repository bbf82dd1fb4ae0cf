"""What a publication tells whoever records it: what others see and hear, and when that was."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from server.media.media_packet import MediaPacket
from server.media.recorder import MotionModel
from tests.server.fakes import FakeCamera, FakeSource
from tests.server.receiver.test_publication import Bench, bench, png

__all__ = ["bench"]


class Kept:
    """A recorder that keeps what it is told; `decodable` is what it answers."""

    def __init__(self) -> None:
        self.models: list[MotionModel] = []
        self.sources: list[tuple[int, bytes]] = []
        self.messages: list[tuple[bytes, float]] = []
        self.sounds: list[tuple[MediaPacket, float, bool]] = []
        self.pictures: list[tuple[MediaPacket, bool]] = []
        self.decodable = True
        self.wants_keyframe = False

    def model(self, model: MotionModel) -> None:
        self.models.append(model)

    def source(self, index: int, image: bytes, windows: Mapping[int, bytes]) -> None:
        del windows
        self.sources.append((index, image))

    def motion(self, message: bytes, source: int, capture_ms: int, captured: float) -> bool:
        assert source == 0
        assert capture_ms >= 0
        self.messages.append((message, captured))
        return self.decodable

    def sound(self, packet: MediaPacket, captured: float, *, alone: bool) -> None:
        self.sounds.append((packet, captured, alone))

    def picture(self, packet: MediaPacket, arrived: float, keyframe: bool) -> bool:
        assert arrived >= 0
        self.pictures.append((packet, keyframe))
        return self.wants_keyframe


def attached(bench: Bench) -> Any:
    bench.publication.attach_control_channel(bench.control)  # type: ignore[arg-type]
    bench.publication.attach_motion_channel(bench.motion)  # type: ignore[arg-type]
    return bench.publication


@pytest.mark.asyncio
async def test_sources_that_are_there_and_those_that_come(bench: Bench) -> None:
    publication, kept = attached(bench), Kept()
    first, second = png(1), png(2)
    await publication.add_source(0, first)
    publication.record(kept)
    publication.record(kept)
    await publication.add_source(2, second)
    assert kept.sources == [(0, first), (2, second)]
    (model,) = kept.models
    assert (model.profile, model.weights) == ("fake", "00" * 32)


@pytest.mark.asyncio
async def test_who_begins_in_the_middle_gets_an_intra_frame(bench: Bench) -> None:
    publication, kept = attached(bench), Kept()
    kept.decodable = False
    publication.record(kept)
    bench.send(0.0)
    assert bench.motion.sent[-1][:1] == b"\x43", "a refresh request in place of an acknowledgement"
    kept.decodable = True
    bench.send(1.0)
    publication.record(None)
    bench.send(2.0)
    assert len(kept.messages) == 2
    kept.decodable = False
    again = Kept()
    again.decodable = False
    publication.record(again)
    publication.record(None)
    bench.send(3.0)
    assert bench.motion.sent[-1][:1] != b"\x43" or len(bench.motion.sent) == 1, "nobody asks any more"


@pytest.mark.asyncio
async def test_a_senders_clock_cannot_move_what_it_sends_far(bench: Bench) -> None:
    publication, kept = attached(bench), Kept()
    publication.record(kept)
    now = bench.clock()
    for peer_ms in (1e12, -1e12, 0.0, 1000 * now + 3e6):
        bench.say(t="pong", n=1, ms=1000 * bench.clock(), peer_ms=peer_ms)
        bench.say(t="stages", audio=1e9)
        bench.send(0.0)
        source = FakeSource("audio")
        publication.attach_audio(source)
        source.deliver(MediaPacket(b"\x48", 1, 5))
    assert len(kept.messages) == len(kept.sounds) == 4
    for captured in (*(at for _, at in kept.messages), *(at for _, at, _ in kept.sounds)):
        assert now - 11 <= captured <= bench.clock()


@pytest.mark.asyncio
async def test_whom_nobody_hears_is_not_recorded(bench: Bench) -> None:
    publication, kept, source = bench.publication, Kept(), FakeSource("audio")
    publication.attach_audio(source)
    publication.record(kept)
    source.deliver(MediaPacket(b"\x48", 1, 5))
    publication.silence(True)
    source.deliver(MediaPacket(b"\x48", 2, 965))
    publication.silence(False)
    source.deliver(MediaPacket(b"\x48", 3, 1925))
    assert [packet.sequence for packet, _, _ in kept.sounds] == [1, 3]
    assert all(alone for _, _, alone in kept.sounds)


@pytest.mark.asyncio
async def test_a_cameras_packets_and_its_keyframes(bench: Bench) -> None:
    publication, kept, source = bench.publication, Kept(), FakeSource("video")
    publication.attach_video(source)
    kept.wants_keyframe = True
    publication.record(kept)
    assert source.keyframes_asked == 1, "a file begins with one"
    camera = FakeCamera("VP8")
    packets = camera.frame(keyframe=True)
    source.deliver(*packets)
    assert [packet.payload for packet, _ in kept.pictures] == [packet.payload for packet in packets]
    assert [keyframe for _, keyframe in kept.pictures] == [True, *[False] * (len(packets) - 1)]
    sound = FakeSource("audio")
    publication.attach_audio(sound)
    sound.deliver(MediaPacket(b"\x48", 1, 5))
    assert kept.sounds[0][2] is False
    publication.record(None)
    source.deliver(*camera.frame())
    assert len(kept.pictures) == len(packets)
