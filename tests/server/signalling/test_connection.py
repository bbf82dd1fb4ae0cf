"""Offers: what browsers send is answered, what nobody should send is a typed error, and everything closes once."""

from __future__ import annotations

import asyncio
import random
import time

import pytest
from aiortc import MediaStreamTrack, RTCPeerConnection

from model.errors import VisavisError
from server.errors import SdpError, TooLargeError, UnsupportedMediaError
from server.media.aiortc_private import PacketOutlet, close_peer, inlet_of
from server.media.audio_relay import AudioRelay
from server.media.media_packet import MediaPacket
from server.signalling.connection import Connection, Outcome
from server.signalling.offer import choose_codec, parse_offer
from server.wire.voice_trailer import PAYLOAD_ATTRIBUTE
from tests.server.fakes import FakeSource
from tests.server.signalling import GreyVideo, accept, assert_released, connected, offer, peer_connection, resources


async def make_offer(video: str | None = "recvonly", audio: str | None = "recvonly", data: bool = False) -> str:
    peer = peer_connection()
    if audio:
        peer.addTransceiver("audio", direction=audio)
    if video:
        peer.addTransceiver("video", direction=video)
    if data:
        peer.createDataChannel("motion", ordered=False, maxRetransmits=0)
    sdp = await offer(peer)
    await peer.close()
    return sdp


@pytest.mark.asyncio
async def test_offer_is_understood() -> None:
    async with asyncio.timeout(20):
        watching = parse_offer(await make_offer())
        assert (watching.has_audio, watching.has_video, watching.has_data, watching.sends) == (True, True, False, ())
        assert watching.video_codecs == {"VP8", "H264"}
        motion = parse_offer(await make_offer(video=None, audio="sendonly", data=True))
        assert (motion.has_audio, motion.has_video, motion.has_data, motion.sends) == (True, False, True, ("audio",))


@pytest.mark.asyncio
async def test_marked_payloads_are_negotiated_in_the_audio_section() -> None:
    async with asyncio.timeout(20):
        mark = f"a={PAYLOAD_ATTRIBUTE}\r\n"
        plain = await make_offer(video=None, audio="sendonly", data=True)
        assert not parse_offer(plain).marked_payloads
        assert not parse_offer(plain + mark).marked_payloads, "of the data channels"
        assert not parse_offer(plain.replace("m=audio", mark + "m=audio", 1)).marked_payloads, "of the session"
        marked = plain.replace("m=application", mark + "m=application", 1)
        assert parse_offer(marked).marked_payloads
        for sdp, reads, times in ((plain, True, 0), (marked, True, 1), (marked, False, 0)):
            connection = Connection(connect_seconds=5.0)
            if reads:
                connection.on_source(lambda _source: None)
            answer = await connection.answer(parse_offer(sdp))
            await connection.close()
            assert answer.count(mark) == times
            assert parse_offer(answer).marked_payloads == bool(times)


@pytest.mark.asyncio
async def test_codec_choice() -> None:
    async with asyncio.timeout(20):
        sdp = await make_offer()
        assert choose_codec(parse_offer(sdp), ("VP8", "H264")) == "VP8"
        assert choose_codec(parse_offer(sdp), ("H264", "VP8")) == "H264"
        assert choose_codec(parse_offer(sdp), ("VP8",), "H264") == "H264"
        with pytest.raises(UnsupportedMediaError):
            choose_codec(parse_offer(sdp.replace("VP8", "AV1").replace("H264", "AV1")), ("VP8",))


@pytest.mark.asyncio
async def test_mdns_candidates_are_left_to_ice() -> None:
    async with asyncio.timeout(20):
        sdp = await make_offer()
        hidden = parse_offer(
            sdp.replace("a=end-of-candidates", "a=candidate:1 1 udp 1 0f-1a.local 5000 typ host\r\na=end-of-candidates")
        )
        assert ".local" not in hidden.sdp
        assert "end-of-candidates" not in hidden.sdp


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("a=ice-ufrag:", "a=x-ufrag:", "ice-ufrag"),
        ("a=fingerprint:", "a=x-fingerprint:", "fingerprint"),
        ("m=video", "m=text", "media sections are"),
        ("m=audio", "m=", "cannot be parsed"),
        ("a=setup:actpass", "a=setup:nonsense", "cannot be parsed"),
        ("a=rtpmap:", "a=rtpmap:x", "cannot be parsed"),
    ],
)
async def test_malformed_offers(old: str, new: str, words: str) -> None:
    async with asyncio.timeout(20):
        with pytest.raises(SdpError, match=words):
            parse_offer((await make_offer()).replace(old, new))


@pytest.mark.parametrize("sdp", ["", "x", "v=0", "\0" * 100, "m=audio", "v=0\r\nm=audio 9 RTP/AVP 999\r\n"])
def test_no_offers(sdp: str) -> None:
    with pytest.raises(SdpError):
        parse_offer(sdp)


@pytest.mark.asyncio
async def test_bounds() -> None:
    async with asyncio.timeout(20):
        sdp = await make_offer()
        with pytest.raises(TooLargeError):
            parse_offer(sdp + "a=x\r\n" * 20_000)
        with pytest.raises(SdpError, match="candidates"):
            parse_offer(sdp + "".join(f"a=candidate:1 1 udp 1 10.0.0.1 {port} typ host\r\n" for port in range(1, 70)))
        section = sdp[sdp.index("m=video") :]
        with pytest.raises(SdpError, match="media sections"):
            parse_offer(sdp + section * 8)


