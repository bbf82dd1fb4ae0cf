"""What the uplink benchmark counts: each datagram of a loop's sockets, in both directions, by what it is."""

from __future__ import annotations

import asyncio
from typing import cast

from server.benchmark.counted_sockets import IP_UDP_BYTES, CountedBytes, CountingLoop, traffic


def test_datagrams_are_told_by_their_first_bytes() -> None:
    kinds = {bytes([first, second]): traffic(bytes([first, second])) for first in range(256) for second in (0, 96, 200)}
    assert kinds[bytes([0, 0])] == kinds[bytes([1, 96])] == "stun"
    assert kinds[bytes([22, 0])] == kinds[bytes([23, 200])] == "data_channels"
    assert kinds[bytes([0x90, 96])] == kinds[bytes([0x80, 0])] == "rtp"
    assert kinds[bytes([0x81, 200])] == "rtcp"
    assert kinds[bytes([255, 0])] == traffic(b"") == "other"


class Echo(asyncio.DatagramProtocol):
    """Sends back what comes; `heard` is set by the first datagram."""

    def __init__(self, answers: bool) -> None:
        self._answers = answers
        self.heard = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, address: tuple[str, int]) -> None:
        self.heard.set()
        if self._answers:
            self._transport.sendto(data[:20], address)


def test_a_loop_counts_its_sockets_with_their_headers() -> None:
    async def exchange() -> CountedBytes:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, CountingLoop)
        there, _ = await loop.create_datagram_endpoint(lambda: Echo(True), local_addr=("127.0.0.1", 0))
        here, echo = await loop.create_datagram_endpoint(lambda: Echo(False), local_addr=("127.0.0.1", 0))
        try:
            here.sendto(bytes([0x90, 96]) + bytes(98), there.get_extra_info("sockname"))
            await asyncio.wait_for(echo.heard.wait(), 10)
        finally:
            here.close()
            there.close()
        return loop.counted

    with asyncio.Runner(loop_factory=CountingLoop) as runner:
        counted = runner.run(exchange())
    assert dict(counted.up) == dict(counted.down) == {"rtp": 100 + 20 + 2 * IP_UDP_BYTES}, "both ends are on this loop"
    assert counted.packets_up["rtp"] == counted.packets_down["rtp"] == 2
    counted.clear()
    assert counted.up.total() == 0
