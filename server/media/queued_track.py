"""A track that sends ready packets out of a queue, whatever the queue's rules are."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Generic, TypeAlias, TypeVar

import av
from aiortc import MediaStreamTrack
from aiortc.mediastreams import MediaStreamError

from server.media.media_packet import MediaPacket

Packet: TypeAlias = "av.Packet[Any]"
"""An encoded packet that belongs to no container."""

Item = TypeVar("Item", bound="Packet | MediaPacket")


class QueuedTrack(MediaStreamTrack, Generic[Item]):
    """The connection reads it once it stands and sends what it yields without encoding (`PacketOutlet`).

    `on_stop` is called once when the track ends, whoever ends it.
    """

    def __init__(self, on_stop: Callable[[], None]) -> None:
        super().__init__()
        self._on_stop: Callable[[], None] | None = on_stop
        self._news = asyncio.Event()

    def take(self) -> Item | None:
        """The next packet that waits, if any. Called first when the track is first read."""
        raise NotImplementedError

    def wake(self) -> None:
        """Something waits."""
        self._news.set()

    async def recv(self) -> Item:  # type: ignore[override]  # aiortc's hint knows frames alone
        """The next packet; raises MediaStreamError when the track has ended."""
        while self.readyState == "live":
            packet = self.take()
            if packet is not None:
                return packet
            self._news.clear()
            await self._news.wait()
        raise MediaStreamError

    def stop(self) -> None:
        """End the track; idempotent."""
        super().stop()
        self._news.set()
        stop, self._on_stop = self._on_stop, None
        if stop is not None:
            stop()