@pytest.mark.asyncio
async def test_mutated_offers_are_answered_or_refused_and_leave_nothing() -> None:
    """Lines dropped, doubled and damaged: a typed error or an answer, and no socket, task or thread stays."""
    async with asyncio.timeout(60):
        dice = random.Random(7)
        lines = (await make_offer(data=True)).splitlines()
        before = resources()
        refused = 0
        for _ in range(60):
            mutated = list(lines)
            for _ in range(dice.randint(1, 4)):
                place = dice.randrange(len(mutated))
                match dice.randrange(4):
                    case 0:
                        del mutated[place]
                    case 1:
                        mutated.insert(place, dice.choice(lines))
                    case 2:
                        mutated[place] = mutated[place][: dice.randrange(len(mutated[place]) + 1)]
                    case _:
                        mutated[place] = mutated[place].replace(dice.choice("019aev=:"), dice.choice("079xz /"))
            connection = Connection(connect_seconds=5.0)
            try:
                await connection.answer(parse_offer("\r\n".join(mutated) + "\r\n"))
            except VisavisError:
                refused += 1
            await connection.close()
        assert 0 < refused < 60
        await assert_released(before)


async def answered(connection: Connection, client: RTCPeerConnection) -> None:
    await accept(client, await connection.answer(parse_offer(await offer(client))))


@pytest.mark.asyncio
async def test_closing_is_idempotent_and_told_once() -> None:
    async with asyncio.timeout(30):
        before = resources()
        outcomes: list[Outcome] = []
        connection = Connection(connect_seconds=10.0, on_end=outcomes.append)
        track = GreyVideo()
        connection.send_track(track, "VP8")
        client = peer_connection()
        client.addTransceiver("video", direction="recvonly")
        await answered(connection, client)
        await connected(client)
        await asyncio.gather(*(connection.close() for _ in range(3)))
        await connection.close()
        assert outcomes == ["closed"]
        assert connection.state == "closed"
        track.stop()
        await client.close()
        await assert_released(before)


@pytest.mark.slow
@pytest.mark.asyncio
async def test_closing_at_any_moment_of_connecting_leaves_nothing() -> None:
    async with asyncio.timeout(60):
        before = resources()
        for step in range(24):
            connection = Connection(connect_seconds=10.0)
            client = peer_connection()
            client.addTransceiver("audio", direction="sendonly")
            client.createDataChannel("motion")
            await answered(connection, client)
            for _ in range(step * step):
                await asyncio.sleep(0)
            if step % 2:
                await asyncio.sleep(0.004 * step)
            await asyncio.gather(connection.close(), close_peer(client))
        await assert_released(before)


@pytest.mark.asyncio
async def test_closing_at_any_moment_of_answering_leaves_nothing() -> None:
    async with asyncio.timeout(60):
        wanted = parse_offer(await make_offer(video="sendonly"))
        before = resources()
        for step in range(24):
            connection = Connection(connect_seconds=10.0)
            answering = asyncio.create_task(connection.answer(wanted))
            for _ in range(step):
                await asyncio.sleep(0)
            await connection.close()
            outcome = (await asyncio.gather(answering, return_exceptions=True))[0]
            assert isinstance(outcome, str | SdpError)
        await assert_released(before)


@pytest.mark.asyncio
async def test_client_that_never_connects_times_out() -> None:
    async with asyncio.timeout(30):
        before = resources()
        ended = asyncio.get_running_loop().create_future()
        connection = Connection(connect_seconds=0.2, on_end=ended.set_result)
        await connection.answer(parse_offer(await make_offer(video="sendonly")))
        assert await ended == "timeout"
        await connection.close()
        await assert_released(before)


@pytest.mark.asyncio
async def test_public_address_stands_in_the_answer() -> None:
    async with asyncio.timeout(20):
        connection = Connection(connect_seconds=5.0, public_address="203.0.113.7")
        answer = await connection.answer(parse_offer(await make_offer(video="sendonly")))
        await connection.close()
        hosts = [line.split()[4] for line in answer.splitlines() if "typ host" in line and ":" not in line.split()[4]]
        assert set(hosts) == {"203.0.113.7"}


@pytest.mark.asyncio
async def test_packets_as_long_as_others_send_them_are_sent_on() -> None:
    """GStreamer's have 1,400 bytes; pylibsrtp alone would take 1,356."""
    async with asyncio.timeout(30):
        before = resources()
        connection = Connection(connect_seconds=10.0)
        relay = AudioRelay(time.monotonic)
        source = FakeSource("audio")
        relay.attach(source)
        PacketOutlet(connection.send_track(relay.add()), time.monotonic)
        client = peer_connection()
        client.addTransceiver("audio", direction="recvonly")
        came: list[int] = []

        def watched(track: MediaStreamTrack) -> None:
            inlet_of(client, track, time.monotonic).on_packet = lambda packet: came.append(len(packet.payload))

        client.on("track", watched)
        await answered(connection, client)
        await connected(client)
        for number in range(1000):
            source.deliver(MediaPacket(bytes(1440), number, 960 * number, level=20))
            if came:
                break
            await asyncio.sleep(0.01)
        assert came[0] == 1440
        await connection.close()
        await client.close()
        await relay.close()
        await assert_released(before)
