"""Which encoded streams exist and who watches which: pure rules that take the time.

A stream is one codec showing one view. Viewers with equal view and codec share it. A viewer alone on its stream takes
the stream along when it turns the head (no new encoder, no keyframe); a viewer that shares one moves to another, and
streams that came to show the same thing are merged once their viewers have stopped turning.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field

from model.errors import VisavisError
from server.media.encoder import Codec
from server.media.fanout import ViewerQueue


class ViewLimitError(VisavisError):
    """Too many different views of one participant are asked for at once."""

    http_status = 429


@dataclass(eq=False)
class Stream:
    """One codec showing one view; compared by identity, because the view may move."""

    codec: Codec
    view: Hashable
    changed: float = field(default=0.0)  # seconds; when the view moved last


class StreamTable:
    """The streams of one publication."""

    def __init__(self, max_views: int = 8, settle: float = 0.5) -> None:
        self._max_views = max_views
        self._settle = settle  # seconds without turning before equal streams are merged
        self._viewers: dict[Hashable, ViewerQueue] = {}
        self.streams: list[Stream] = []

    def join(self, viewer: Hashable, codec: Codec, view: Hashable, now: float, capacity: int = 15) -> ViewerQueue:
        """A new viewer's queue, on the stream that shows this view. Raises ViewLimitError."""
        queue = ViewerQueue(self._stream(codec, view, now), capacity)
        self._viewers[viewer] = queue
        return queue

    def check(self, view: Hashable) -> None:
        """Raise ViewLimitError when `view` would be one view too many."""
        views = {stream.view for stream in self.streams}
        if view not in views and len(views) >= self._max_views:
            raise ViewLimitError(f"at most {self._max_views} different views of one participant at once")

    def any_view(self) -> Hashable | None:
        """A view that is shown already; None without streams."""
        return self.streams[0].view if self.streams else None

    def turn(self, viewer: Hashable, view: Hashable, now: float) -> None:
        """A viewer asks for another view. Raises ViewLimitError and leaves everything as it was."""
        queue = self._viewers[viewer]
        stream = queue.stream
        assert isinstance(stream, Stream)
        if stream.view == view:
            return
        others = {s for key, other in self._viewers.items() if key != viewer for s in other.streams}
        if stream not in others:
            stream.view, stream.changed = view, now
        else:
            queue.switch(self._stream(stream.codec, view, now))

    def leave(self, viewer: Hashable) -> None:
        """The viewer is gone; streams that nobody watches end. Unknown viewers are ignored."""
        self._viewers.pop(viewer, None)
        self.sweep()

    def merge(self, now: float) -> None:
        """Send viewers of streams that show the same to one of them, once they have settled."""
        first: dict[tuple[Codec, Hashable], Stream] = {}
        for stream in self.streams:
            if now - stream.changed < self._settle:
                continue
            kept = first.setdefault((stream.codec, stream.view), stream)
            if kept is not stream:
                for queue in self._viewers.values():
                    if queue.stream is stream:
                        queue.switch(kept)
        self.sweep()

    def sweep(self) -> None:
        """Forget streams that no viewer is on or on its way to."""
        watched = {stream for queue in self._viewers.values() for stream in queue.streams}
        self.streams = [stream for stream in self.streams if stream in watched]

    def wanting_keyframe(self) -> set[Stream]:
        """Streams on which some viewer waits for a keyframe."""
        return {
            queue.stream
            for queue in self._viewers.values()
            if queue.needs_keyframe and isinstance(queue.stream, Stream)
        }

    def _stream(self, codec: Codec, view: Hashable, now: float) -> Stream:
        for stream in self.streams:
            if stream.codec == codec and stream.view == view:
                return stream
        self.check(view)
        stream = Stream(codec, view, now)
        self.streams.append(stream)
        return stream
