"""The server's own pause is nobody's silence: stopped, starved or compiling, it keeps everybody who is still there."""

from __future__ import annotations

import asyncio
import signal

import aiohttp
import pytest

from server.awake_clock import AwakeClock
from server.receiver.control_session import ControlSession
from server.settings import Settings
from server.signalling.rooms import RoomLimits, Rooms
from tests.server.fakes import FakeChannel, FakeClock
from tests.server.serving import running
from tests.server.signalling import Peer


def test_time_counts_only_while_somebody_looks() -> None:
    clock = FakeClock(100.0)
    awake = AwakeClock(clock)
    begin = awake()
    for _ in range(10):
        clock.now += 0.2
        awake()
    assert awake() - begin == pytest.approx(2.0)
    clock.now += 7.0
    assert awake() - begin == pytest.approx(3.0)
    clock.now -= 5.0
    assert awake() - begin == pytest.approx(3.0), "it never goes back"


def test_participants_stay_over_a_pause_and_go_after_real_silence() -> None:
    clock = FakeClock(100.0)
    awake = AwakeClock(clock)
    secrets = iter(range(1000))
    rooms = Rooms(RoomLimits(gone_seconds=5.0), lambda: f"secret-{next(secrets)}")
    for name in ("Ada", "Bob", "Eve", "Dan"):
        rooms.join(awake(), "lobby", name, name, "page")
    clock.now += 7.0  # stopped
    assert rooms.tick(awake()) == []
    assert len(rooms) == 4
    for _ in range(30):
        clock.now += 0.2
        rooms.tick(awake())
    assert len(rooms) == 0, "six seconds in which it listened and heard nothing"


def test_a_sender_stays_over_a_pause_and_goes_after_real_silence() -> None:
    clock = FakeClock(100.0)
    awake = AwakeClock(clock)
    gone: list[bool] = []
    session = ControlSession(clock, lambda *_: True, lambda: gone.append(True), 5.0, awake)
    session.attach(FakeChannel())  # type: ignore[arg-type]
    clock.now += 7.0
    session.tick(clock.now)
    assert not gone
    for _ in range(6):
        clock.now += 1.0
        session.tick(clock.now)
    assert gone == [True]


@pytest.mark.slow
@pytest.mark.e2e
@pytest.mark.asyncio
async def test_a_stopped_process_keeps_its_four_participants() -> None:
    gone = Settings().gone_seconds
    async with (
        asyncio.timeout(150),
        aiohttp.ClientSession() as http,
        running(VISAVIS_ENGINE="torch") as (process, _, address),
    ):
        async with http.get(f"{address}/api/config") as answer:
            token = (await answer.json())["token"]
        peers = []
        for name in ("Ada", "Bob", "Eve", "Dan"):
            peer = Peer(await http.ws_connect(f"{address}/ws", params={"token": token}))
            assert (await peer.request("join", room="lobby", name=name))["type"] == "ok"
            peers.append(peer)
        process.send_signal(signal.SIGSTOP)
        await asyncio.sleep(gone + 2.0)
        process.send_signal(signal.SIGCONT)
        # Each is still in the roster some ticks later, and the sockets answer.
        for _ in range(3):
            await asyncio.sleep(0.5)
            for peer in peers:
                assert (await peer.request("ping", t=1.0))["type"] == "ok"
        assert not [m for peer in peers for m in peer.news if m["type"] == "closed"]
        rosters = [m for m in peers[0].news if m["type"] == "roster"]
        assert len(rosters[-1]["participants"]) == 4
        for peer in peers:
            await peer.socket.close()
