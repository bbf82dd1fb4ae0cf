"""The part of a WebRTC data channel that both sides of a call use."""

from __future__ import annotations

from typing import Protocol


class DataChannel(Protocol):
    """What is used of an RTCDataChannel to send on it."""

    @property
    def readyState(self) -> str: ...  # noqa: N802 (WebRTC's name)
    @property
    def bufferedAmount(self) -> int: ...  # noqa: N802
    def send(self, data: bytes) -> None: ...
