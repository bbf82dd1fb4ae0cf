"""What a publication tells whoever records it: everything as it came."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from server.media.media_packet import MediaPacket


@dataclass(frozen=True)
class MotionModel:
    """What recorded motion is for."""

    profile: str  # name
    keypoints: int
    size: int  # side of the coded crop, pixels
    weights: str  # SHA-256 of the weights file, hex


class MediaRecorder(Protocol):
    """Takes one participant's media. Nothing here may wait; times are seconds of the receiver's clock."""

    def model(self, model: MotionModel) -> None:
        """What the motion that follows is for."""

    def source(self, index: int, image: bytes, windows: Mapping[int, bytes]) -> None:
        """The source image of that index is this one from now on, with these windows beside it, by slot."""

    def motion(self, message: bytes, source: int, capture_ms: int, captured: float) -> bool:
        """A motion message; its first frame drives `source` and was captured at `capture_ms` of the sender's clock, at
        `captured`.

        Returns whether it can be decoded from what was taken before, or with it; if not an intra frame is wanted.
        """

    def sound(self, packet: MediaPacket, captured: float, *, alone: bool) -> None:
        """An Opus packet whose sound began about then; `alone`: no camera's pictures belong to it."""

    def picture(self, packet: MediaPacket, arrived: float, keyframe: bool) -> bool:
        """A packet of a camera's pictures; `keyframe`: one begins with it. Returns whether a keyframe is wanted."""
