"""What the daemon publishes: motion, source images and sound, from a camera, a video file or a recording.

Knows nothing of how they are made: a recording is played without torch.
"""

from __future__ import annotations

from typing import Protocol

from model.errors import VisavisError
from server.sender.media.samples import MotionSample, SourceImage, StageTimes, WindowUpload
from server.sender.media.sound import SoundQueue


class FeedListener(Protocol):
    """Hears from a feed, on the event loop."""

    def on_source(self, source: SourceImage) -> None: ...
    def on_window(self, window: WindowUpload) -> None: ...
    def on_motion(self, sample: MotionSample, stages: StageTimes) -> None: ...
    def on_presence(self, problem: str | None) -> None: ...

    def on_end(self, error: BaseException | None) -> None:
        """The feed is over: a file ended (None), or something broke."""

    def on_notice(self, text: str) -> None:
        """Something a person should know that does not end the call."""


class Feed(Protocol):
    """A source of motion. `start` once, `close` once or more."""

    sound: SoundQueue | None

    @property
    def dropped(self) -> int:
        """Frames captured and not sent, before they reached the publisher."""

    def start(self) -> None: ...
    def source_taken(self, index: int) -> None: ...
    def source_refused(self, index: int, error: VisavisError) -> None: ...
    async def close(self) -> None: ...
