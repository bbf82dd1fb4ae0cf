"""The command `serve` as it is, but with publications that need no model: a node that starts in some seconds.

python -m tests.server.nodes.node_process --port 8080
"""

from __future__ import annotations

import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import ModuleType

from aiortc import RTCDataChannel

from server.__main__ import main
from server.signalling.ports import PublicationFactory
from server.wire.control import Ping, Pong, parse_control, send_control
from tests.server.sender.connection.test_session import WEIGHTS
from tests.server.signalling import FakePublication


class AnsweringPublication(FakePublication):
    """Answers pings, so that a sender knows its receiver to be there."""

    def attach_control_channel(self, channel: RTCDataChannel) -> None:
        super().attach_control_channel(channel)

        def hear(data: bytes) -> None:
            message = parse_control(data)
            if isinstance(message, Ping):
                send_control(channel, Pong(message.n, message.ms, 1000 * time.monotonic()))

        channel.on("message", hear)


class Receiver:
    """In place of `LiveReceiver` of `server/live.py`."""

    make_publication: PublicationFactory = AnsweringPublication
    weights = WEIGHTS

    async def loaded(self) -> None:
        """At once."""


@asynccontextmanager
async def live_receiver(*_everything: object) -> AsyncIterator[Receiver]:
    """In place of that of `server/live.py`."""
    yield Receiver()


if __name__ == "__main__":
    live = ModuleType("server.live")
    live.live_receiver = live_receiver  # type: ignore[attr-defined]
    sys.modules["server.live"] = live
    sys.exit(main(["serve", *sys.argv[1:]]))
