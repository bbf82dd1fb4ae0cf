"""Everything that visavis needs of aiortc beyond its public interface, in one place; tests hold it against aiortc 1.16.

An `RTCRtpSender` whose track yields `av.Packet` sends them as they are, but keyframe requests and bandwidth estimates
end at the encoder that it then does not use. Here they are routed to whoever encodes.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from aiortc import RTCRtpSender
from aiortc.rtp import RTCP_PSFB_APP, RtcpPsfbPacket, unpack_remb_fci

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
