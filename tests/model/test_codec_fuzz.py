"""Fuzz: 100,000 mutated messages give a typed error or a valid result, never a crash, a hang or a poisoned decoder."""

from __future__ import annotations

import random

import numpy as np
import pytest

from model.codec.packet import MotionMessage
from model.codec.rate import Rate
from model.codec.statistics import MotionStatistics
from model.codec.stream import MotionDecoder, MotionEncoder
from model.errors import BitstreamError
from tests.model.test_codec_statistics import walk

MUTATIONS = 100_000
K = 3


def mutate(data: bytes, chance: random.Random) -> bytes:
    """One to three of: flip a bit, set a byte, cut, append, repeat a stretch, swap header and payload ends."""
    out = bytearray(data)
    for _ in range(chance.randint(1, 3)):
        kind = chance.randrange(6)
        at = chance.randrange(len(out)) if out else 0
        if kind == 0 and out:
            out[at] ^= 1 << chance.randrange(8)
        elif kind == 1 and out:
            out[at] = chance.randrange(256)
        elif kind == 2:
            del out[at:]
        elif kind == 3:
            out += chance.randbytes(chance.randint(1, 20))
        elif kind == 4:
            out[at:at] = out[at : at + chance.randint(1, 8)]
        else:
            out[13:] = chance.randbytes(chance.randint(0, 60))
    return bytes(out)


@pytest.mark.slow
def test_mutated_messages() -> None:
    statistics = MotionStatistics.fit([walk(60, K)], [25.0])
    encoder = MotionEncoder(statistics, Rate(frames_per_message=2, repeat=1), epoch=1)
    decoder = MotionDecoder(statistics)
    motion = walk(400, K, 9)
    chance = random.Random(1)
    originals: list[bytes] = []
    for index, vector in enumerate(motion):
        message = encoder.encode(vector, index * 40)
        if message is None:
            continue
        originals.append(message)
        decoder.decode(message)
        encoder.on_acknowledgement(decoder.acknowledgement() or b"")
    errors = 0
    for _ in range(MUTATIONS):
        data = mutate(chance.choice(originals), chance)
        try:
            frames = decoder.decode(data)
        except BitstreamError:
            errors += 1
            continue
        assert len(frames) <= 32
        for frame in frames:
            assert frame.vector.shape == (statistics.size,)
            assert np.isfinite(frame.vector).all()
        answer = decoder.acknowledgement()
        if answer is not None:
            encoder.on_acknowledgement(answer)
    assert 0 < errors < MUTATIONS
    # After all that an encoder that starts afresh is understood at once.
    fresh = MotionEncoder(statistics, epoch=4242)
    message = fresh.encode(motion[0], 0)
    assert message is not None
    assert len(decoder.decode(message)) == 1
    np.testing.assert_array_equal(decoder.decode(fresh.encode(motion[1], 40) or b"")[0].vector, fresh.reconstructed)


def test_noise_as_acknowledgement() -> None:
    encoder = MotionEncoder(MotionStatistics.default(K), epoch=0x1300)
    encoder.encode(np.zeros(16), 0)
    chance = random.Random(2)
    for _ in range(20_000):
        data = chance.choice([b"\x12", b"\x13", b""]) + chance.randbytes(chance.choice([4, 8, 9]))
        try:
            encoder.on_acknowledgement(data)
        except BitstreamError:
            continue
    message = encoder.encode(np.zeros(16), 40)
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
