"""Fan-out of encoded frames: one encoder, many viewers, each with a short queue that starts and resumes at keyframes.

`ViewerQueue` is a pure state machine. A viewer belongs to one stream and may be on its way to another (a new free
view): it goes on with the old one until the new one brings a keyframe, so the picture never pauses.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable
from dataclasses import replace

import av

from server.media.encoder import TIME_BASE, EncodedFrame
from server.media.media_packet import MediaPacket
from server.media.queued_track import Packet, QueuedTrack
from server.media.rtp_numbers import newer


class ViewerQueue:
    """What one viewer is to be sent; at most `capacity` frames."""

    def __init__(self, stream: Hashable, capacity: int = 15) -> None:
        self._capacity = capacity
        self._stream = stream
        self._next: Hashable | None = None
        self._frames: deque[EncodedFrame] = deque()
        self._needs_keyframe = True
        self._last_pts = -1
        self.dropped = 0  # frames that this viewer did not get because it was slow

    @property
    def stream(self) -> Hashable:
        """The stream that the viewer is on, or on its way to."""
        return self._stream if self._next is None else self._next

    @property
    def streams(self) -> set[Hashable]:
        """Every stream that must go on for this viewer."""
        return {self._stream} if self._next is None else {self._stream, self._next}

    @property
    def needs_keyframe(self) -> bool:
        """Whether `stream` must bring a keyframe before the viewer can go on with it."""
        return self._needs_keyframe or self._next is not None

    def switch(self, stream: Hashable) -> None:
        """Go over to another stream at its next keyframe."""
        self._next = None if stream == self._stream else stream

    def offer(self, stream: Hashable, frame: EncodedFrame) -> bool:
        """One encoded frame of a stream; False when the viewer does not take it."""
        if self._next is not None and stream == self._next and frame.keyframe:
            self._stream, self._next = stream, None
            self._needs_keyframe = False
        elif stream != self._stream:
            return False
        elif self._needs_keyframe:
            if not frame.keyframe:
                return False
            self._needs_keyframe = False
        if len(self._frames) >= self._capacity:
            # What waits is old by now; a later frame without it cannot be decoded: drop to the next keyframe.
            self.dropped += len(self._frames)
            self._frames.clear()
            if not frame.keyframe:
                self.dropped += 1
                self._needs_keyframe = True
                return False
        # Two streams may bring a frame of the same instant; equal RTP timestamps would merge them into one.
        pts = max(frame.pts, self._last_pts + 1)
        self._last_pts = pts
        self._frames.append(frame if pts == frame.pts else replace(frame, pts=pts))
        return True

    def restart(self) -> None:
        """Begin anew with a keyframe; what waits is dropped."""
        self._frames.clear()
        self._needs_keyframe = True

    def take(self) -> EncodedFrame | None:
        """The next frame to send, if any."""
        return self._frames.popleft() if self._frames else None

    def __len__(self) -> int:
        return len(self._frames)


class ForwardQueue:
    """Packets of a camera on their way to one viewer; begins, and goes on after a jam, at a keyframe. Pure."""

    def __init__(self, capacity: int = 600) -> None:
        self._capacity = capacity  # packets: about two seconds of a camera
        self._packets: deque[MediaPacket] = deque()
        self._stream: Hashable = None
        self._first = 0  # sequence number with which the present run began
        self.needs_keyframe = True
        self.dropped = 0  # packets that this viewer did not get because it was slow

    def offer(self, stream: Hashable, packet: MediaPacket, keyframe: bool) -> bool:
        """One packet of a stream; `keyframe`: one begins with it. False when the viewer does not take it."""
        if stream != self._stream:
            self._stream = stream
            self._packets.clear()
            self.needs_keyframe = True
        if len(self._packets) >= self._capacity:
            # What waits is old by now; what follows cannot be decoded without it.
            self.dropped += len(self._packets)
            self._packets.clear()
            self.needs_keyframe = True
        if self.needs_keyframe:
            if not keyframe:
                return False
            self.needs_keyframe = False
            self._first = packet.sequence
            packet = replace(packet, restart=True)
        elif newer(self._first, packet.sequence):
            return False  # a late one from before the keyframe
        elif (packet.sequence - self._first) % 65536 > 16384:
            self._first = (packet.sequence - 8192) % 65536  # so that it stays comparable
        self._packets.append(packet)
        return True

    def clear(self) -> None:
        """Nothing of this stream any more; the next one begins at a keyframe."""
        self._packets.clear()
        self._stream, self.needs_keyframe = None, True

    def take(self) -> MediaPacket | None:
        """The next packet to send, if any."""
        return self._packets.popleft() if self._packets else None

    def __len__(self) -> int:
        return len(self._packets)


class PacketTrack(QueuedTrack["Packet | MediaPacket"]):
    """A viewer's picture: the encoded frames of its queue, or a camera's own packets.

    `join` is called when the track is first read, which aiortc does once the connection stands: a viewer that never
    arrives costs nothing.
    """

    kind = "video"

    def __init__(self, join: Callable[[], ViewerQueue], on_stop: Callable[[], None]) -> None:
        super().__init__(on_stop)
        self._join = join
        self._queue: ViewerQueue | None = None
        self._sending: EncodedFrame | None = None
        self._forward = ForwardQueue()
        self.forwards = False
        """Whether the viewer gets a camera's own packets; encoded frames are not for it then."""
        self.accepts: Callable[[MediaPacket], bool] = lambda _: False
        """Whether the viewer's connection can carry a packet as it is."""
        self.on_sent: Callable[[EncodedFrame], None] | None = None
        """Called with each frame once all of its packets were handed to the network."""

    @property
    def queue(self) -> ViewerQueue | None:
        """What waits to be sent; None until the track is read."""
        return self._queue

    @property
    def dropped(self) -> int:
        """Frames and packets that the viewer did not get because it was slow."""
        return self._forward.dropped + (0 if self._queue is None else self._queue.dropped)

    @property
    def needs_forwarded_keyframe(self) -> bool:
        """Whether the camera must bring a keyframe before its packets can go on to this viewer."""
        return self.forwards and self._forward.needs_keyframe

    def offer(self, stream: Hashable, frame: EncodedFrame) -> bool:
        """As `ViewerQueue.offer`, and wake the reader."""
        if self.forwards:
            return False
        taken = self._queue is not None and self._queue.offer(stream, frame)
        if taken:
            self.wake()
        return taken

    def forward(self, stream: Hashable, packet: MediaPacket, keyframe: bool) -> bool:
        """As `ForwardQueue.offer`, and wake the reader; nothing before the track is read."""
        if self._queue is None:
            return False
        self.forwards = True
        taken = self._forward.offer(stream, packet, keyframe)
        if taken:
            self.wake()
        return taken

    def encode(self) -> None:
        """From now on the viewer gets encoded frames."""
        if self.forwards:
            self.forwards = False
            self._forward.clear()
            if self._queue is not None:
                self._queue.restart()

    def leave_out(self) -> None:
        """The frame that was read last was not sent."""
        self._sending = None

    def take(self) -> Packet | MediaPacket | None:
        """The next frame, or packet of the camera."""
        if self._queue is None:
            self._queue = self._join()
        # Whoever reads a track comes back for more when the frame before has been sent.
        sent, self._sending = self._sending, None
        if sent is not None and self.on_sent is not None:
            self.on_sent(sent)
        if self.forwards:
            return self._forward.take()
        frame = self._sending = self._queue.take()
        if frame is None:
            return None
        packet = av.Packet(frame.data)
        packet.pts, packet.time_base = frame.pts, TIME_BASE
        packet.is_keyframe = frame.keyframe
        return packet
