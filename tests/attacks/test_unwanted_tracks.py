"""Tracks that nobody asked for: refused in the offer, and what comes all the same is dropped as it arrives."""

from __future__ import annotations

import asyncio
import threading

import numpy as np
import pylibsrtp
import pytest
from aiortc import RTCPeerConnection
from aiortc.rtp import RtpPacket

from server.media.encoder import VideoEncoder
from server.media.srtp_sources import MAX_STREAMS, BoundedSession
from tests.attacks.live import EncodedVideo, live_call, of_codec
from tests.attacks.test_camera_backlog import vp8_frame
from tests.server.fakes import until
from tests.server.signalling import Silence, accept, connected, offer, peer_connection, running_call

SDP = {"Content-Type": "application/sdp"}


async def offer_of(*sections: tuple[str, str], data: bool = False) -> str:
    """An offer with these (kind, direction) sections."""
    peer = peer_connection()
    for kind, direction in sections:
        peer.addTransceiver(kind, direction=direction)
    if data:
        peer.createDataChannel("surprise")
    sdp = await offer(peer)
    await peer.close()
    return sdp


WATCH = (("video", "recvonly"), ("audio", "recvonly"))

STRANGE_VIEWERS = {
    "three more that send": ((*WATCH, ("video", "sendonly"), ("video", "sendonly"), ("audio", "sendonly")), False),
    "one that sends": ((("video", "sendonly"),), False),
    "two that receive": ((*WATCH, ("video", "recvonly")), False),
    "a data channel": (WATCH, True),
    "nothing": ((("video", "inactive"),), False),
}


@pytest.mark.asyncio
@pytest.mark.parametrize("case", STRANGE_VIEWERS)
async def test_a_viewer_offers_nothing_but_to_watch(case: str) -> None:
    """By WebSocket and by WHEP, also with a token that may not publish."""
    sections, data = STRANGE_VIEWERS[case]
    async with running_call() as call:
        camera = peer_connection()
        camera.addTransceiver("video", direction="sendonly")
        ada, me = await call.join("Ada")
        answer = await ada.request("publish", sdp=await offer(camera))
        assert answer["type"] == "ok"
        sdp = await offer_of(*sections, data=data)
        bob = await call.connect(call.token(publish=False))
        await bob.request("join", room="lobby", name="Bob")
        answer = await bob.request("subscribe", participant=me["participant"], sdp=sdp)
        assert (answer["type"], answer["code"]) == ("error", "sdp")
        watching = await call.client.post(
            f"/whep/lobby/{me['participant']}", data=sdp, headers=call.bearer(identity="v") | SDP
        )
        assert (watching.status, (await watching.json())["code"]) == (400, "sdp")
        assert len(call.parts.conference.subscriptions) == 0
        await camera.close()


@pytest.mark.asyncio
@pytest.mark.parametrize("kind", ["video", "audio"])
async def test_a_publisher_sends_one_track_of_a_kind(kind: str) -> None:
    async with running_call() as call:
        ada, _ = await call.join("Ada")
        sdp = await offer_of(*[(kind, "sendonly")] * 4)
        answer = await ada.request("publish", sdp=sdp)
        assert (answer["type"], answer["code"]) == ("error", "sdp")
        whip = await call.client.post("/whip/lobby", data=sdp, headers=call.bearer(identity="o") | SDP)
        assert whip.status == 400
        assert [p.name for p in call.parts.conference.rooms.roster("lobby")] == ["Ada"]


@pytest.mark.asyncio
async def test_a_viewer_that_sends_on_its_own_section_is_answered_that_nobody_listens() -> None:
    """`sendrecv` is what some players offer. What they send anyway finds no receiver."""
    async with asyncio.timeout(60), live_call() as (call, _):
        ada, me = await call.join("Ada")
        bob, _answer = await call.join("Bob")
        camera, viewer = peer_connection(), peer_connection()
        camera.addTransceiver("video", direction="sendonly")
        answer = await ada.request("publish", sdp=await offer(camera))
        await accept(camera, answer["sdp"])
        frame = vp8_frame(64, 64)
        viewer.addTransceiver(EncodedVideo([frame]), direction="sendrecv")
        answer = await bob.request("subscribe", participant=me["participant"], sdp=await offer(viewer))
        assert answer["type"] == "ok"
        assert "a=sendonly" in answer["sdp"]
        assert "a=sendrecv" not in answer["sdp"]
        await accept(viewer, answer["sdp"])
        await connected(viewer)
        (subscription,) = call.parts.conference.subscriptions.of_target(me["participant"])
        for receiver in subscription.connection.peer.getReceivers():
            assert not receiver._RTCRtpReceiver__started  # type: ignore[attr-defined]
        await camera.close()
        await viewer.close()


