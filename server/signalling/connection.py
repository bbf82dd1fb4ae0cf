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

from server.awake_clock import AwakeClock
from server.errors import SdpError
from server.media.aiortc_private import close_peer
from server.signalling.offer import Offer, VideoCodec

logger = logging.getLogger(__name__)

LOOK_SECONDS = 0.5

CLOSE_SECONDS = 5.0
"""Closing that takes longer is logged."""

Outcome = Literal["closed", "failed", "timeout"]


def _with_address(sdp: str, address: str) -> str:
    """Put `address` in place of this host's own of the same family in host candidates (1:1 NAT)."""
    public = ipaddress.ip_address(address)

    def replaced(match: re.Match[str]) -> str:
        own = ipaddress.ip_address(match.group(2))
        return match.group(1) + (address if own.version == public.version else match.group(2)) + match.group(3)

    return re.sub(r"(?m)^(a=candidate:(?:\S+ ){4})(\S+)( \d+ typ host)", replaced, sdp)


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
        on_end: Callable[[Outcome], None] | None = None,
    ) -> None:
        # Always an explicit list: without one aiortc asks a public STUN server of somebody else.
        servers = [RTCIceServer(urls=list(ice_servers))] if ice_servers else []
        self.peer = RTCPeerConnection(RTCConfiguration(iceServers=servers))
        self._connect_seconds = connect_seconds
        self._public_address = public_address
        self._on_end = on_end
        self._closing: asyncio.Task[None] | None = None
        self._deadline: asyncio.TimerHandle | None = None
        self._negotiation = asyncio.Lock()
        self.peer.on("connectionstatechange", self._state_changed)

    def on_channel(self, attach: Callable[[RTCDataChannel], None]) -> None:
        """Call `attach` with each data channel that the client opens."""
        self.peer.on("datachannel", attach)

    def on_track(self, attach: Callable[[MediaStreamTrack], None]) -> None:
        """Call `attach` with each track that the client sends."""
        self.peer.on("track", attach)

    def send_track(self, track: MediaStreamTrack, codec: VideoCodec | None = None) -> RTCRtpSender:
        """Send `track`, with `codec` alone when it is video. Call before `answer`."""
        transceiver = self.peer.addTransceiver(track, direction="sendonly")
        if codec is not None:
            capabilities = RTCRtpSender.getCapabilities("video").codecs
            transceiver.setCodecPreferences(
                [c for c in capabilities if c.mimeType.upper() == f"VIDEO/{codec}" or c.mimeType == "video/rtx"]
            )
        return transceiver.sender

    async def answer(self, offer: Offer) -> str:
        """The SDP answer, with candidates. Raises SdpError, and the connection is closed then."""
        awake = AwakeClock(asyncio.get_running_loop().time)
        self._await_connection(awake, awake() + self._connect_seconds)
        try:
            # Closing waits for this: sockets opened after a close would never be closed.
            async with self._negotiation:
                await self.peer.setRemoteDescription(RTCSessionDescription(offer.sdp, "offer"))
                await self.peer.setLocalDescription(await self.peer.createAnswer())
                sdp = str(self.peer.localDescription.sdp)
        except Exception as error:
            # As in `parse_offer`: what a strange offer raises is not limited to aiortc's own errors.
            await self.close()
            raise SdpError(f"the offer cannot be answered ({type(error).__name__}: {error})") from None
        return _with_address(sdp, self._public_address) if self._public_address else sdp

    @property
    def state(self) -> str:
        """WebRTC's connectionState: new, connecting, connected, failed or closed."""
        return str(self.peer.connectionState)

    async def close(self, outcome: Outcome = "closed") -> None:
        """Close and wait for it; idempotent, and safe from several tasks at once."""
        await asyncio.shield(self._close_once(outcome))

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
