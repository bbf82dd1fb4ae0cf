"""Motion behind the voice: golden bytes, what is refused, and a real connection there and back."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aiortc import MediaStreamTrack, RTCRtpHeaderExtensionParameters
from aiortc.rtp import RtcpPacket, RtcpPsfbPacket, RtpPacket

from model.errors import BitstreamError
from server.media.aiortc_private import PacketOutlet, inlet_of
from server.media.media_packet import MediaPacket
from server.media.trailer_extension import ExtensionsMap, answer_packet, mark_trailer, split_trailer
from server.wire.voice_trailer import (
    EXTENSION_URI,
    MAX_TRAILER,
    PAYLOAD_ATTRIBUTE,
    cut_marked,
    cut_trailer,
    pack_answer,
    unpack_answer,
)
from tests.server.fakes import until
from tests.server.loopback import connect, nothing_leaks, peers

VECTORS: dict[str, Any] = json.loads((Path(__file__).parents[2] / "vectors" / "voice_trailer.json").read_text())


class Parameters:
    """What is negotiated: the names of media, and the trailer's."""

    def __init__(self, number: int = 5) -> None:
        self.headerExtensions = [
            RTCRtpHeaderExtensionParameters(id=1, uri="urn:ietf:params:rtp-hdrext:sdes:mid"),
            RTCRtpHeaderExtensionParameters(id=number, uri=EXTENSION_URI),
        ]


def extensions() -> ExtensionsMap:
    table = ExtensionsMap()
    table.configure(Parameters())
    return table


def test_golden_packets() -> None:
    assert VECTORS["uri"] == EXTENSION_URI
    for case in VECTORS["packets"]:
        payload, trailer = bytes.fromhex(case["opus"]), bytes.fromhex(case["trailer"])
        packet = RtpPacket(
            case["payload_type"], 0, case["sequence"], case["timestamp"], case["ssrc"], payload + trailer
        )
        packet.extensions.mid = case["mid"]
        mark_trailer(packet.extensions, len(trailer))
        assert packet.serialize(extensions()).hex() == case["rtp"], case["name"]
        parsed = RtpPacket.parse(bytes.fromhex(case["rtp"]), extensions())
        assert split_trailer(parsed) == (payload, trailer), case["name"]


def test_golden_answers() -> None:
    for case in VECTORS["answers"]:
        answer = bytes.fromhex(case["answer"])
        assert bytes(answer_packet(case["ssrc"], case["media_ssrc"], answer)).hex() == case["rtcp"], case["name"]
        (parsed,) = RtcpPacket.parse(bytes.fromhex(case["rtcp"]))
        assert isinstance(parsed, RtcpPsfbPacket)
        assert unpack_answer(parsed.fci) == answer


def test_golden_payloads_that_mark_themselves() -> None:
    assert VECTORS["payload_attribute"] == PAYLOAD_ATTRIBUTE
    for case in VECTORS["payloads"]:
        expected = bytes.fromhex(case["opus"]), bytes.fromhex(case["trailer"])
        assert cut_marked(bytes.fromhex(case["payload"])) == expected, case["name"]


def test_without_the_extension_a_packet_is_read_as_ever() -> None:
    """A length that was not negotiated means nothing: the number may be somebody else's extension."""
    table = ExtensionsMap()
    packet = RtpPacket.parse(bytes.fromhex(VECTORS["packets"][0]["rtp"]), table)
    assert split_trailer(packet)[1] == b""


