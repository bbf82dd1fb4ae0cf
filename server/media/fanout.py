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
from server.media.queued_track import Packet, QueuedTrack


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

    def take(self) -> EncodedFrame | None:
        """The next frame to send, if any."""
        return self._frames.popleft() if self._frames else None

    def __len__(self) -> int:
        return len(self._frames)


class PacketTrack(QueuedTrack):
    """A viewer's picture: the encoded frames of its queue.

    `join` is called when the track is first read, which aiortc does once the connection stands: a viewer that never
    arrives costs nothing.
    """

    kind = "video"

    def __init__(self, join: Callable[[], ViewerQueue], on_stop: Callable[[], None]) -> None:
        super().__init__(on_stop)
        self._join = join
        self._queue: ViewerQueue | None = None
        self._sending: EncodedFrame | None = None
        self.on_sent: Callable[[EncodedFrame], None] | None = None
        """Called with each frame once all of its packets were handed to the network."""

    @property
    def queue(self) -> ViewerQueue | None:
        """What waits to be sent; None until the track is read."""
        return self._queue

    def offer(self, stream: Hashable, frame: EncodedFrame) -> bool:
        """As `ViewerQueue.offer`, and wake the reader."""
        taken = self._queue is not None and self._queue.offer(stream, frame)
        if taken:
            self.wake()
        return taken

    def take(self) -> Packet | None:
        """The next frame as a packet."""
        if self._queue is None:
            self._queue = self._join()
        # Whoever reads a track comes back for more when the frame before has been sent.
        sent, self._sending = self._sending, None
        if sent is not None and self.on_sent is not None:
            self.on_sent(sent)
        frame = self._sending = self._queue.take()
        if frame is None:
            return None
        packet = av.Packet(frame.data)
        packet.pts, packet.time_base = frame.pts, TIME_BASE
        packet.is_keyframe = frame.keyframe
        return packet
