"""A peer connection: it answers one offer with all candidates inside, and is closed exactly once.

Offers and answers are JSEP (RFC 9429) without trickle: the answer waits for the server's candidates, and the offer
must carry the client's (`offer.py`).
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import re
from collections.abc import Callable, Sequence
from typing import Literal

from aiortc import (
    MediaStreamTrack,
    RTCConfiguration,
    RTCDataChannel,
    RTCIceServer,
    RTCPeerConnection,
    RTCRtpSender,
    RTCSessionDescription,
)
from aiortc.sdp import candidate_from_sdp

from server.awake_clock import AwakeClock
from server.errors import SdpError
from server.media.aiortc_private import PacketInlet, close_peer, inlet_of, transported_bytes
from server.media.aiortc_transport_private import accept_rsa, bound_transports, pace_forward_tsn
from server.signalling.offer import MAX_CANDIDATES, Offer, VideoCodec, with_marked_payloads

logger = logging.getLogger(__name__)

LOOK_SECONDS = 0.5

CLOSE_SECONDS = 5.0
"""Closing that takes longer is logged."""

Outcome = Literal["closed", "failed", "timeout"]

SharePort = Callable[[RTCPeerConnection], None]
"""Makes a peer connection use a UDP port that it shares with others; called between its two descriptions."""


def _with_address(sdp: str, address: str) -> str:
    """Put `address` in place of this host's own of the same family in host candidates (1:1 NAT)."""
    public = ipaddress.ip_address(address)

    def replaced(match: re.Match[str]) -> str:
        own = ipaddress.ip_address(match.group(2))
        return match.group(1) + (address if own.version == public.version else match.group(2)) + match.group(3)

    replaced_all = re.sub(r"(?m)^(a=candidate:(?:\S+ ){4})(\S+)( \d+ typ host)", replaced, sdp)
    return _without_doubles(replaced_all)


def _without_doubles(sdp: str) -> str:
    """Of candidates with the same address and port in one section the first alone (RFC 8445, section 5.1.3)."""
    kept: list[str] = []
    seen: set[tuple[str, ...]] = set()
    for line in sdp.splitlines(keepends=True):
        if line.startswith("m="):
            seen.clear()
        if line.startswith("a=candidate:"):
            _, component, transport, _, address, port, *_ = line.split(" ")
            if (component, transport, address, port) in seen:
                continue
            seen.add((component, transport, address, port))
        kept.append(line)
    return "".join(kept)


def _labelled(sdp: str, label: str) -> str:
    """Give the video section a label (RFC 4574): what a viewer without a roster learns of the track."""
    return re.sub(r"(?m)^(m=video [^\r\n]*\r\nc=[^\r\n]*\r\n)", rf"\1a=label:{label}\r\n", sdp, count=1)


