"""An event loop that counts what its UDP sockets send and receive, with the headers of IP and UDP, by what it is."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any, Literal, cast

IP_UDP_BYTES = 28
"""IPv4 and UDP."""

Traffic = Literal["stun", "data_channels", "rtp", "rtcp", "other"]


def traffic(datagram: bytes) -> Traffic:
    """What a datagram of a WebRTC connection is, by its first two bytes (RFC 7983, RFC 5761 section 4)."""
    if len(datagram) < 2:
        return "other"
    first = datagram[0]
    if first < 4:
        return "stun"
    if 20 <= first < 64:
        return "data_channels"
    if 128 <= first < 192:
        return "rtcp" if 192 <= datagram[1] <= 223 else "rtp"
    return "other"


class CountedBytes:
    """Bytes by kind of traffic, in both directions."""

    def __init__(self) -> None:
        self.up: Counter[str] = Counter()
        self.down: Counter[str] = Counter()
        self.packets_up: Counter[str] = Counter()
        self.packets_down: Counter[str] = Counter()

    def sent(self, datagram: bytes) -> None:
        """One datagram leaves."""
        self.up[traffic(datagram)] += len(datagram) + IP_UDP_BYTES
        self.packets_up[traffic(datagram)] += 1

    def received(self, datagram: bytes) -> None:
        """One datagram came."""
        self.down[traffic(datagram)] += len(datagram) + IP_UDP_BYTES
        self.packets_down[traffic(datagram)] += 1

    def clear(self) -> None:
        """Begin anew."""
        for counter in (self.up, self.down, self.packets_up, self.packets_down):
            counter.clear()


class CountingLoop(asyncio.SelectorEventLoop):
    """asyncio's loop; every UDP endpoint that is made on it is counted."""

    def __init__(self) -> None:
        super().__init__()
        self.counted = CountedBytes()

    async def create_datagram_endpoint(self, protocol_factory: Any, *arguments: Any, **options: Any) -> Any:
        """As of every loop."""
        transport, protocol = await super().create_datagram_endpoint(protocol_factory, *arguments, **options)
        endpoint, received = cast(Any, transport), protocol.datagram_received
        send = endpoint.sendto
        # The transport keeps the protocol and reads `datagram_received` of it with each datagram.

        def sendto(data: bytes, *to: Any) -> None:
            self.counted.sent(data)
            send(data, *to)

        def datagram_received(data: bytes, address: Any) -> None:
            self.counted.received(data)
            received(data, address)

        endpoint.sendto = sendto
        cast(Any, protocol).datagram_received = datagram_received
        return transport, protocol
