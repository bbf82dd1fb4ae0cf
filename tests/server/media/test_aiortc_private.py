"""What visavis relies on in aiortc beyond its public interface, against the version that requirements.txt pins."""

from __future__ import annotations

import asyncio
import inspect
import time
from typing import Any

import aiortc
import pytest
from aiortc import RTCRtpReceiver, RTCRtpSender, codecs
from aiortc.rtcsctptransport import ForwardTsnChunk
from aiortc.rtp import (
    RTCP_PSFB_APP,
    RTCP_PSFB_FIR,
    RTCP_PSFB_PLI,
    RtcpByePacket,
    RtcpPsfbPacket,
    RtcpReceiverInfo,
    RtcpRrPacket,
    RtcpSenderInfo,
    RtcpSrPacket,
    RtpPacket,
    pack_remb_fci,
)

from server.media.aiortc_private import PacketOutlet, close_peer, rtp_timestamp
from server.media.aiortc_transport_private import pace_forward_tsn
from server.media.broadcast import Broadcast, BroadcastSettings
from server.media.pacer import Pacer
from tests.server.fakes import FakeClock
from tests.server.loopback import connect, nothing_leaks, peers
from tests.server.media.test_fanout import feed


def test_version() -> None:
    assert aiortc.__version__.startswith("1.16."), "read server/media/aiortc_private.py again"


@pytest.mark.asyncio
async def test_forward_tsn_goes_at_most_once_a_round_trip() -> None:
    async with nothing_leaks(), peers() as (peer, _):
        peer.createDataChannel("motion", ordered=False, maxRetransmits=0)
        association: Any = peer.sctp
        association._srtt = 0.1
        sent: list[ForwardTsnChunk] = []

        async def send(chunk: ForwardTsnChunk) -> None:
            sent.append(chunk)

        association._send_chunk = send
        clock = FakeClock()
        pace_forward_tsn(peer, clock)
        for _ in range(50):  # as many SACKs in half a second, each of which makes one
            association._forward_tsn_chunk = ForwardTsnChunk()
            await association._transmit()
            clock.now += 0.01
        assert len(sent) == 5
        assert association._t3_handle is not None, "what was held back is not forgotten"
        association._t3_cancel()


@pytest.mark.asyncio
async def test_loss_that_is_reported_is_told() -> None:
    async with nothing_leaks(), peers() as (peer, _):
        sender: RTCRtpSender = peer.addTransceiver("audio", direction="sendonly").sender
        shares: list[float] = []
        PacketOutlet(sender, time.monotonic, on_loss=shares.append)
        reports = [
            RtcpReceiverInfo(ssrc, fraction, packets_lost=1, highest_sequence=1, jitter=0, lsr=0, dlsr=0)
            for ssrc, fraction in ((sender._ssrc, 64), (sender._ssrc + 1, 128))
        ]
        await sender._handle_rtcp_packet(RtcpRrPacket(ssrc=1, reports=reports))
        assert shares == [0.25]


@pytest.mark.asyncio
async def test_feedback_is_routed() -> None:
    async with nothing_leaks(), peers() as (peer, _):
        sender: RTCRtpSender = peer.addTransceiver("video", direction="sendonly").sender
        keyframes: list[bool] = []
        rates: list[int] = []
        PacketOutlet(sender, time.monotonic, lambda: keyframes.append(True), rates.append)
        handle = sender._handle_rtcp_packet
        await handle(RtcpPsfbPacket(fmt=RTCP_PSFB_PLI, ssrc=1, media_ssrc=sender._ssrc))
        await handle(RtcpPsfbPacket(fmt=RTCP_PSFB_FIR, ssrc=1, media_ssrc=sender._ssrc))
        assert len(keyframes) == 2
        for ssrc, fci in (
            (sender._ssrc, pack_remb_fci(512_000, [sender._ssrc])),
            (0, pack_remb_fci(256_000, [1234])),
            (0, b"XXXX"),
        ):
            await handle(RtcpPsfbPacket(fmt=RTCP_PSFB_APP, ssrc=1, media_ssrc=ssrc, fci=fci))
        assert rates == [512_000]


class _PausedPacer(Pacer):
    """Always pauses."""

    def pauses(self, now: float) -> bool:
        return True


@pytest.mark.asyncio
async def test_in_a_pause_nothing_is_sent_again_and_no_estimate_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    async with nothing_leaks(), peers() as (peer, _):
        sender: RTCRtpSender = peer.addTransceiver("video", direction="sendonly").sender
        rates: list[int] = []
        outlet = PacketOutlet(sender, FakeClock(), on_bitrate=rates.append)
        outlet._pacer, outlet._encoding = _PausedPacer(), True
        fci = pack_remb_fci(70_000, [sender._ssrc])
        await sender._handle_rtcp_packet(RtcpPsfbPacket(fmt=RTCP_PSFB_APP, ssrc=1, media_ssrc=sender._ssrc, fci=fci))
        assert rates == [], "what is estimated while nothing is sent says nothing"
        outlet._history[7] = RtpPacket(sequence_number=7, payload=b"lost")
        monkeypatch.setattr(sender.transport, "_send_rtp", _never)
        await outlet._retransmit(7)
        outlet._encoding = False
        await sender._handle_rtcp_packet(RtcpPsfbPacket(fmt=RTCP_PSFB_APP, ssrc=1, media_ssrc=sender._ssrc, fci=fci))
        assert rates == [70_000], "a camera's packets do not pause"