@pytest.mark.parametrize("length", [2, 3, 16])
def test_a_length_of_more_than_one_byte_is_refused(length: int) -> None:
    header = bytes.fromhex("9060000100000001000000020000")[:12]
    value = bytes([5 << 4 | (length - 1)]) + bytes(length)
    value += bytes(-len(value) % 4)
    data = header + b"\xbe\xde" + (len(value) // 4).to_bytes(2, "big") + value + b"opus"
    with pytest.raises(ValueError, match="one byte"):
        RtpPacket.parse(data, extensions())


def test_what_cannot_be_a_trailer_or_an_answer_is_refused() -> None:
    assert cut_trailer(b"opusmotion", 6) == (b"opus", b"motion")
    assert cut_trailer(b"motion", 6) == (b"", b"motion")
    with pytest.raises(BitstreamError):
        cut_trailer(b"opus", 5)
    for short in (b"", b"\x01", b"opus\x05"):
        with pytest.raises(BitstreamError):
            cut_marked(short)
    for length in (0, 256):
        with pytest.raises(ValueError, match="bytes"):
            pack_answer(bytes(length))
    for length in (1, 3, 5, 9, 255):
        answer = random.Random(length).randbytes(length)
        assert unpack_answer(pack_answer(answer)) == answer
    assert unpack_answer(b"REMB\x01\x00\x00\x00") is None
    good = pack_answer(b"acknowledged")
    for bad in (good[:4], good[:-4], good + bytes(4), good[:4] + b"\x00" + good[5:]):
        with pytest.raises(BitstreamError):
            unpack_answer(bad)


def test_thousands_of_mutated_packets_end_in_typed_errors() -> None:
    table, chance = extensions(), random.Random(7)
    good = [bytes.fromhex(case["rtp"]) for case in VECTORS["packets"]]
    for _ in range(5000):
        data = bytearray(chance.choice(good))
        for _ in range(chance.randint(1, 4)):
            data[chance.randrange(len(data))] = chance.randrange(256)
        try:
            payload, trailer = split_trailer(RtpPacket.parse(bytes(data[: chance.randint(12, len(data))]), table))
        except (ValueError, BitstreamError):
            continue
        assert len(payload) + len(trailer) <= len(data)


class Voice(MediaStreamTrack):
    """Packets with what stands behind them, one each 5 ms."""

    kind = "audio"

    def __init__(self, packets: Iterator[MediaPacket]) -> None:
        super().__init__()
        self._packets = packets

    async def recv(self) -> Any:
        await asyncio.sleep(0.005)
        return next(self._packets)


@pytest.mark.asyncio
async def test_a_page_marks_its_payloads_itself() -> None:
    payloads = [b"voice\x00", b"voicemotion\x06", b"short\x09", b"motion\x06"]
    packets = (MediaPacket(payloads[n % 4], n % 65_536, 2880 * n) for n in range(100_000))
    heard: list[bytes] = []
    trailers: list[bytes] = []
    async with nothing_leaks(), peers() as (sending, receiving):

        def attach(track: MediaStreamTrack) -> None:
            source = inlet_of(receiving, track, time.monotonic, marked=True)
            assert not source.reads_answers
            source.on_packet, source.on_trailer = lambda packet: heard.append(packet.payload), trailers.append

        receiving.on("track", attach)
        sender = sending.addTransceiver(Voice(packets), direction="sendonly").sender
        PacketOutlet(sender, time.monotonic)
        await connect(sending, receiving)
        await until(lambda: len(trailers) >= 20)
    assert set(heard) == {b"voice"}
    assert set(trailers) == {b"motion"}


@pytest.mark.asyncio
async def test_a_connection_carries_motion_there_and_answers_back() -> None:
    longest = bytes(range(255))
    assert len(longest) == MAX_TRAILER

    def packets() -> Iterator[MediaPacket]:
        for n in range(100_000):
            trailer = (b"", b"motion", longest)[n % 3]
            yield MediaPacket(b"voice" if n % 4 else b"\x48", n % 65_536, 2880 * n, trailer=trailer)

    heard: list[MediaPacket] = []
    trailers: list[bytes] = []
    answers: list[bytes] = []
    async with nothing_leaks(), peers() as (sending, receiving):

        def attach(track: MediaStreamTrack) -> None:
            source = inlet_of(receiving, track, time.monotonic)
            source.answer_trailer(b"too early")

            def take(trailer: bytes) -> None:
                trailers.append(trailer)
                source.answer_trailer(trailer[:9])

            source.on_packet, source.on_trailer = heard.append, take

        receiving.on("track", attach)
        sender = sending.addTransceiver(Voice(packets()), direction="sendonly").sender
        PacketOutlet(sender, time.monotonic, on_answer=answers.append, reports_every=5.0)
        await connect(sending, receiving)
        await until(lambda: len(answers) >= 20)
        assert EXTENSION_URI in sending.remoteDescription.sdp
    assert {packet.payload for packet in heard} == {b"voice", b"\x48"}, "viewers get the voice alone"
    assert set(trailers) == {b"motion", longest}
    assert set(answers) == {b"motion", longest[:9]}
