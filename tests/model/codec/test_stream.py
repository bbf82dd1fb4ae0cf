"""Encoder and decoder over channels that lose, reorder, repeat and restart: they never disagree about a frame."""

from __future__ import annotations

import json
from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from model.codec.chaining import ANSWERED, TRUSTED_AFTER, TRUSTED_AGAIN_AFTER
from model.codec.decoder import DecodedFrame, MotionDecoder
from model.codec.encoder import MotionEncoder
from model.codec.history import HISTORY
from model.codec.packet import MAX_MESSAGE_BYTES, Acknowledgement, MotionMessage, RefreshRequest, parse_message
from model.codec.rate import Rate
from model.codec.statistics import MotionStatistics
from model.errors import BitstreamError
from tests.model.codec.test_statistics import walk
from tests.model.motion_vectors import PATH, build

K = 4
STATISTICS = MotionStatistics.fit([walk(100, K, seed) for seed in range(3)], [25.0] * 3)


def test_golden_vectors() -> None:
    assert json.loads(PATH.read_text()) == json.loads(json.dumps(build()))


def check(sent: dict[int, np.ndarray[Any, Any]], frames: list[DecodedFrame]) -> None:
    """Each decoded frame is bit for bit what the encoder believes it is."""
    for frame in frames:
        np.testing.assert_array_equal(frame.vector, sent[frame.sequence])


class Channel:
    """A motion channel under the control of a test: what the encoder reconstructs against what the decoder gives."""

    def __init__(self, rate: Rate, motion_seed: int = 5) -> None:
        self.encoder = MotionEncoder(STATISTICS, rate, epoch=1)
        self.decoder = MotionDecoder(STATISTICS)
        self.motion = walk(400, K, motion_seed)
        self.sent: dict[int, np.ndarray[Any, Any]] = {}
        self.next = 0

    def encode(self) -> bytes | None:
        message = self.encoder.encode(self.motion[self.next % 400], self.next * 40)
        if message is not None:
            parsed = parse_message(message)
            assert isinstance(parsed, MotionMessage)
            assert len(message) <= MAX_MESSAGE_BYTES
        reconstructed = self.encoder.reconstructed
        assert reconstructed is not None
        self.sent[self.next & 0xFFFF] = reconstructed
        self.next += 1
        return message

    def deliver(self, message: bytes) -> list[DecodedFrame]:
        frames = self.decoder.decode(message)
        check(self.sent, frames)
        return frames

    def answer(self) -> None:
        answer = self.decoder.acknowledgement()
        if answer is not None:
            self.encoder.on_acknowledgement(answer)


actions = st.lists(
    st.tuples(
        st.sampled_from(["deliver", "deliver", "deliver", "lose", "hold", "twice"]),
        st.sampled_from(["silent", "answer", "late answer", "release"]),
        st.sampled_from([None, None, None, -8, 0, 3]),
    ),
    min_size=1,
    max_size=80,
)


@settings(max_examples=80, deadline=None)
@given(actions, st.integers(1, 5), st.integers(0, 4), st.randoms(use_true_random=False))
@example([("deliver", "answer", None)] * 28 + [("lose", "silent", None)], 1, 0, Random(0))
@example([("deliver", "answer", None)] * 29 + [("lose", "silent", None)], 1, 0, Random(0))
@example([("deliver", "answer", None)] * 29 + [("hold", "silent", None), ("deliver", "release", None)], 1, 0, Random(0))
def test_never_diverges(script: list[tuple[str, str, int | None]], bundle: int, repeat: int, random: Any) -> None:
    channel = Channel(Rate(frames_per_message=bundle, repeat=repeat))
    held: list[bytes] = []
    answers: list[bytes] = []
    for action, answer, step in script:
        if step is not None:
            channel.encoder.rate = Rate(step_index=step, frames_per_message=bundle, repeat=repeat)
        message = channel.encode()
        if message is not None:
            if action == "hold":
                held.append(message)
            elif action != "lose":
                for _ in range(2 if action == "twice" else 1):
                    channel.deliver(message)
        if answer == "answer":
            channel.answer()
        elif answer == "late answer" and (late := channel.decoder.acknowledgement()) is not None:
            answers.append(late)
        elif answer == "release":
            random.shuffle(held)
            for late in held:
                channel.deliver(late)
            for late in answers:
                channel.encoder.on_acknowledgement(late)
            held, answers = [], []
    # Whatever happened before, on a channel that works again every frame arrives, after at most one refresh and the
    # message that may have been predicted from a lost one.
    channel.answer()
    for rest in [channel.encoder.flush(), *(channel.encode() for _ in range(bundle))]:
        if rest is not None:
            channel.deliver(rest)
    channel.answer()
    messages = [m for m in (channel.encode() for _ in range(4 * bundle)) if m is not None]
    assert sum(len(channel.deliver(m)) for m in messages) >= 4 * bundle


