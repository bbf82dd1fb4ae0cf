"""What visavis needs of aiortc's transports beyond its public interface; tests compare it with aiortc 1.16.

- `accept_rsa`: certificates of others.
- `bound_transports`: what a peer can make its transports remember.
- `pace_forward_tsn`: what SCTP says about messages that were given up.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, cast

from aiortc import RTCCertificate, RTCPeerConnection
from OpenSSL import SSL
from pylibsrtp._binding import ffi

from server.media.srtp_sources import BoundedSession

MAX_DATAGRAM = 2048
"""Bytes of an outgoing packet with room for its trailer; incoming ones have 1500 at most."""


class _Certificate(RTCCertificate):
    """A certificate whose connections take peers with an RSA key, too; aiortc's offer has ECDSA suites alone."""

    def _create_ssl_context(self, srtp_profiles: list[Any]) -> SSL.Context:
        context = super()._create_ssl_context(srtp_profiles)
        context.set_cipher_list(
            b"ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-ECDSA-AES128-SHA:"
            b"ECDHE-ECDSA-AES256-SHA:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-RSA-CHACHA20-POLY1305:ECDHE-RSA-AES128-SHA:"
            b"ECDHE-RSA-AES256-SHA"
        )
        return context


def accept_rsa(peer: RTCPeerConnection) -> None:
    """Take peers with RSA certificates, too (GStreamer, FFmpeg). Call before anything is added to `peer`."""
    peer._RTCPeerConnection__certificates = [_Certificate.generateCertificate()]  # type: ignore[attr-defined]


def bound_transports(peer: RTCPeerConnection) -> None:
    """Bound what a peer's transports keep of it, and send packets as long as any that came in.

    Call it once the remote description is set, before the connection is established.
    """
    for transport in cast(Any, peer)._RTCPeerConnection__dtlsTransports:
        transport._setup_srtp = partial(_set_up, transport, transport._setup_srtp)


def _set_up(transport: Any, set_up: Callable[[], None]) -> None:
    set_up()
    if transport._rx_srtp is not None:
        transport._rx_srtp = BoundedSession(transport._rx_srtp)
        # pylibsrtp leaves 144 bytes of its 1500 to a trailer of which 16 are used; others send packets of 1400.
        outgoing = transport._tx_srtp
        outgoing._cdata = ffi.new("char[]", MAX_DATAGRAM)
        outgoing._buffer = ffi.buffer(outgoing._cdata)


def pace_forward_tsn(peer: RTCPeerConnection, now: Callable[[], float]) -> None:
    """Send FORWARD-TSN at most once a round trip (RFC 3758 section 3.5, C3): aiortc answers each SACK with one.

    Call it once the peer has a data channel; nothing happens on one that has none.
    """
    association = cast(Any, peer.sctp)
    if association is None:
        return
    transmit: Callable[[], Awaitable[None]] = association._transmit
    sent = float("-inf")

    async def paced() -> None:
        nonlocal sent
        chunk = association._forward_tsn_chunk
        if chunk is not None:
            if now() - sent < (association._srtt or association._rto):
                association._forward_tsn_chunk = None
                if association._t3_handle is None:
                    association._t3_start()  # says it again, if no SACK makes it needless before
            else:
                sent = now()
        await transmit()

    association._transmit = paced
