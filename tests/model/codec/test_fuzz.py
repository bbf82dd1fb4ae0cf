"""Fuzz: 100,000 mutated messages, a million at night, give a typed error or a valid result, never a crash, a hang or a
poisoned decoder.
"""

from __future__ import annotations

import contextlib
import copy
import os
import random

import numpy as np
import pytest

from model.codec.decoder import MotionDecoder
from model.codec.encoder import MotionEncoder
from model.codec.entropy import RangeDecoder
from model.codec.frame_coding import FrameState
from model.codec.packet import MAX_FRAMES, MOTION_HEADER_BYTES, SHORT_HEADER_BYTES, MotionMessage
from model.codec.rate import Rate
from model.codec.statistics import MotionStatistics
from model.errors import BitstreamError
from tests.model.codec.test_statistics import walk

MUTATIONS = int(os.environ.get("VISAVIS_MUTATIONS", "100000"))
"""`make nightly` sends a million."""

K = 3


def mutate(data: bytes, chance: random.Random) -> bytes:
    """One to three of: flip a bit, set a byte, cut, append, repeat a stretch, replace the payload.

    Three in four leave the header alone: most damage there is refused before the payload is looked at.
    """
    out = bytearray(data)
    header = SHORT_HEADER_BYTES if MotionMessage.parse(data).short else MOTION_HEADER_BYTES
    first = 0 if chance.random() < 0.25 else header
    for _ in range(chance.randint(1, 3)):
        kind = chance.randrange(6)
        at = chance.randrange(first, len(out)) if len(out) > first else first
        if kind == 0 and len(out) > at:
            out[at] ^= 1 << chance.randrange(8)
        elif kind == 1 and len(out) > at:
            out[at] = chance.randrange(256)
        elif kind == 2:
            del out[at:]
        elif kind == 3:
            out += chance.randbytes(chance.randint(1, 20))
        elif kind == 4:
            out[at:at] = out[at : at + chance.randint(1, 8)]
        else:
            out[header:] = chance.randbytes(chance.randint(0, 60))
    return bytes(out)


class CountingDecoder(MotionDecoder):
    """Counts the messages whose payload is decoded, and can be copied as it stands."""

    payloads = 0

    def _decode_frames(
        self, message: MotionMessage, coder: RangeDecoder, reference: FrameState | None
    ) -> list[FrameState]:
        CountingDecoder.payloads += 1
        return super()._decode_frames(message, coder, reference)

    def copied(self) -> CountingDecoder:
        """A decoder in the same state; frames are immutable and shared."""
        other = copy.copy(self)
        other._history = copy.copy(self._history)
        other._history._frames = self._history._frames.copy()
        other._retired = self._retired.copy()
        return other


def test_noise_never_harms_a_decoder_that_lives_on() -> None:
    """All mutations into one decoder, which they make lose its stream; an encoder that starts afresh is understood."""
    statistics, originals, _ = traffic()
    decoder = MotionDecoder(statistics)
    chance = random.Random(3)
    for _ in range(20_000):
        with contextlib.suppress(BitstreamError):
            decoder.decode(mutate(chance.choice(originals), chance))
    fresh = MotionEncoder(statistics, epoch=4242)
    for index, vector in enumerate(walk(3, K)):
        (frame,) = decoder.decode(fresh.encode(vector, index * 40) or b"")
        np.testing.assert_array_equal(frame.vector, fresh.reconstructed)
        fresh.on_acknowledgement(decoder.acknowledgement() or b"")


def traffic() -> tuple[MotionStatistics, list[bytes], list[CountingDecoder]]:
    """A call's messages (bundled, repeating, acknowledged), and the decoder as it stood before each of them."""
    statistics = MotionStatistics.fit([walk(60, K)], [25.0])
    encoder = MotionEncoder(statistics, Rate(frames_per_message=2, repeat=1), epoch=1)
    decoder = CountingDecoder(statistics)
    originals, before = [], []
    for index, vector in enumerate(walk(120, K, 9)):
        message = encoder.encode(vector, index * 40)
        if message is not None:
            originals.append(message)
            before.append(decoder.copied())
            decoder.decode(message)
            encoder.on_acknowledgement(decoder.acknowledgement() or b"")
    return statistics, originals, before


@pytest.mark.slow
def test_mutated_messages() -> None:
    """Each mutation meets a decoder that holds what the original needs, so most of them reach the entropy decoder."""
    statistics, originals, before = traffic()
    CountingDecoder.payloads = 0
    chance = random.Random(1)
    errors = accepted = 0
    for _ in range(MUTATIONS):
        index = chance.randrange(len(originals))
        decoder = before[index].copied()
        answer = decoder.acknowledgement()
        try:
            frames = decoder.decode(mutate(originals[index], chance))
        except BitstreamError:
            errors += 1
            assert decoder.acknowledgement() == answer
            continue
        accepted += bool(frames)
        assert len(frames) <= MAX_FRAMES
        for frame in frames:
            assert frame.vector.shape == (statistics.size,)
            assert np.isfinite(frame.vector).all()
    # Without these the test could pass by having everything refused at the door.
    assert CountingDecoder.payloads > MUTATIONS // 2
    assert errors > MUTATIONS // 20
    assert accepted > MUTATIONS // 20


def test_noise_as_acknowledgement() -> None:
    encoder = MotionEncoder(MotionStatistics.default(K), epoch=0x1300)
    encoder.encode(np.zeros(encoder.statistics.size), 0)
    chance = random.Random(2)
    for _ in range(20_000):
        data = chance.choice([b"\x42", b"\x43", b""]) + chance.randbytes(chance.choice([3, 4, 8, 9]))
        try:
            encoder.on_acknowledgement(data)
        except BitstreamError:
            continue
    message = encoder.encode(np.zeros(encoder.statistics.size), 40)
    assert MotionMessage.parse(message or b"").sequence == 1


def test_damage_leaves_the_state_as_it_was() -> None:
    """A damaged message that raises changes neither history nor acknowledgement."""
    statistics = MotionStatistics.default(K)
    encoder, decoder = MotionEncoder(statistics, epoch=1), MotionDecoder(statistics)
    decoder.decode(encoder.encode(walk(1, K)[0], 0) or b"")
    before = decoder.acknowledgement()
    message = MotionEncoder(statistics, epoch=2).encode(walk(1, K, 3)[0], 0) or b""
    with pytest.raises(BitstreamError):
        decoder.decode(message + bytes(40) + b"\x01")
    assert decoder.acknowledgement() == before
    encoder.on_acknowledgement(before or b"")
    assert len(decoder.decode(encoder.encode(walk(2, K)[1], 40) or b"")) == 1
