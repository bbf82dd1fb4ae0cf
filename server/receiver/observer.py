"""What the receiver tells whoever measures it: the verbs that `server.metrics` implements."""

from __future__ import annotations

from typing import Protocol


class Observer(Protocol):
    """Called from the event loop and from worker threads: implementations must be thread-safe and must not block."""

    def frame_rendered(self, seconds: float) -> None:
        """One frame was rendered; `seconds` is its share of the batch's render time."""

    def frame_dropped(self, reason: str) -> None:
        """One frame was given up: `late`, `stale`, `busy`, `slow_viewer` or `malformed`."""

    def stage(self, name: str, seconds: float) -> None:
        """One frame spent `seconds` in a stage: `network`, `playout`, `queue`, `render`, `video_encode` or `total`."""


class SilentObserver:
    """Measures nothing: the default, and what tests use."""

    def frame_rendered(self, seconds: float) -> None:
        """Ignore."""

    def frame_dropped(self, reason: str) -> None:
        """Ignore."""

    def stage(self, name: str, seconds: float) -> None:
        """Ignore."""