async def _established(peer: RTCPeerConnection, answer: dict[str, str]) -> None:
    await accept(peer, answer["sdp"])
    await connected(peer)


@pytest.mark.asyncio
async def test_a_camera_that_nobody_watches_is_neither_decoded_nor_kept() -> None:
    async with asyncio.timeout(60), live_call() as (call, publications):
        ada, me = await call.join("Ada")
        camera = peer_connection()
        frame = VideoEncoder("VP8", 300_000).encode(_grey(), 0, keyframe=True)
        assert frame is not None
        track = EncodedVideo([frame.data], 0.002)
        camera.addTransceiver(track, direction="sendonly").setCodecPreferences(of_codec("VP8"))
        camera.addTransceiver(Silence(), direction="sendonly")
        answer = await ada.request("publish", sdp=await offer(camera))
        await _established(camera, answer)
        publication = publications[me["participant"]]
        await until(lambda: publication.state == "live")
        sent = track.sent
        await until(lambda: track.sent > sent + 200)
        assert publication._camera._decoder.decoded == 0
        assert len(publication._camera._decoder._assembly._packets) == 0
        assert len(publication.audio._delayed.line) == 0
        names = [thread.name for thread in threading.enumerate()]
        assert not [name for name in names if name.endswith("-decoder") or name.startswith("video-decoder_")]
        await camera.close()


@pytest.mark.asyncio
async def test_a_camera_beside_motion_is_not_wanted() -> None:
    async with asyncio.timeout(60), live_call() as (call, publications):
        ada, me = await call.join("Ada")
        peer = peer_connection()
        track = EncodedVideo([vp8_frame(64, 64)], 0.005)
        motion = peer.createDataChannel("motion", ordered=False, maxRetransmits=0)
        peer.createDataChannel("control")
        peer.addTransceiver(track, direction="sendonly").setCodecPreferences(of_codec("VP8"))
        answer = await ada.request("publish", sdp=await offer(peer))
        await _established(peer, answer)
        await until(lambda: motion.readyState == "open")
        publication = publications[me["participant"]]
        await until(lambda: publication.kind == "motion")
        sent = track.sent
        await until(lambda: track.sent > sent + 50)
        source = publication._camera._source
        assert source is None or source.on_packet is None
        await peer.close()


def _grey() -> np.ndarray[tuple[int, int], np.dtype[np.uint8]]:
    return np.full((96, 64), 128, np.uint8)


def _session(kind: int) -> pylibsrtp.Session:
    policy = pylibsrtp.Policy(key=bytes(range(30)), ssrc_type=kind)
    return pylibsrtp.Session(policy)


def test_a_peer_has_few_synchronisation_sources() -> None:
    """Libsrtp would keep a state for each of ten thousand."""
    sending = _session(pylibsrtp.Policy.SSRC_ANY_OUTBOUND)
    bounded = BoundedSession(_session(pylibsrtp.Policy.SSRC_ANY_INBOUND))
    taken = 0
    for ssrc in range(1, 10_001):
        packet = RtpPacket(97, 0, 1, 0, ssrc, b"x").serialize()
        try:
            assert bounded.unprotect(sending.protect(packet)) == packet
            taken += 1
        except pylibsrtp.Error:
            pass
        sending.remove_stream(ssrc)
    assert taken == MAX_STREAMS
    assert len(bounded._known[False]) == MAX_STREAMS
    again = _session(pylibsrtp.Policy.SSRC_ANY_OUTBOUND)
    packet = RtpPacket(97, 0, 2, 0, 1, b"y").serialize()
    assert bounded.unprotect(again.protect(packet)) == packet, "those that it knows go on"
