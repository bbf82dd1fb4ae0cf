"""How many synchronisation sources one peer may use: each costs memory for as long as its connection lasts."""

from __future__ import annotations

import pylibsrtp

MAX_STREAMS = 16
"""Synchronisation sources of one peer that are known; packets of more are dropped."""


class BoundedSession:
    """An inbound SRTP session that knows at most `MAX_STREAMS` synchronisation sources of each of RTP and RTCP.

    libsrtp keeps a state for every source that ever came, and aiortc's router an entry: one peer could fill memory.
    """

    def __init__(self, session: pylibsrtp.Session) -> None:
        self._session = session
        self._known: dict[bool, set[int]] = {False: set(), True: set()}

    def unprotect(self, packet: bytes) -> bytes:
        """The RTP packet. Raises pylibsrtp.Error, also for one of a source too many."""
        return self._checked(self._session.unprotect(packet), False, 8)

    def unprotect_rtcp(self, packet: bytes) -> bytes:
        """The RTCP packet. Raises pylibsrtp.Error, also for one of a source too many."""
        return self._checked(self._session.unprotect_rtcp(packet), True, 4)

    def _checked(self, data: bytes, rtcp: bool, at: int) -> bytes:
        ssrc, known = int.from_bytes(data[at : at + 4]), self._known[rtcp]
        if ssrc not in known:
            if len(known) >= MAX_STREAMS:
                if ssrc not in self._known[not rtcp]:
                    self._session.remove_stream(ssrc)
                raise pylibsrtp.Error("a synchronisation source too many")
            known.add(ssrc)
        return data