def test_duplicates_are_dropped() -> None:
    channel = Channel(Rate())
    message = channel.encode()
    assert message is not None
    assert len(channel.deliver(message)) == 1
    assert channel.deliver(message) == []


def test_repeat_fills_the_gap_of_a_lost_message() -> None:
    channel = Channel(Rate(repeat=2))
    messages = [channel.encode() for _ in range(6)]
    got = [f.sequence for i in (0, 3, 5) if (m := messages[i]) for f in channel.deliver(m)]
    assert got == [0, 1, 2, 3, 4, 5]


def test_repeats_stop_at_what_is_acknowledged() -> None:
    channel = Channel(Rate(repeat=3))
    for _ in range(5):
        if (message := channel.encode()) is not None:
            channel.deliver(message)
    channel.answer()
    message = channel.encode()
    assert message is not None
    assert MotionMessage.parse(message).frames == 1
    assert MotionMessage.parse(message).reference == 1


def test_no_acknowledgement_no_reference() -> None:
    channel = Channel(Rate())
    assert all(MotionMessage.parse(channel.encode() or b"").reference == 0 for _ in range(5))


def test_reference_out_of_reach_is_given_up() -> None:
    channel = Channel(Rate())
    channel.deliver(channel.encode() or b"")
    channel.answer()
    references = [MotionMessage.parse(channel.encode() or b"").reference for _ in range(300)]
    assert references[ANSWERED:255] == list(range(ANSWERED + 1, 256))
    assert references[255:] == [0] * 45


def test_refresh_after_the_decoder_lost_its_state() -> None:
    channel = Channel(Rate())
    for _ in range(3):
        channel.deliver(channel.encode() or b"")
        channel.answer()
    channel.decoder = MotionDecoder(STATISTICS)
    assert channel.deliver(channel.encode() or b"") == []
    answer = channel.decoder.acknowledgement()
    assert answer == RefreshRequest(1, 3).serialize()
    channel.encoder.on_acknowledgement(answer)
    assert len(channel.deliver(channel.encode() or b"")) == 1
    assert channel.decoder.acknowledgement() == Acknowledgement(1, 4, 0).serialize()


def talk(channel: Channel, messages: int, lost: int | None = None) -> list[int]:
    """References of so many messages of one frame, each answered but the one that is `lost`."""
    references = []
    for number in range(messages):
        message = channel.encode() or b""
        references.append(MotionMessage.parse(message).reference)
        if number != lost:
            channel.deliver(message)
        if number % 5 == 4:
            channel.answer()
    return references


def test_on_a_line_that_loses_nothing_every_other_message_is_predicted_from_the_one_before() -> None:
    channel = Channel(Rate())
    assert 1 not in [r for i, r in enumerate(talk(channel, TRUSTED_AFTER)) if i % 5]
    references = talk(channel, 50)
    assert all(1 in pair for pair in zip(references[::2], references[1::2], strict=True))
    assert max(references) <= 7, "and those between from what is acknowledged"
    assert len(channel.decoder.decode(channel.encode() or b"")) == 1


def test_what_a_lost_message_breaks_ends_with_the_next_and_the_line_is_trusted_no_more() -> None:
    channel = Channel(Rate())
    talk(channel, TRUSTED_AFTER + 5)
    broken = 0
    for lost in range(2):  # a message that is chained, and one that is not
        before = channel.next
        talk(channel, 10, lost=lost)
        known = {number for number in range(before, channel.next) if channel.decoder.levels(number & 0xFFFF)}
        broken = max(broken, 10 - len(known))
        channel.answer()
        assert not any(r == 1 for i, r in enumerate(talk(channel, 100)) if i % 5), "from what is acknowledged alone"
        talk(channel, TRUSTED_AGAIN_AFTER)
    assert broken == 2


def test_a_decoder_that_lost_its_state_within_a_chain_gets_an_intra_frame_with_its_second_request() -> None:
    channel = Channel(Rate())
    talk(channel, TRUSTED_AFTER + 5)
    channel.decoder = MotionDecoder(STATISTICS)
    asked = 0
    while not channel.deliver(channel.encode() or b""):
        channel.answer()
        asked += 1
    assert 1 <= asked <= 2


