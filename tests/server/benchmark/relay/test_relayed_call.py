"""Real processes over the relay, some seconds: media flow through it and are counted, over a line that loses, too."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from server.benchmark.network.link import LinkSettings
from server.benchmark.network.measuring import CallRecord
from server.benchmark.network.report import COLUMNS
from server.benchmark.network.scenarios import SCENARIOS
from server.benchmark.relay.__main__ import run
from server.benchmark.relay.call import RelayedCall, one_port_server, standing_call

PATIENCE = 90.0
LOSSY = LinkSettings(loss=0.15)


async def _more(call: RelayedCall, pictures: int, packets: int) -> CallRecord:
    """What came once there are so many more pictures and packets of sound than now; fails after `PATIENCE`."""
    before = await call.record()
    async with asyncio.timeout(PATIENCE):
        while True:
            record = await call.record()
            new = len(record.pictures) - len(before.pictures), len(record.sound) - len(before.sound)
            if new[0] >= pictures and new[1] >= packets:
                return record
            await asyncio.sleep(0.2)


async def _all_bytes_are_accounted_for(call: RelayedCall) -> None:
    """What the sender sent since the beginning went on to the server or was lost, once nothing is on its way."""
    async with asyncio.timeout(PATIENCE):
        while True:
            await call.lines()
            report = call.reports["sender"]
            sent, passed, lost = sum(report["up"].values()), report["passed"]["up"], report["lost"]["up"]
            assert sent >= passed + lost
            if sent == passed + lost:
                return
            await asyncio.sleep(0.05)


@pytest.mark.slow
@pytest.mark.e2e
def test_a_call_of_real_commands_goes_through_the_relay() -> None:
    async def call_over_relay() -> None:
        async with (
            one_port_server(VISAVIS_ENGINE="torch") as server,
            standing_call(server, seed=1, command=True) as call,
        ):
            await call.change(LOSSY, LinkSettings())
            record = await _more(call, pictures=10, packets=20)
            assert {payload for _, payload in record.sound} & {packet.payload for packet in record.spoken}
            sender, viewer = await call.lines()
            assert sender.counted.up["rtp"] > 0
            assert sender.counted.down["rtcp"] > 0
            assert viewer.counted.down["rtp"] > sender.counted.up["rtp"]
            await call.cut()  # what is sent now is lost at once, and what is on its way arrives
            await _all_bytes_are_accounted_for(call)
            await call.cut(whole=True)
            await call.change(LinkSettings(), LinkSettings())
            await call.move()
            await _more(call, pictures=5, packets=10)

    asyncio.run(call_over_relay())


@pytest.mark.slow
@pytest.mark.e2e
def test_the_report_has_the_figures_of_virtual_time() -> None:
    lossy = next(scenario for scenario in SCENARIOS if scenario.sender == LOSSY and scenario.voice)

    async def measured() -> dict[str, Any]:
        async with one_port_server(VISAVIS_ENGINE="torch") as server:
            return (await run(server, [lossy], seconds=3.0, seed=1))[lossy.name]

    figures = asyncio.run(measured())
    of_bottlenecks = {"wait_ms_p95", "settle_s"}
    assert COLUMNS.keys() - figures.keys() == of_bottlenecks
    assert figures["sound_played_percent"] > 0
    assert figures["pictures_per_second"] > 0
    assert figures["uplink_kbps"] == pytest.approx(sum(figures["uplink_parts"].values()), abs=0.3)
    assert figures["relay_late_ms_p50"] is not None
