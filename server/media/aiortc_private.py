"""Everything that visavis needs of aiortc beyond its public interface, in one place; tests compare it with aiortc 1.16.

An `RTCRtpSender` whose track yields `av.Packet` sends them as they are, but keyframe requests and bandwidth estimates
end at the encoder that it then does not use. Here they are routed to whoever encodes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from aiortc import RTCPeerConnection, RTCRtpSender
from aiortc.rtp import RTCP_PSFB_APP, RtcpPsfbPacket, unpack_remb_fci

_CANCEL_AGAIN_SECONDS = 0.2
"""Time in which a cancelled handshake ends unless it missed that it was cancelled."""

AUDIO_HOLD_PACKETS = 4
"""Packets that aiortc's receiver keeps back before it decodes sound: packet n comes out when n + 4 has arrived."""


def route_feedback(
    sender: RTCRtpSender,
    on_keyframe: Callable[[], None],
    on_bitrate: Callable[[int], None],
) -> None:
    """Call `on_keyframe()` on every PLI or FIR and `on_bitrate(bits_per_second)` on every REMB for this sender.

    Replaces two methods on the instance; NACKs and receiver reports go their ordinary way.
    """
    handle: Callable[[Any], Awaitable[None]] = sender._handle_rtcp_packet
    ssrc: int = sender._ssrc

    async def handle_rtcp_packet(packet: Any) -> None:
        if isinstance(packet, RtcpPsfbPacket) and packet.fmt == RTCP_PSFB_APP:
            try:
                bitrate, ssrcs = unpack_remb_fci(packet.fci)
            except ValueError:
                return  # some other application-layer feedback
            if ssrc in ssrcs:
                on_bitrate(bitrate)
            return
        await handle(packet)

    sender._send_keyframe = on_keyframe  # type: ignore[method-assign]
    sender._handle_rtcp_packet = handle_rtcp_packet  # type: ignore[method-assign]


def rtp_timestamp(sender: RTCRtpSender) -> int:
    """RTP timestamp of the packet that this sender sent last; 0 before the first.

    aiortc adds an origin of its own to the times of a track's packets and tells it nobody.
    """
    return int(sender._RTCRtpSender__rtp_timestamp)  # type: ignore[attr-defined]


async def close_peer(peer: RTCPeerConnection) -> None:
    """Close a peer connection, also while it still connects.

    aiortc connects in a task that it forgets. `close` stops the receivers first, so a handshake that completes at that
    moment starts them anew and nothing stops them again; or the task fails and nobody reads its error. Here the task is
    ended first.
    """
    connecting = {task for task in asyncio.all_tasks() if _connects(task, peer)}
    while connecting:
        # More than once: the handshake waits in `asyncio.wait_for`, which before Python 3.12 loses a cancellation when
        # a datagram arrives in the same turn of the loop. A handshake that missed it would go on for ever.
        for task in connecting:
            task.cancel()
        ended, connecting = await asyncio.wait(connecting, timeout=_CANCEL_AGAIN_SECONDS)
        for task in ended:
            if not task.cancelled():
                task.exception()  # read: its failure is no news for a connection that is being closed
    await peer.close()


def _connects(task: asyncio.Task[Any], peer: RTCPeerConnection) -> bool:
    coroutine: Any = task.get_coro()
    if getattr(coroutine, "__qualname__", "") != "RTCPeerConnection.__connect" or coroutine.cr_frame is None:
        return False
    return coroutine.cr_frame.f_locals.get("self") is peer
