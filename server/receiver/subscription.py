"""One viewer's share of a publication."""

from __future__ import annotations

from collections.abc import Callable

from aiortc import RTCRtpSender

from model.motion import View
from server.media.aiortc_private import PacketOutlet, rtp_timestamp
from server.media.audio_relay import AudioTrack
from server.media.broadcast import Broadcast
from server.media.fanout import PacketTrack
from server.media.forwarding import Forwarding
from server.media.sent_frames import SentFrames
from server.receiver.rendered_view import ViewKey, quantise_view


class Subscription:
    """A viewer's tracks and the view that it asks for. Made by `Publication.subscribe`."""

    def __init__(
        self,
        broadcast: Broadcast,
        forwarding: Forwarding,
        viewer: str,
        video: PacketTrack,
        audio: AudioTrack,
        clock: Callable[[], float],
        check_capacity: Callable[[ViewKey], None],
    ) -> None:
        self.video: PacketTrack = video  # yields av.Packet, or MediaPacket of a camera
        self.audio: AudioTrack = audio  # yields MediaPacket (Opus); nothing while the publisher sends no sound
        self._broadcast = broadcast
        self._forwarding = forwarding
        self._viewer = viewer
        self._clock = clock
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

    def bind(self, video: RTCRtpSender | None, audio: RTCRtpSender | None) -> None:
        """Send the tracks' packets as they are; call it before the connection is established.

        Keyframe requests (PLI, FIR) and bandwidth estimates (REMB) go to the shared encoder, or to the camera; under
        which RTP timestamp each picture goes out is noted.
        """
        if audio is not None:
            PacketOutlet(audio, self._clock)
        if video is not None:
            outlet = PacketOutlet(video, self._clock, self._request_keyframe, self._estimate)
            sent, sender = self._sent, video
            self.video.on_sent = lambda frame: sent.add(rtp_timestamp(sender), frame.captured)
            outlet.on_left_out = self.video.leave_out
            self.video.accepts = lambda packet: outlet.payload_type(packet.codec, packet.profile) is not None

    def _request_keyframe(self) -> None:
        if self.video.forwards:
            self._forwarding.request_keyframe()
        else:
            self._broadcast.request_keyframe(self._viewer)

    def _estimate(self, bits_per_second: int) -> None:
        if self.video.forwards:
            self._forwarding.estimate(self._viewer, bits_per_second)
        else:
            self._broadcast.estimate(self._viewer, bits_per_second)

    def sent_frames(self) -> list[tuple[int, float]]:
        """Pictures sent since this was asked last: RTP timestamp, capture time in seconds of the receiver's clock."""
        return self._sent.take()

    def close(self) -> None:
        """Leave; idempotent."""
        self.video.stop()
        self.audio.stop()
        self._forwarding.forget(self._viewer)
