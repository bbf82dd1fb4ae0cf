"""What signalling asks of one participant's media. `server.receiver.publication` implements it; tests have fakes."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, Protocol

from aiortc import MediaStreamTrack, RTCDataChannel, RTCRtpSender

from server.media.aiortc_private import PacketInlet
from server.media.recorder import MediaRecorder

if TYPE_CHECKING:
    from model.motion import View


class SubscriptionPort(Protocol):
    """One viewer's share of a publication."""

    @property
    def video(self) -> MediaStreamTrack:
        """Encoded pictures."""

    @property
    def audio(self) -> MediaStreamTrack | None:
        """Encoded sound."""

    def set_view(self, view: View) -> None:
        """Show another free view."""

    def bind(self, video: RTCRtpSender | None, audio: RTCRtpSender | None) -> None:
        """Serve the senders of this viewer's connection, and take their feedback."""

    def sent_frames(self) -> list[tuple[int, float]]:
        """Pictures sent since this was asked last: RTP timestamp, capture time in seconds of the server's clock."""

    def close(self) -> None:
        """Leave; idempotent."""


class PublicationPort(Protocol):
    """Everything that one publishing participant's media is."""

    on_gone: Callable[[], None] | None
    on_state: Callable[[str], None] | None

    @property
    def kind(self) -> Literal["motion", "camera", "none"]:
        """What arrives; `none` until a channel or a track is attached."""

    @property
    def video_codec(self) -> Literal["VP8", "H264"] | None:
        """What viewers should take if they can; None where it does not matter."""

    @property
    def audio_level(self) -> float:
        """Loudness of the last 100 ms, dBov (-127 to 0)."""

    def attach_motion_channel(self, channel: RTCDataChannel) -> None:
        """Take motion messages from `channel`."""

    def attach_control_channel(self, channel: RTCDataChannel) -> None:
        """Exchange control messages on `channel`."""

    def attach_audio(self, source: PacketInlet) -> None:
        """Take sound from `source`."""

    def attach_video(self, source: PacketInlet) -> None:
        """Take camera pictures from `source`."""

    def silence(self, silent: bool) -> None:
        """Let no viewer hear the participant while `silent`."""

    def mark_avatar(self, avatar: bool) -> None:
        """Draw the mark of an avatar into its rendered pictures while `avatar`."""

    async def add_source(self, index: int, image: bytes, scene: int = 0) -> str:
        """Check and enrol a source image; its SHA-256 in hex. Raises InputError, FaceError."""

    async def attach_cached_source(self, index: int, sha256: str, scene: int | None = None) -> bool:
        """Use a source image that is still cached; False when it is not."""

    async def add_window(self, slot: int, data: bytes, scene: int = 0) -> None:
        """Take a window of that scene in place of the one in that slot. Raises InputError."""

    def subscribe(self, viewer: str, codec: Literal["VP8", "H264"]) -> SubscriptionPort:
        """One viewer's tracks."""

    def record(self, recorder: MediaRecorder | None) -> None:
        """Tell `recorder` everything that comes from now on; nobody with None."""

    def statistics(self) -> dict[str, Any]:
        """JSON-ready numbers."""

    async def close(self) -> None:
        """End everything; idempotent."""


class CapacityPort(Protocol):
    """How much more this machine can render. Times are seconds of the clock that the renderer uses."""

    @property
    def overloaded(self) -> bool:
        """Whether for some seconds everybody has been getting less than promised."""

    @property
    def promised(self) -> int:
        """Views promised at present."""

    def admits(self, now: float) -> bool:
        """Whether one more view leaves enough for everybody."""

    def admit(self, owner: str, now: float) -> bool:
        """Promise that publisher its first view where there is time for one."""

    def capacity(self, now: float) -> float:
        """Views that this machine can render, above 0."""

    def cost(self, now: float) -> float | None:
        """Seconds that a picture takes; None while it is not known."""

    def rate_share(self, views: int, now: float) -> float:
        """Share of the full rate that each of so many views gets."""

    def tick(self, now: float) -> None:
        """Let time pass."""


PublicationFactory = Callable[[str], PublicationPort]
"""Makes the publication of the participant with that id."""
