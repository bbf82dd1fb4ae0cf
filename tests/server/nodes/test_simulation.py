"""Many nodes and rooms, simulated in a real Redis with a clock that is told. docs/performance.md has the large one."""

from __future__ import annotations

import asyncio

import pytest

from server.benchmark.placement import STEP_SECONDS, Simulation
from server.nodes.lease import LEASE_SECONDS, RENEW_SECONDS
from server.nodes.registry import connect
from tests.server.nodes import redis_server


@pytest.mark.slow
@pytest.mark.asyncio
async def test_load_is_even_and_rooms_of_the_dead_are_back_within_ten_seconds() -> None:
    with redis_server() as server:
        redis = connect(server.url)
        try:
            async with asyncio.timeout(120):
                figures = await Simulation(redis, nodes=40, rooms=1600, seconds=20.0, dying=4).run()
        finally:
            await redis.aclose()
    print(figures)
    assert figures["rooms"] == 1600, "every room is on one living node"
    assert figures["load"]["greatest"] < 1.25 * figures["load"]["mean"]
    assert figures["load"]["least"] > 0.75 * figures["load"]["mean"]
    assert 0.0 < figures["back_after_s"] <= LEASE_SECONDS + 1.0 + STEP_SECONDS < 10.0
    # A renewal of each node, and two questions for each room at most.
    assert figures["of_these_renewals"] <= 1.1 * 40 / RENEW_SECONDS
    assert figures["scripts_a_second"] <= figures["of_these_renewals"] + 2.2 * 1600 / 20.0
