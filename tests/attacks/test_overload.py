"""More faces than the machine can render: newcomers are refused in time, and what falls short falls evenly."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from typing import Any

import numpy as np
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from model.motion import View
from server.app import build_app
from server.errors import CapacityError
from server.receiver.publication import Publication, PublicationSettings
from server.receiver.render_capacity import (
    FEWEST,
    MOST_SHARP_COST,
    SETTLED_SECONDS,
    STALE_SECONDS,
    RenderCapacity,
)
from server.receiver.render_engine import EngineSettings
from server.receiver.source_cache import SourceCache
from server.routes.parts import PARTS
from server.settings import Settings
from tests.server.fakes import SIZE, FakeChannel, FakeClock, PaintingModel, frame_time, motion, render_engine, until
from tests.server.signalling import (
    FakePublication,
    Peer,
    assert_released,
    offer,
    peer_connection,
    resources,
    running_call,
)


def measured(cost: float, fps: float = 25.0, share: float = 0.8, now: float = 100.0) -> RenderCapacity:
    """A capacity that has seen pictures of that cost."""
    capacity = RenderCapacity(fps, share)
    for number in range(50):
        capacity.rendered(cost, now - 1.0 + number / 50)
    return capacity


def test_a_cold_start_refuses_nobody() -> None:
    capacity = RenderCapacity(25.0)
    assert capacity.cost(0.0) is None
    for number in range(FEWEST - 1):
        capacity.rendered(3.0, float(number))  # compiling
        capacity.promise(number, 1)
        assert capacity.admits(float(number))
    assert capacity.rate_share(10, 10.0) == 1.0


def test_the_first_pictures_of_a_cold_start_do_not_spoil_the_estimate() -> None:
    capacity = RenderCapacity(25.0)
    for number in range(5):
        capacity.rendered(2.0, number / 10)
    for number in range(40):
        capacity.rendered(0.005, 0.5 + number / 25)
    capacity.promise("ada", 1)
    assert capacity.cost(3.0) == pytest.approx(0.005)
    assert capacity.admits(3.0)


@pytest.mark.parametrize("cost", [0.001, 0.04, 0.4, 40.0])
def test_one_talker_with_one_view_is_never_refused(cost: float) -> None:
    capacity = measured(cost)
    assert capacity.admits(100.0)
    assert capacity.admit("talker", 100.0)
    assert capacity.admit("talker", 100.0), "and may publish again"


@pytest.mark.parametrize(("cost_ms", "views"), [(40.0, 1), (20.0, 2), (10.0, 5), (5.0, 10), (2.0, 25)])
def test_refusal_comes_before_the_rate_falls_under_four_fifths(cost_ms: float, views: int) -> None:
    capacity = measured(cost_ms / 1000)
    admitted = 0
    while capacity.admit(admitted, 100.0):
        admitted += 1
    assert admitted == views
    assert capacity.rate_share(admitted, 100.0) >= 0.8 or admitted == 1
    assert capacity.rate_share(admitted + 1, 100.0) < 0.8
    capacity.promise(0, 0)
    assert capacity.admits(100.0), "who goes makes room"


def test_views_count_and_a_bound_of_zero_admits_all() -> None:
    capacity = measured(0.02)
    capacity.promise("ada", 2)
    assert not capacity.admits(100.0)
    everybody = measured(10.0, share=0.0)
    assert all(everybody.admit(number, 100.0) for number in range(50))


@pytest.mark.parametrize("ratio", [8 / 7, 1.6])
def test_sharp_pictures_refuse_nobody_and_go_first(ratio: float) -> None:
    """Three views fit where pictures take 16 ms, and would not with what two people who enjoy 512 pixels cost."""
    capacity = RenderCapacity(25.0)
    now = 100.0
    for number in range(25):
        capacity.rendered(0.016, now + number / 50)
    for number in range(25, 400):
        capacity.rendered(ratio * 0.016, now + number / 50, sharp=True)
        capacity.tick(now + number / 50)
    now += 400 / 50
    assert capacity.cost(now) == pytest.approx(0.016), "what a small one takes, though none was rendered lately"
    assert capacity.admit("ada", now)
    assert capacity.admit("bob", now)
    assert capacity.sharp_fits(now) == (ratio < 1.6)
    assert capacity.admit("eve", now)
    assert not capacity.sharp_fits(now)
    assert not capacity.admit("dan", now)
    capacity.promise("eve", 0)
    capacity.promise("bob", 0)
    assert capacity.sharp_fits(now), "somebody alone was promised nothing"
    capacity.overloaded = True
    assert not capacity.sharp_fits(now)


def test_other_load_is_not_taken_for_the_cost_of_sharp_pictures() -> None:
    capacity = RenderCapacity(25.0)
    for number in range(100):
        capacity.rendered(0.01, number / 25)
    for number in range(100, 200):
        capacity.rendered(0.1, number / 25, sharp=True)
        capacity.tick(number / 25)
    assert capacity.cost(8.0) == pytest.approx(0.1 / MOST_SHARP_COST)


def test_an_old_measurement_says_nothing_any_more() -> None:
    capacity = measured(1.0)
    capacity.promise("ada", 1)
    assert not capacity.admits(100.0)
    assert capacity.admits(100.0 + STALE_SECONDS + 1)


def test_an_overload_is_said_once_it_lasts_and_so_is_its_end() -> None:
    capacity = RenderCapacity(25.0)
    capacity.promise("ada", 1)
    capacity.promise("bob", 1)
    said = []
    for tick in range(400):
        now = tick / 10
        cost = 0.2 if 5.0 <= now < 20.0 else 0.01  # other load for fifteen seconds
        capacity.rendered(cost, now)
        capacity.rendered(cost, now)
        capacity.tick(now)
        said.append(capacity.overloaded)
    changes = [tick / 10 for tick in range(1, 400) if said[tick] != said[tick - 1]]
    assert len(changes) == 2
    assert 5.0 + SETTLED_SECONDS < changes[0] < 15.0
    assert 20.0 + SETTLED_SECONDS < changes[1] < 30.0


def test_a_short_spike_is_not_said() -> None:
    capacity = RenderCapacity(25.0)
    capacity.promise("ada", 2)
    for tick in range(100):
        capacity.rendered(0.5 if 50 <= tick < 60 else 0.01, tick / 10)
        capacity.tick(tick / 10)
        assert not capacity.overloaded


class Call:
    """Two publications over one engine whose capacity the test sets."""

    def __init__(self, capacity: RenderCapacity) -> None:
        self.clock = FakeClock()
        self.engine = render_engine(PaintingModel(), clock=self.clock, capacity=capacity)
        self.cache = SourceCache(self.engine)

    def publication(self, name: str) -> Publication:
        made = Publication(name, self.engine, self.cache, PublicationSettings(), self.clock)
        assert self.engine.capacity.admit(name, self.clock())
        made.attach_motion_channel(FakeChannel())  # type: ignore[arg-type]
        return made


@pytest.mark.asyncio
async def test_a_view_more_is_refused_where_a_view_is_shared_and_free_where_it_is_not() -> None:

    call = Call(measured(0.02))  # two views
    ada, bob = call.publication("ada"), call.publication("bob")
    first = ada.subscribe("v1", "VP8")
    second = ada.subscribe("v2", "VP8")  # shares the view
    with pytest.raises(CapacityError):
        ada.subscribe("v3", "VP8", View(yaw=30.0))
    with pytest.raises(CapacityError):
        second.set_view(View(yaw=30.0))
    first.close()
    second.set_view(View(yaw=30.0))  # alone: it takes its stream along
    await ada.close()
    assert call.engine.capacity.promised == 1
    bob.subscribe("v4", "VP8")
    bob.subscribe("v5", "VP8", View(yaw=30.0))
    await bob.close()
    assert call.engine.capacity.promised == 0
    await call.cache.close()


@pytest.mark.asyncio
async def test_a_publisher_too_many_is_refused_and_readyz_follows() -> None:
    now = asyncio.get_running_loop().time()
    capacity = measured(0.05, now=now)  # one view and no more
    for number in range(200):
        capacity.rendered(0.05, now + number / 50)

    before = resources()
    application: web.Application = build_app(
        Settings(port=0, gone_seconds=60.0), FakePublication, clock=lambda: now, capacity=capacity
    )
    async with asyncio.timeout(60), TestClient(TestServer(application)) as client:
        parts = application[PARTS]

        async def join(name: str) -> Peer:
            peer = Peer(await client.ws_connect("/ws", params={"token": parts.authority.mint("lobby")}))
            assert (await peer.request("join", room="lobby", name=name))["overloaded"] is False
            return peer

        async def publish(peer: Peer) -> dict[str, Any]:
            sender = peer_connection()
            sender.createDataChannel("motion")
            try:
                return await peer.request("publish", sdp=await offer(sender))
            finally:
                await sender.close()

        assert (await client.get("/readyz")).status == 200
        ada, bob = await join("Ada"), await join("Bob")
        assert (await publish(ada))["type"] == "ok"
        answer = await client.get("/readyz")
        assert (answer.status, (await answer.json())["status"]) == (503, "full")
        assert answer.headers["Retry-After"]
        refused = await publish(bob)
        assert (refused["type"], refused["code"]) == ("error", "capacity")
        assert (await publish(ada))["type"] == "ok", "who was admitted may publish again"
        for _ in range(30):  # a lone view below half of the rate
            capacity.rendered(0.5, now)
        parts.conference.tick()
        text = await (await client.get("/metrics")).text()
        assert "visavis_promised_views 1.0" in text
        capacity.overloaded = True  # as after some seconds
        assert parts.conference.overloaded
        await ada.socket.close()
        await bob.socket.close()
    assert not FakePublication.alive
    await assert_released(before)


@pytest.mark.asyncio
async def test_everybody_hears_of_an_overload_and_of_its_end() -> None:
    async with running_call() as call:
        capacity = RenderCapacity(25.0)
        conference = call.parts.conference
        conference._capacity = capacity
        ada, _ = await call.join("Ada")
        bob, _ = await call.join("Bob")
        clock = FakeClock(0.0)
        conference._media_clock = clock
        capacity.promise("ada", 1)
        capacity.promise("bob", 1)
        for cost, said in ((0.5, True), (0.001, False)):
            for _ in range(100):
                clock.now += 0.1
                capacity.rendered(cost, clock.now)
                conference.tick()
            for peer in (ada, bob):
                assert (await peer.until(lambda m: m["type"] == "load"))["overloaded"] is said
        assert "visavis_overloaded 0.0" in (await (await call.client.get("/metrics")).text())


@pytest.mark.asyncio
async def test_before_the_model_is_there_calls_are_told_to_wait() -> None:

    application = build_app(Settings(port=0), None)
    async with asyncio.timeout(30), TestClient(TestServer(application)) as client:
        parts = application[PARTS]
        assert (await client.get("/healthz")).status == 200
        answer = await client.get("/readyz")
        assert (answer.status, (await answer.json())["status"]) == (503, "starting")
        peer = Peer(await client.ws_connect("/ws", params={"token": parts.authority.mint("lobby")}))
        assert (await peer.request("join", room="lobby", name="Ada"))["code"] == "starting"
        parts.conference.open(FakePublication)
        assert (await peer.request("join", room="lobby", name="Ada"))["type"] == "ok", "the model may still load"
        assert (await client.get("/readyz")).status == 503
        parts.conference.loaded.set()
        assert (await client.get("/readyz")).status == 200
        await peer.socket.close()


class SlowModel(PaintingModel):
    """Each batch takes a second of a fake clock."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__()
        self.clock = clock

    def render(self, *given: Any, **named: Any) -> Any:
        pictures = super().render(*given, **named)
        self.clock.now += 1.0
        return pictures


@pytest.mark.asyncio
async def test_an_engine_that_is_too_slow_is_late_for_everybody_alike() -> None:
    clock = FakeClock()
    model = SlowModel(clock)
    engine = render_engine(model, EngineSettings(max_batch=1), clock)
    await engine.start()
    state = await engine.enrol(np.full((SIZE, SIZE, 3), 100, np.uint8))
    got = Counter[str]()
    rounds = 60
    for number in range(rounds):
        # Something is being rendered, three views ask for the same instant, and there is time for one of them.
        model.gate = threading.Event()
        busy = asyncio.get_running_loop().create_future()
        assert engine.submit(state, motion(), View(), frame_time(), float("inf"), busy.set_result)
        await until(lambda wanted=2 * number + 1: model.entered == wanted)  # type: ignore[misc]
        answers = {name: asyncio.get_running_loop().create_future() for name in ("ada", "bob", "eve")}
        for name, answer in answers.items():
            assert engine.submit(state, motion(), View(), frame_time(), clock.now + 1.5, answer.set_result), name
        model.gate.set()
        await busy
        for name, answer in answers.items():
            got[name] += await answer is not None
    await engine.close()
    assert got.total() == rounds
    assert min(got.values()) >= rounds / 6, f"one third each is fair, not {got}"
