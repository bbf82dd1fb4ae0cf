"""One publishing participant's media, whatever its kind: channels and tracks in, subscriptions out."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from aiortc import MediaStreamTrack, RTCDataChannel, RTCRtpSender

from model.motion import View
from server.receiver.observer import Observer
from server.receiver.render_engine import RenderEngine
from server.receiver.source_cache import SourceCache

Kind = Literal["motion", "camera", "none"]
Codec = Literal["VP8", "H264"]


@dataclass(frozen=True)
class PublicationSettings:
    """Knobs of one publication."""

    fps: float = 30.0  # output pictures a second
    max_sources: int = 8  # source images one participant may hold
    max_views: int = 8  # different free views of one participant that are rendered at once
    gone_after_s: float = 5.0  # silence on the control channel after which the peer is gone


class Subscription:
    """One viewer's share of a publication."""

    video: MediaStreamTrack  # yields av.Packet
    audio: MediaStreamTrack  # yields av.Packet (Opus); silent while the publisher sends no sound

    def set_view(self, view: View) -> None:
        """Show another free view; clamped to |yaw| <= 45, |pitch| <= 30, |roll| <= 30 and whole degrees."""
        raise NotImplementedError

    def bind(self, video_sender: RTCRtpSender) -> None:
        """Route the sender's keyframe requests (PLI, FIR) and bandwidth estimates (REMB) to the shared encoder."""
        raise NotImplementedError

    def close(self) -> None:
        """Leave; idempotent."""
        raise NotImplementedError


class Publication:
    """Everything that one publishing participant's media is. All methods belong to one event loop.

    `on_gone()` is called once when the peer has been silent for `gone_after_s`; `on_state(state)` when the
    state changes ("waiting" | "live" | "lost").
    """

    def __init__(
        self,
        participant: str,
        engine: RenderEngine,
        sources: SourceCache,
        settings: PublicationSettings | None = None,
        clock: Callable[[], float] = time.monotonic,
        metrics: Observer | None = None,
    ) -> None:
        self.participant = participant
        self.kind: Kind = "none"
        self.on_gone: Callable[[], None] | None = None
        self.on_state: Callable[[str], None] | None = None

    def attach_motion_channel(self, channel: RTCDataChannel) -> None: ...
    def attach_control_channel(self, channel: RTCDataChannel) -> None: ...
    def attach_audio(self, track: MediaStreamTrack) -> None: ...
    def attach_video(self, track: MediaStreamTrack) -> None: ...

    async def add_source(self, index: int, image: bytes) -> str:
        """Decode, check and enrol a source image; returns its SHA-256 in hex. Raises InputError, FaceError."""
        raise NotImplementedError

    async def attach_cached_source(self, index: int, sha256: str) -> bool:
        """Use a source image that the cache still holds; False when it must be uploaded."""
        raise NotImplementedError

    def subscribe(self, viewer: str, codec: Codec, view: View | None = None) -> Subscription:
        """One viewer's tracks. Call from the loop; rendering starts when the track is first read."""
        raise NotImplementedError

    def statistics(self) -> dict[str, Any]:
        """JSON-ready numbers (see docs/protocol.md)."""
        raise NotImplementedError

    @property
    def audio_level(self) -> float:
        """Loudness of the last 100 ms of sound, dBov (-127 silent .. 0 loudest)."""
        raise NotImplementedError

    async def close(self) -> None:
        """End every subscription, task and worker; idempotent."""
