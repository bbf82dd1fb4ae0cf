"""When a viewer of the bench asks for a keyframe."""

from __future__ import annotations

import pytest

from server.benchmark.network.picture_receiver import MISSING_SECONDS, PictureReceiver
from server.media.media_packet import MediaPacket

KEYFRAME = bytes([0x10, 0x10, 0, 0, 0x9D, 0x01, 0x2A, 0, 1, 0, 1])  # descriptor, frame tag, start code, 256 x 256
INTER = bytes([0x10, 0x11, 0, 0, 1, 2, 3])
REST = bytes([0x00, 1, 2, 3])  # of a picture that has begun

LONG = 2 * MISSING_SECONDS


def packet(sequence: int, picture: int, payload: bytes, marker: bool = True) -> MediaPacket:
    return MediaPacket(payload, sequence % 65536, 3000 * picture, marker, "VP8")


def began(first: int = 0) -> PictureReceiver:
    receiver = PictureReceiver()
    assert receiver.add(packet(first, 0, KEYFRAME), 0.0) == [0]
    return receiver


def test_few_pictures_are_no_reason() -> None:
    receiver = began()
    for number in range(1, 5):
        assert receiver.add(packet(number, number, INTER), number * LONG) == [3000 * number]
        assert not receiver.needs_keyframe(number * LONG)


def test_a_keyframe_that_is_long_on_its_way_is_no_reason() -> None:
    receiver = PictureReceiver()
    assert receiver.add(packet(0, 0, KEYFRAME, marker=False), 0.0) == []
    for number in range(1, 4):
        assert receiver.add(packet(number, 0, REST, marker=False), number * LONG) == []
        assert not receiver.needs_keyframe(number * LONG)
    assert receiver.add(packet(4, 0, REST), 4 * LONG) == [0]


@pytest.mark.parametrize("first", [0, 65535], ids=["numbers go on", "numbers begin anew"])
def test_what_comes_again_in_time_mends_it(first: int) -> None:
    receiver = began(first)
    assert receiver.add(packet(first + 2, 2, INTER), 0.1) == []
    assert receiver.add(packet(first + 1, 1, INTER), 0.2) == [3000, 6000]
    assert not receiver.needs_keyframe(0.1 + LONG)


def test_what_is_missing_asks_until_a_keyframe_begins() -> None:
    receiver = began()
    assert receiver.add(packet(2, 2, INTER), 0.0) == []
    assert not receiver.needs_keyframe(MISSING_SECONDS)
    assert receiver.needs_keyframe(LONG)
    assert not receiver.needs_keyframe(LONG)
    assert receiver.add(packet(3, 3, INTER), LONG) == []
    assert receiver.needs_keyframe(2 * LONG)
    assert receiver.add(packet(4, 4, KEYFRAME), 2 * LONG) == [12_000]
    assert not receiver.needs_keyframe(4 * LONG)