async def _never(data: bytes) -> None:
    raise AssertionError("nothing is sent in a pause")


@pytest.mark.asyncio
async def test_sender_reports_come_as_rarely_as_asked() -> None:
    async with nothing_leaks(), peers() as (peer, _):
        sender: RTCRtpSender = peer.addTransceiver("audio", direction="sendonly").sender
        sent: list[Any] = []

        async def send(packets: list[Any]) -> None:
            sent.extend(packets)

        sender._send_rtcp = send  # type: ignore[method-assign]
        clock = FakeClock()
        PacketOutlet(sender, clock, reports_every=5.0)
        report = RtcpSrPacket(ssrc=1, sender_info=RtcpSenderInfo(0, 0, 0, 0))
        for _ in range(11):
            await sender._send_rtcp([report])
            clock.now += 1.0
        assert len(sent) == 3, "at 0, 5 and 10 s"
        goodbye = RtcpByePacket(sources=[1])
        await sender._send_rtcp([goodbye])
        assert sent[-1] is goodbye


def test_what_is_replaced_is_there() -> None:
    for name in (
        "receive",
        "stop",
        "_handle_rtp_packet",
        "_run_rtcp",
        "_send_rtcp_pli",
        "_send_rtcp_nack",
        "_send_rtcp",
    ):
        assert callable(getattr(RTCRtpReceiver, name))
    assert callable(RTCRtpSender._send_rtcp)
    for name in ("send", "stop", "_run_rtp", "_retransmit", "_send_keyframe", "_handle_rtcp_packet"):
        assert callable(getattr(RTCRtpSender, name))
    assert "ECDHE-ECDSA" in inspect.getsource(aiortc.RTCCertificate._create_ssl_context)


def test_profiles_of_others_are_known_and_payload_types_unique() -> None:
    known = codecs.CODECS["video"] + codecs.CODECS["audio"]
    types = [codec.payloadType for codec in known]
    assert len(types) == len(set(types))
    profiles = {str(codec.parameters.get("profile-level-id"))[:4] for codec in known if codec.name == "H264"}
    assert {"42e0", "4200", "4d00", "6400", "640c"} <= profiles


@pytest.mark.e2e
@pytest.mark.asyncio
@pytest.mark.parametrize("codec", ["VP8", "H264"])
async def test_packets_reach_a_decoder_and_keyframe_requests_come_back(codec: Any) -> None:
    """Encoded packets go through a real sender; the other end decodes them and asks for a keyframe."""
    async with nothing_leaks(60), peers() as (viewer, server):
        broadcast = Broadcast(BroadcastSettings(keyframe_spacing=0.0))
        track = broadcast.add("v", codec, 0, lambda: None)
        viewer.addTransceiver("video", direction="recvonly")
        transceiver = server.addTransceiver(track, direction="sendonly")
        capabilities = RTCRtpSender.getCapabilities("video").codecs
        transceiver.setCodecPreferences([c for c in capabilities if c.mimeType == f"video/{codec}"])
        requests: list[bool] = []

        def requested() -> None:
            requests.append(True)
            broadcast.request_keyframe("v")

        PacketOutlet(transceiver.sender, time.monotonic, requested, lambda rate: broadcast.estimate("v", rate))
        told: list[int] = []
        track.on_sent = lambda _frame: told.append(rtp_timestamp(transceiver.sender))
        arrived: set[int] = set()
        _watch_packets(viewer.getReceivers()[0], arrived)
        remote: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        viewer.on("track", remote.set_result)
        feeding = asyncio.create_task(feed(broadcast))
        await connect(viewer, server)
        received = await remote
        frames = [await asyncio.wait_for(received.recv(), 20) for _ in range(5)]
        assert (frames[0].width, frames[0].height) == (64, 64)
        before = broadcast.counters.keyframes
        receiver = viewer.getReceivers()[0]
        await receiver._send_rtcp_pli(transceiver.sender._ssrc)
        while broadcast.counters.keyframes == before:
            await received.recv()
        assert requests
        assert len(told) > 5
        assert len(set(told)) == len(told), "each picture has its own"
        assert arrived <= {*told, rtp_timestamp(transceiver.sender)}, "and it is what the other end sees"
        feeding.cancel()
        await broadcast.close()


def _watch_packets(receiver: RTCRtpReceiver, timestamps: set[int]) -> None:
    """Note the timestamps of the packets that arrive; retransmissions repeat theirs (RFC 4588, section 4)."""
    handle = receiver._handle_rtp_packet

    async def noted(packet: RtpPacket, arrival_time_ms: int) -> None:
        timestamps.add(packet.timestamp)
        await handle(packet, arrival_time_ms)

    receiver._handle_rtp_packet = noted  # type: ignore[method-assign]


class _Connecting:
    """A peer whose connecting task misses the first cancellation, as `asyncio.wait_for` may before Python 3.12."""

    def __init__(self) -> None:
        self.closed = self.missed = False

    async def connect(self) -> None:
        while True:
            try:
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                if self.missed:
                    raise
                self.missed = True

    connect.__qualname__ = "RTCPeerConnection.__connect"

    async def close(self) -> None:
        self.closed = True


@pytest.mark.asyncio
async def test_a_handshake_that_missed_its_cancellation_is_ended_all_the_same() -> None:
    async with asyncio.timeout(20):
        peer: Any = _Connecting()
        connecting = asyncio.create_task(peer.connect())
        await asyncio.sleep(0)
        await close_peer(peer)
        assert connecting.done()
        assert peer.missed
        assert peer.closed
