"""How the voice is to be encoded: what the controller of the connection asks of the capture thread."""

from __future__ import annotations

from dataclasses import dataclass

VOICE_KBPS = 14.0
"""Mono speech; wideband, which RFC 7587 section 3.1.1 gives 16 to 20 with packets of 20 ms."""

PACKET_PIECES = 3
"""A packet of 60 ms: of 20 ms each, headers alone would take 26 kbit/s. RFC 7587 section 4.2 has both."""


@dataclass(frozen=True)
class VoiceOrder:
    """Of Opus, mono."""

    kbps: float = VOICE_KBPS
    loss_percent: int = 0  # lost packets that the encoder reckons with; in-band FEC follows from 18 kbit/s on
    pieces: int = PACKET_PIECES  # of 20 ms in a packet: 2, 3 or 6
