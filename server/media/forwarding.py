"""Forwards a camera's own packets to the viewers who can decode them; asks the camera for what they need.

Nothing is decoded here. Whoever cannot take the packets as they are is told, so that pictures can be made for it.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import replace

from server.media.fanout import PacketTrack
from server.media.media_packet import MediaPacket, PacketSource
from server.media.rtp_feedback import BitrateSettings, BitrateSteering, KeyframeRequests

SPACING = 0.5
"""Seconds between two requests for a keyframe at least: RFC 5104 section 4.3.1.2 asks to coalesce them."""


FLOOR = 150_000
"""Bits a second that a camera may spend whatever a viewer's line carries: it has one rate for all of them, and below
this there is nothing to see. Viewers with less than half of it do not count.
"""


class Forwarding:
    """The packets of one publication on their way to its viewers. All methods belong to one event loop."""

    def __init__(
        self,
        tracks: Callable[[], Mapping[Hashable, PacketTrack]],
        clock: Callable[[], float],
        bitrate: BitrateSettings | None = None,
    ) -> None:
        """`tracks`: the viewers whose tracks are being read."""
        self._tracks = tracks
        self._clock = clock
        bitrate = bitrate or BitrateSettings()
        self._steering = BitrateSteering(replace(bitrate, minimum=max(bitrate.minimum, FLOOR), start=bitrate.maximum))
        self._requests = KeyframeRequests(SPACING)
        self._source: PacketSource | None = None
        self._stream = 0  # number of the source

    @property
    def viewers(self) -> int:
        """Viewers who get the camera's own packets."""
        return sum(track.forwards for track in self._tracks().values())

    def attach(self, source: PacketSource) -> None:
        """Packets come from there from now on."""
        self._source = source
        self._stream += 1
        self._requests = KeyframeRequests(SPACING)

    def packet(self, packet: MediaPacket, keyframe: bool) -> bool:
        """Forward one packet of the attached source; `keyframe`: one begins with it.

        Returns whether a viewer remains that must be shown pictures instead.
        """
        pictures = wanted = False
        for track in self._tracks().values():
            if track.accepts(packet):
                track.forward(self._stream, packet, keyframe)
                wanted |= track.needs_forwarded_keyframe
            else:
                track.encode()
                pictures = True
        if keyframe:
            self._requests.came()
        if wanted:
            self._requests.request()
        self._ask()
        return pictures

    def request_keyframe(self) -> None:
        """Somebody needs a keyframe; the camera is asked once for all."""
        self._requests.request()
        self._ask()

    def estimate(self, viewer: Hashable, bits_per_second: int) -> None:
        """A viewer's line carries this much (REMB): the camera is told the least of all such viewers'."""
        track = self._tracks().get(viewer)
        if track is None or not track.forwards:
            return
        now = self._clock()
        self._steering.estimate(viewer, bits_per_second, now)
        if self._steering.update(now) and self._source is not None:
            self._source.limit_bitrate(self._steering.target)

    def forget(self, viewer: Hashable) -> None:
        """The viewer left."""
        self._steering.forget(viewer)

    def _ask(self) -> None:
        if self._source is not None and self._requests.due(self._clock()):
            self._source.request_keyframe()