class Connection:
    """One peer connection on the server's side.

    `on_end(outcome)` is called once: after `close`, when ICE or DTLS fails, or when they take longer than
    `connect_seconds`. It runs on the event loop and must not block.
    """

    def __init__(
        self,
        *,
        connect_seconds: float,
        public_address: str = "",
        ice_servers: Sequence[str] = (),
        share_port: SharePort | None = None,
        on_end: Callable[[Outcome], None] | None = None,
    ) -> None:
        # Always an explicit list: without one aiortc asks a public STUN server of somebody else.
        servers = [RTCIceServer(urls=list(ice_servers))] if ice_servers else []
        self.peer = RTCPeerConnection(RTCConfiguration(iceServers=servers))
        accept_rsa(self.peer)
        self._connect_seconds = connect_seconds
        self._public_address = public_address
        self._share_port = share_port
        self._on_end = on_end
        self._closing: asyncio.Task[None] | None = None
        self._deadline: asyncio.TimerHandle | None = None
        self._negotiation = asyncio.Lock()
        self._counted = (0, 0)  # bytes that were told
        self._added = 0  # candidates after the offer
        self._on_source: Callable[[PacketInlet], None] | None = None
        self._marked_payloads = False
        self.peer.on("connectionstatechange", self._state_changed)
        self.peer.on("track", self._track)

    def on_channel(self, attach: Callable[[RTCDataChannel], None]) -> None:
        """Call `attach` with each data channel that the client opens."""
        self.peer.on("datachannel", attach)

    def on_source(self, attach: Callable[[PacketInlet], None]) -> None:
        """Call `attach` with the packets of each track that the client sends. Without it all are dropped."""
        self._on_source = attach

    def receive(self, kind: Literal["audio", "video"], codecs: Sequence[str]) -> None:
        """Take a track of this kind with these codecs alone, in the order of preference. Call before `answer`."""
        transceiver = self.peer.addTransceiver(kind, direction="recvonly")
        capabilities = RTCRtpSender.getCapabilities(kind).codecs
        wanted = [c for name in codecs for c in capabilities if c.mimeType.upper() == f"{kind}/{name}".upper()]
        transceiver.setCodecPreferences(wanted + [c for c in capabilities if c.mimeType == "video/rtx"])

    def send_track(self, track: MediaStreamTrack, codec: VideoCodec | None = None) -> RTCRtpSender:
        """Send `track`, with `codec` alone when it is video. Call before `answer`."""
        transceiver = self.peer.addTransceiver(track, direction="sendonly")
        wanted = (f"VIDEO/{codec}", "VIDEO/RTX") if track.kind == "video" else ("AUDIO/OPUS",)
        capabilities = RTCRtpSender.getCapabilities(track.kind).codecs
        transceiver.setCodecPreferences([c for c in capabilities if c.mimeType.upper() in wanted])
        return transceiver.sender

    async def answer(self, offer: Offer, video_label: str | None = None) -> str:
        """The SDP answer, with candidates. Raises SdpError, and the connection is closed then.

        video_label: a token (RFC 8866, section 9) that says what the video section shows
        """
        awake = AwakeClock(asyncio.get_running_loop().time)
        self._await_connection(awake, awake() + self._connect_seconds)
        self._marked_payloads = offer.marked_payloads and self._on_source is not None
        try:
            # Closing waits for this: sockets opened after a close would never be closed.
            async with self._negotiation:
                await self.peer.setRemoteDescription(RTCSessionDescription(offer.sdp, "offer"))
                bound_transports(self.peer)
                pace_forward_tsn(self.peer, asyncio.get_running_loop().time)
                if self._share_port is not None:
                    self._share_port(self.peer)
                await self.peer.setLocalDescription(await self.peer.createAnswer())
                sdp = str(self.peer.localDescription.sdp)
                if self._marked_payloads:
                    sdp = with_marked_payloads(sdp)
        except Exception as error:
            # As in `parse_offer`: what a strange offer raises is not limited to aiortc's own errors.
            await self.close()
            raise SdpError(f"the offer cannot be answered ({type(error).__name__}: {error})") from None
        if video_label is not None:
            sdp = _labelled(sdp, video_label)
        return _with_address(sdp, self._public_address) if self._public_address else sdp

    @property
    def state(self) -> str:
        """WebRTC's connectionState: new, connecting, connected, failed or closed."""
        return str(self.peer.connectionState)

    def take_bytes(self) -> tuple[int, int]:
        """Bytes that came in and that went out since this was asked last; good after the end, too."""
        before, self._counted = self._counted, transported_bytes(self.peer)
        return self._counted[0] - before[0], self._counted[1] - before[1]

    async def close(self, outcome: Outcome = "closed") -> None:
        """Close and wait for it; idempotent, and safe from several tasks at once."""
        await asyncio.shield(self._close_once(outcome))

    async def add_candidates(self, candidates: Sequence[str]) -> None:
        """More of the client's candidates, each as in SDP's `candidate` attribute (trickle ICE). Raises SdpError."""
        self._added += len(candidates)
        if self._added > MAX_CANDIDATES:
            raise SdpError(f"more than {MAX_CANDIDATES} candidates were added")
        for text in candidates:
            try:
                candidate = candidate_from_sdp(text)
                candidate.sdpMLineIndex = 0  # everything is bundled
                await self.peer.addIceCandidate(candidate)
            except Exception as error:
                # As in `answer`: the parser was not written for hostile input.
                raise SdpError(f"a candidate cannot be used ({type(error).__name__})") from None

    def _track(self, track: MediaStreamTrack) -> None:
        marked = self._marked_payloads and track.kind == "audio"
        inlet = inlet_of(self.peer, track, asyncio.get_running_loop().time, marked)
        if self._on_source is not None:
            self._on_source(inlet)

    def _close_once(self, outcome: Outcome) -> asyncio.Task[None]:
        if self._closing is None:
            self._closing = asyncio.get_running_loop().create_task(self._close(outcome))
        return self._closing

    async def _close(self, outcome: Outcome) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        self.peer.remove_all_listeners()
        closing = asyncio.create_task(self._close_peer())
        try:
            _, late = await asyncio.wait({closing}, timeout=CLOSE_SECONDS)
            if late:
                # Not cancelled: half closed it would keep its sockets.
                logger.warning("a peer connection takes long to close")
            await closing
        finally:
            if self._on_end is not None:
                self._on_end(outcome)
                self._on_end = None

    async def _close_peer(self) -> None:
        async with self._negotiation:
            await close_peer(self.peer)

    def _state_changed(self) -> None:
        state = self.peer.connectionState
        if state == "connected" and self._deadline is not None:
            self._deadline.cancel()
        elif state in ("failed", "closed"):
            self._close_once("failed" if state == "failed" else "closed")

    def _await_connection(self, awake: AwakeClock, until: float) -> None:
        """Close when it does not stand by then. Looks often: time in which this process stood still does not count."""
        left = until - awake()
        if self.peer.connectionState == "connected":
            return
        if left <= 0:
            self._close_once("timeout")
            return
        loop = asyncio.get_running_loop()
        self._deadline = loop.call_later(min(left, LOOK_SECONDS), self._await_connection, awake, until)
