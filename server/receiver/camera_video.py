"""An ordinary camera track: its packets are forwarded; pictures are made only for viewers of another codec."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Literal

from server.media.broadcast import Broadcast
from server.media.camera_decoder import CameraDecoder, refusal
from server.media.encoder import CLOCK_RATE
from server.media.forwarding import Forwarding
from server.media.media_packet import MediaPacket, PacketSource
from server.media.picture import Planes, TimedPicture
from server.media.rtp_payload import keyframe_start

_log = logging.getLogger(__name__)


class CameraVideo:
    """Reads one camera track at a time. All methods belong to one event loop."""

    def __init__(self, broadcast: Broadcast, forwarding: Forwarding, clock: Callable[[], float], fps: float) -> None:
        """`fps`: most pictures a second that are encoded again."""
        self._broadcast = broadcast
        self._forwarding = forwarding
        self._clock = clock
        # A quarter of tolerance for uneven cameras.
        self._decoder = CameraDecoder(self._show, forwarding.request_keyframe, clock, 0.75 / fps)
        self._source: PacketSource | None = None
        self._origin = clock()
        self._last_at: float | None = None
        self._profile: int | None = None
        self.codec: Literal["VP8", "H264"] | None = None
        """What the camera sends, or is expected to."""
        self.on_accepted: Callable[[MediaPacket, bool], None] | None = None
        """Told each packet whose pictures are taken, and whether a keyframe begins with it."""
        self.refused: str | None = None
        """Why its present pictures are not taken."""
        self.malformed = 0

    @property
    def attached(self) -> bool:
        """Whether a track is or was there."""
        return self._source is not None

    @property
    def silent_for(self) -> float | None:
        """Seconds since the last packet that could be used; None before the first."""
        return None if self._last_at is None else self._clock() - self._last_at

    def attach(self, source: PacketSource) -> None:
        """Read this track from now on, instead of an earlier one."""
        self.detach()
        self._source, self._profile = source, None
        self.codec = "H264" if source.codec == "H264" else "VP8"
        self._forwarding.attach(source)
        source.on_packet = self._packet

    def detach(self) -> None:
        """Read no more; idempotent."""
        if self._source is not None:
            self._source.on_packet = None
        self._decoder.idle()

    async def close(self) -> None:
        """End reading and decoding; idempotent."""
        self.detach()
        await self._decoder.close()

    def _packet(self, packet: MediaPacket) -> None:
        if packet.codec not in ("VP8", "H264"):
            return
        try:
            start = keyframe_start(packet.codec, packet.payload)
        except ValueError:
            self.malformed += 1
            return
        if start is not None:
            refused = refusal(start)
            if refused is not None and refused != self.refused:
                _log.warning("a camera is not shown: %s", refused)
            self.refused, self._profile = refused, start.profile
        self.codec = "VP8" if packet.codec == "VP8" else "H264"
        if self.refused is not None:
            return
        self._last_at = self._clock()
        packet = replace(packet, profile=self._profile)
        if self.on_accepted is not None:
            self.on_accepted(packet, start is not None)
        if self._forwarding.packet(packet, start is not None):
            self._decoder.packet(packet, start is not None)
        else:
            self._decoder.idle()

    def _show(self, planes: Planes) -> None:
        picture = TimedPicture(planes, round((self._clock() - self._origin) * CLOCK_RATE))
        # A camera has one view, whatever its viewers asked for while it was a face.
        for view in self._broadcast.views():
            self._broadcast.show(view, picture)
