"""One viewer's share of a publication."""

from __future__ import annotations

from collections.abc import Callable

from aiortc import MediaStreamTrack, RTCRtpSender

from model.motion import View
from server.media.aiortc_private import route_feedback, rtp_timestamp
from server.media.audio_relay import AudioTrack
from server.media.broadcast import Broadcast
from server.media.fanout import PacketTrack
from server.media.sent_frames import SentFrames
from server.receiver.rendered_view import ViewKey, quantise_view


class Subscription:
    """A viewer's tracks and the view that it asks for. Made by `Publication.subscribe`."""

    def __init__(
        self,
        broadcast: Broadcast,
        viewer: str,
        video: PacketTrack,
        audio: AudioTrack,
        check_capacity: Callable[[ViewKey], None],
    ) -> None:
        self.video: PacketTrack = video  # yields av.Packet
        self.audio: MediaStreamTrack = audio  # yields av.Packet (Opus); nothing while the publisher sends no sound
        self._broadcast = broadcast
        self._viewer = viewer
        self._check_capacity = check_capacity
        self._sent = SentFrames()

    def set_view(self, view: View) -> None:
        """Show another free view; clamped to |yaw| <= 45, |pitch| <= 30, |roll| <= 30 and whole degrees.

        Raises ViewLimitError when too many different views are watched, CapacityError when the machine has no time for
        one more; the view stays as it was.
        """
        key = quantise_view(view)
        if self._broadcast.shares(self._viewer):
            # Alone on its stream a viewer takes it along: no view more than before.
            self._check_capacity(key)
        self._broadcast.turn(self._viewer, key)

    def bind(self, video_sender: RTCRtpSender) -> None:
        """Route the sender's keyframe requests (PLI, FIR) and bandwidth estimates (REMB) to the shared encoder, and
        note under which RTP timestamp each picture goes out.
        """
        broadcast, viewer, sent = self._broadcast, self._viewer, self._sent

        self.video.on_sent = lambda frame: sent.add(rtp_timestamp(video_sender), frame.captured)
        route_feedback(
            video_sender,
            lambda: broadcast.request_keyframe(viewer),
            lambda bits_per_second: broadcast.estimate(viewer, bits_per_second),
        )

    def sent_frames(self) -> list[tuple[int, float]]:
        """Pictures sent since this was asked last: RTP timestamp, capture time in seconds of the receiver's clock."""
        return self._sent.take()

    def close(self) -> None:
        """Leave; idempotent."""
        self.video.stop()
        self.audio.stop()