def test_whoever_asks_for_an_intra_frame_gets_it_within_a_chain_and_the_line_stays_trusted() -> None:
    channel = Channel(Rate())
    talk(channel, TRUSTED_AFTER + 5)
    for _ in range(2):  # the newest frame's message is chained, or it is not
        channel.deliver(channel.encode() or b"")
        channel.encoder.on_acknowledgement(channel.decoder.intra_request() or b"")
        message = channel.encode() or b""
        assert MotionMessage.parse(message).reference == 0
        channel.deliver(message)
        channel.answer()
        assert 1 in talk(channel, 5)[1:]


def test_repeats_are_for_lines_that_lose_and_nothing_is_chained() -> None:
    channel = Channel(Rate(repeat=1))
    for _ in range(3):
        talk(channel, TRUSTED_AFTER)
    assert channel.encoder.chained == ()


def test_restarted_encoder_is_followed_and_stragglers_are_not() -> None:
    decoder = MotionDecoder(STATISTICS)
    old, new = (MotionEncoder(STATISTICS, epoch=epoch) for epoch in (7, 8))
    motion = walk(6, K)
    for index in range(3):
        decoder.decode(old.encode(motion[index], index * 40) or b"")
    straggler = old.encode(motion[3], 120) or b""
    assert [f.sequence for f in decoder.decode(new.encode(motion[4], 160) or b"")] == [0]
    assert decoder.decode(straggler) == []
    assert decoder.acknowledgement() == Acknowledgement(8, 0, 0).serialize()
    old.on_acknowledgement(decoder.acknowledgement() or b"")  # not for this encoder
    assert MotionMessage.parse(old.encode(motion[5], 200) or b"").reference == 0


def test_short_messages_are_told_apart_by_eight_bits_of_the_epoch() -> None:
    """Of an encoder that the decoder does not know, the next message must stand alone; of a retired one none counts."""
    decoder = MotionDecoder(STATISTICS)
    old, new, unknown = (MotionEncoder(STATISTICS, epoch=epoch) for epoch in (0x1207, 0x3408, 0x5609))
    motion = walk(6, K)
    for encoder in (unknown, old):
        first = encoder.encode(motion[0], 0) or b""
        encoder.on_acknowledgement(Acknowledgement(encoder.epoch, 0, 0).serialize())
        if encoder is old:
            decoder.decode(first)
    straggler, foreign = old.encode(motion[1], 40) or b"", unknown.encode(motion[1], 40) or b""
    assert MotionMessage.parse(straggler).short
    assert len(decoder.decode(new.encode(motion[2], 80) or b"")) == 1
    assert decoder.decode(straggler) == []
    assert decoder.acknowledgement() == Acknowledgement(0x3408, 0, 0).serialize()
    assert decoder.decode(foreign) == []
    assert decoder.acknowledgement() == RefreshRequest(0x09, 1).serialize()
    unknown.on_acknowledgement(decoder.acknowledgement() or b"")
    assert MotionMessage.parse(unknown.encode(motion[3], 120) or b"").reference == 0


def test_a_pause_of_minutes_is_sent_in_full() -> None:
    encoder, decoder = MotionEncoder(STATISTICS, epoch=1), MotionDecoder(STATISTICS)
    for capture_ms, short in ((0, False), (40, True), (65_575, True), (131_200, False)):
        message = encoder.encode(walk(1, K)[0], capture_ms) or b""
        assert MotionMessage.parse(message).short is short
        (frame,) = decoder.decode(message)
        assert frame.capture_ms == capture_ms
        encoder.on_acknowledgement(decoder.acknowledgement() or b"")


def test_step_and_source_are_told_when_they_change() -> None:
    encoder, decoder = MotionEncoder(STATISTICS, epoch=1), MotionDecoder(STATISTICS)
    told = []
    for index, (source, step) in enumerate([(0, 0), (0, 0), (3, 0), (3, 2), (3, 2), (0, -8)]):
        encoder.rate = Rate(step)
        message = encoder.encode(walk(1, K)[0], 40 * index, source) or b""
        (frame,) = decoder.decode(message)
        assert frame.source == source
        np.testing.assert_array_equal(frame.vector, encoder.reconstructed)
        encoder.on_acknowledgement(decoder.acknowledgement() or b"")
        parsed = MotionMessage.parse(message)
        told.append((parsed.source, parsed.step_index))
    assert told == [(0, 0), (None, None), (3, None), (None, 2), (None, None), (0, -8)]


