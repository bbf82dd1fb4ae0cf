"""Stand-ins that keep the receiver's tests fast: a model that paints, a clock that is told."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any, Literal

import av
import numpy as np
import torch
from aiortc import RTCRtpCodecParameters
from aiortc.codecs import get_encoder
from torch import Tensor

from model.codec.statistics import MotionStatistics
from model.description import Profile
from model.keypoint_layout import KeypointLayout
from model.motion import CanonicalKeypoints, Motion, View
from model.temporal_filter import FrameTime, TemporalFilter
from model.window import Window
from server.media.encoder import Codec, VideoEncoder
from server.media.media_packet import MediaPacket
from server.receiver.render_capacity import RenderCapacity
from server.receiver.render_engine import EngineSettings, RenderEngine
from server.receiver.torch_renderer import TorchRenderer

K = 4
SIZE = 64


@dataclass(frozen=True)
class FakeState:
    """A source image stands for itself."""

    image: Tensor
    nbytes: int = 1000
    canonical: CanonicalKeypoints | None = None
    motion: Motion | None = None
    features: dict[str, Tensor] = field(default_factory=dict)
    sharp: object | None = None
    windows: tuple[Window, ...] = ()


@dataclass
class PaintingModel:
    """Renders the source image with its brightness moved by yaw, so that tests can read motion off pictures."""

    profile: Profile = field(default_factory=lambda: Profile("fake", KeypointLayout(K), SIZE))
    statistics: MotionStatistics = field(default_factory=lambda: MotionStatistics.default(K))
    batches: list[int] = field(default_factory=list)
    views: list[View] = field(default_factory=list)
    frame_times: list[FrameTime] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)  # of the batches
    gate: threading.Event | None = None  # rendering waits for it when set
    weights_hash: str = "00" * 32
    fail: bool = False
    entered: int = 0  # batches begun

    def enrol(self, image: Tensor) -> Any:
        return FakeState(image, sharp=image if image.shape[-1] == self.profile.sharp_size else None)

    def with_windows(self, state: Any, windows: Sequence[Window]) -> Any:
        return replace(state, windows=tuple(windows))

    def render(
        self,
        states: Sequence[Any],
        motions: Motion,
        views: Sequence[View] | None = None,
        frame_times: Sequence[FrameTime] | None = None,
        size: int | None = None,
    ) -> Tensor:
        gate = self.gate
        self.entered += 1
        if gate is not None:
            assert gate.wait(10)
        if self.fail:
            raise RuntimeError("the model broke")
        self.batches.append(len(states))
        self.views.extend(views or [])
        self.frame_times.extend(frame_times or [])
        self.sizes.append(self.profile.size if size is None else size)
        pictures = torch.stack([state.image for state in states]).float()
        if size is not None:
            pictures = torch.nn.functional.interpolate(pictures, size=(size, size))
        return (pictures + torch.as_tensor(motions.yaw).float()[:, None, None, None]).clamp(0, 255).to(torch.uint8)


def render_engine(
    model: Any,
    settings: EngineSettings | None = None,
    clock: Callable[[], float] = time.monotonic,
    capacity: RenderCapacity | None = None,
) -> RenderEngine:
    """An engine for a model that is there already."""
    return RenderEngine(model, lambda: TorchRenderer(model), settings, clock, capacity=capacity)


def frame_time(at: float = 0.0) -> FrameTime:
    """Of a viewer who has seen nothing yet."""
    return FrameTime(TemporalFilter(), at)


class FakeChannel:
    """A data channel of two ends in one process: what one sends the other's listeners get, if not lost."""

    def __init__(self) -> None:
        self.readyState = "open"
        self.bufferedAmount = 0
        self.sent: list[bytes] = []
        self._listeners: list[Callable[[Any], None]] = []

    def on(self, event: str, listener: Callable[[Any], None]) -> None:
        assert event == "message"
        self._listeners.append(listener)

    def listeners(self, event: str) -> list[Callable[[Any], None]]:
        return list(self._listeners)

    def remove_listener(self, event: str, listener: Callable[[Any], None]) -> None:
        self._listeners.remove(listener)

    def send(self, data: bytes) -> None:
        self.sent.append(data)

    def deliver(self, data: Any) -> None:
        for listener in list(self._listeners):
            listener(data)


class FakeClock:
    def __init__(self, now: float = 100.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def motion(yaw: float = 0.0, keypoints: int = K) -> Motion:
    return Motion(
        yaw=np.float32(yaw),
        pitch=np.float32(0),
        roll=np.float32(0),
        translation=np.zeros(3, np.float32),
        scale=np.float32(1),
        expression=np.zeros((keypoints, 3), np.float32),
    )


class FakeSource:
    """Incoming packets that a test hands in."""

    def __init__(self, kind: Literal["audio", "video"]) -> None:
        self.kind = kind
        self.codec = "opus" if kind == "audio" else "VP8"
        self.on_packet: Callable[[MediaPacket], None] | None = None
        self.on_trailer: Callable[[bytes], None] | None = None
        self.answers: list[bytes] = []
        self.reads_answers = True
        self.keyframes_asked = 0
        self.limits: list[int | None] = []

    def request_keyframe(self) -> None:
        self.keyframes_asked += 1

    def limit_bitrate(self, bits_per_second: int | None) -> None:
        self.limits.append(bits_per_second)

    def answer_trailer(self, answer: bytes) -> None:
        self.answers.append(answer)

    def deliver(self, *packets: MediaPacket) -> None:
        for packet in packets:
            if self.on_packet is not None:
                self.on_packet(packet)


class FakeCamera:
    """Packets of an encoded grey picture; every frame has its own sequence numbers and timestamp."""

    def __init__(self, codec: Codec, width: int = 64, height: int = 64, sequence: int = 65_500) -> None:
        self._codec = codec
        self._encoder = VideoEncoder(codec, 300_000)
        self._packets: Any = get_encoder(
            RTCRtpCodecParameters(mimeType=f"video/{codec}", clockRate=90_000, payloadType=97)
        )
        self._size = width, height
        self._sequence = sequence
        self._count = 0

    def frame(self, keyframe: bool = False, level: int = 120) -> list[MediaPacket]:
        width, height = self._size
        planes = np.full((height * 3 // 2, width), 128, np.uint8)
        planes[:height] = level
        self._count += 1
        encoded = self._encoder.encode(planes, 3000 * self._count, keyframe)
        assert encoded is not None
        packet = av.Packet(encoded.data)
        packet.pts, packet.time_base = encoded.pts, Fraction(1, 90_000)
        payloads, timestamp = self._packets.pack(packet)
        packets = []
        for number, payload in enumerate(payloads, 1):
            marker = number == len(payloads)
            packets.append(MediaPacket(payload, self._sequence, timestamp % (1 << 32), marker, self._codec))
            self._sequence = (self._sequence + 1) % 65_536
        return packets


async def until(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    """Let the loop run until the condition holds; fails after a generous limit."""
    for _ in range(int(seconds / 0.002)):
        if condition():
            return
        await asyncio.sleep(0.002)
    raise AssertionError("the condition never came true")