def test_sequence_and_clock_wrap() -> None:
    """Sequence numbers wrap after 65,536 frames, the millisecond clock after 49 days: neither is an event."""
    channel = Channel(Rate(repeat=1))
    channel.encoder._next_sequence = 0xFFFF - 20  # a stream of 44 minutes would take long to make
    channel.next = 0xFFFF - 20
    received = []
    for index in range(60):
        message = channel.encode()
        if message is not None and index % 5:
            received += channel.deliver(message)
        channel.answer()
    assert [f.sequence for f in received] == [(0xFFFF - 20 + i) & 0xFFFF for i in range(60)]

    encoder, decoder = MotionEncoder(STATISTICS, epoch=3), MotionDecoder(STATISTICS)
    for index, vector in enumerate(walk(20, K)):
        capture_ms = 0xFFFFFFFF - 400 + index * 40
        (frame,) = decoder.decode(encoder.encode(vector, capture_ms) or b"")
        assert frame.capture_ms == capture_ms & 0xFFFFFFFF
        encoder.on_acknowledgement(decoder.acknowledgement() or b"")


def test_history_is_bounded() -> None:
    channel = Channel(Rate())
    for _ in range(HISTORY + 100):
        channel.deliver(channel.encode() or b"")
    assert channel.decoder.levels(0) is None
    assert channel.decoder.levels(channel.next - HISTORY) is not None
    assert channel.decoder.levels(channel.next - HISTORY - 1) is None


def test_loss_is_reported() -> None:
    channel = Channel(Rate())
    for index in range(100):
        message = channel.encode()
        if index % 4 != 1 and message is not None:
            channel.deliver(message)
    channel.answer()
    assert channel.encoder.loss == pytest.approx(0.25, abs=0.01)


def test_wild_motion_still_fits_a_message() -> None:
    """64 keypoints in noise a thousand times what the statistics expect: coarser, but never over the limit."""
    statistics = MotionStatistics.default(64)
    encoder = MotionEncoder(statistics, Rate(step_index=-24, frames_per_message=8, repeat=8), epoch=0)
    decoder = MotionDecoder(statistics)
    generator = np.random.default_rng(0)
    received, size = 0, statistics.size
    for index in range(40):
        message = encoder.encode(generator.normal(size=size) * 10.0 ** generator.uniform(-3, 5, size), index * 40)
        if message is not None:
            assert len(message) <= MAX_MESSAGE_BYTES
            received += len(decoder.decode(message))
            encoder.on_acknowledgement(decoder.acknowledgement() or b"")
    assert received >= 32


def test_new_source_starts_a_new_message() -> None:
    encoder = MotionEncoder(STATISTICS, Rate(frames_per_message=3), chain=True, epoch=0)
    decoder = MotionDecoder(STATISTICS)
    motion = walk(9, K)
    messages = [encoder.encode(v, i * 40, source=i // 4) for i, v in enumerate(motion)] + [encoder.flush()]
    frames = [f for m in messages if m is not None for f in decoder.decode(m)]
    assert [f.source for f in frames] == [0, 0, 0, 0, 1, 1, 1, 1, 2]
    assert [f.sequence for f in frames] == list(range(9))


def test_variable_frame_rate_keeps_its_times() -> None:
    times = [0, 1, 41, 42, 43, 500, 66_000, 140_000, 140_040]
    encoder = MotionEncoder(STATISTICS, Rate(frames_per_message=32), chain=True, epoch=0)
    decoder = MotionDecoder(STATISTICS)
    messages = [encoder.encode(v, ms) for v, ms in zip(walk(9, K), times, strict=True)] + [encoder.flush()]
    assert [f.capture_ms for m in messages if m is not None for f in decoder.decode(m)] == times


def test_unusable_vectors_are_refused() -> None:
    encoder = MotionEncoder(STATISTICS)
    for vector in (np.zeros(3), np.full(STATISTICS.size, np.nan), np.zeros((1, STATISTICS.size))):
        with pytest.raises(ValueError, match="finite scalars"):
            encoder.encode(vector, 0)
    with pytest.raises(ValueError, match="source index"):
        encoder.encode(np.zeros(STATISTICS.size), 0, source=256)


def test_a_motion_message_is_no_acknowledgement() -> None:
    encoder = MotionEncoder(STATISTICS)
    message = encoder.encode(np.zeros(STATISTICS.size), 0)
    with pytest.raises(BitstreamError):
        encoder.on_acknowledgement(message or b"")
