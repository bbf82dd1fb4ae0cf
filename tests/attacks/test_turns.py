"""Bursts: hundreds of connections that bring something at once, or end at once, are served over many turns."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import io
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest

from server.commands.event_loop import loop_factory
from server.listener import UNWANTED_BYTES, Guard
from server.routes.websocket import FRAMES_AT_ONCE
from server.turns import WORK_PER_TURN, Turns
from tests.attacks.listening import Listening, ended, listening
from tests.server.fakes import until
from tests.server.signalling import Peer

CROWD = 150
REQUEST = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"


class Loop:
    """Turns of a loop that a test makes."""

    def __init__(self) -> None:
        self.asked: list[Callable[[], None]] = []

    def call_soon(self, callback: Callable[[], None]) -> None:
        self.asked.append(callback)

    def turn(self) -> None:
        asked, self.asked = self.asked, []
        for callback in asked:
            callback()


def test_a_turn_takes_up_a_bounded_number_and_nothing_turns_while_nobody_waits() -> None:
    loop = Loop()
    turns = Turns(loop.call_soon, per_turn=4)
    assert [turns.admit() for _ in range(5)] == [True] * 4 + [False]
    done: list[int] = []
    for number in range(10):
        turns.wait("here", lambda number=number: done.append(number))  # type: ignore[misc]
    assert not done
    for count in (4, 8, 10):
        loop.turn()
        assert done == list(range(count))
        assert len(turns) == 10 - count
    assert [turns.admit() for _ in range(3)] == [True, True, False], "two were served in this turn"
    loop.turn()
    assert not loop.asked
    assert turns.admit()


def test_a_crowd_from_one_place_waits_for_itself() -> None:
    loop = Loop()
    turns = Turns(loop.call_soon, per_turn=2)
    done: list[str] = []
    for number in range(100):
        turns.wait("crowd", lambda number=number: done.append(f"crowd {number}"))  # type: ignore[misc]
    turns.wait("Ada", lambda: done.append("Ada"))
    loop.turn()
    assert done == ["crowd 0", "Ada"]
    loop.turn()
    assert done[2:] == ["crowd 1", "crowd 2"]


def test_work_that_fails_holds_nobody_up_and_at_the_end_nobody_waits() -> None:
    loop = Loop()
    turns = Turns(loop.call_soon, per_turn=1)
    done: list[int] = []

    def fail() -> None:
        raise RuntimeError("a bug")

    turns.wait("here", fail)
    for number in range(5):
        turns.wait("here", lambda number=number: done.append(number))  # type: ignore[misc]
    with pytest.raises(RuntimeError):
        loop.turn()
    loop.turn()
    assert done == [0]
    turns.end()
    assert done == [0, 1, 2, 3, 4]
    assert all(turns.admit() for _ in range(1000))


class PerTurn:
    """How often something was called in each turn of the running loop."""

    def __init__(self) -> None:
        self.counts = [0]

    def called(self) -> None:
        self.counts[-1] += 1

    @property
    def total(self) -> int:
        return sum(self.counts)

    @property
    def most(self) -> int:
        return max(self.counts)

    def watch(self, monkeypatch: pytest.MonkeyPatch, thing: object, name: str) -> None:
        """Count calls of a method."""
        original = getattr(thing, name)

        def counting(*arguments: Any, **named: Any) -> Any:
            self.called()
            return original(*arguments, **named)

        monkeypatch.setattr(thing, name, counting)


@asynccontextmanager
async def per_turn() -> AsyncIterator[PerTurn]:
    counted = PerTurn()

    async def turn() -> None:
        while True:
            await asyncio.sleep(0)
            if counted.counts[-1]:
                counted.counts.append(0)

    turning = asyncio.create_task(turn())
    try:
        yield counted
    finally:
        turning.cancel()
        await asyncio.gather(turning, return_exceptions=True)


async def crowd(server: Listening, count: int = CROWD) -> list[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """Connections that have said nothing yet."""
    connections = [await server.open() for _ in range(count)]
    await until(lambda: len(server.listener.counts) >= count)
    return connections


@pytest.mark.asyncio
async def test_requests_that_come_at_once_are_taken_up_a_few_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    async with listening() as server, per_turn() as begun:
        connections = await crowd(server)
        begun.watch(monkeypatch, Guard, "began")
        for _, writer in connections:
            writer.write(REQUEST)
        answers = await asyncio.gather(*(reader.readuntil(b"\r\n\r\n") for reader, _ in connections))
        assert all(answer.startswith(b"HTTP/1.1 200 ") for answer in answers)
        assert begun.total == CROWD
        assert begun.most <= 2 * WORK_PER_TURN
        for _, writer in connections:
            writer.close()


@pytest.mark.asyncio
async def test_who_was_answered_before_does_not_stand_behind_the_crowd(monkeypatch: pytest.MonkeyPatch) -> None:
    async with listening() as server, per_turn() as begun:
        reader, writer = await server.open(REQUEST)
        await reader.readuntil(b"\r\n\r\n")
        connections = await crowd(server)
        begun.watch(monkeypatch, Guard, "began")
        for _, other in connections:
            other.write(REQUEST)
        writer.write(REQUEST)
        # The rest of the answer before, then the whole of this one.
        await reader.readuntil(b"\r\n\r\n")
        before = begun.total
        assert before <= 8 * WORK_PER_TURN, "of 150 from the same address"
        await asyncio.gather(*(other.readuntil(b"\r\n\r\n") for other, _ in connections))
        for _, other in [*connections, (reader, writer)]:
            other.close()


@pytest.mark.asyncio
@pytest.mark.parametrize("case", ["clients go", "bodies take too long"])
async def test_requests_that_end_at_once_end_a_few_at_a_time(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    late = case == "bodies take too long"
    async with listening(body_seconds=2.0 if late else 30.0) as server, per_turn() as over:
        head = f"POST /whip/lobby HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {server.token(identity='obs')}\r\n"
        half = f"{head}Content-Type: application/sdp\r\nContent-Length: 9000\r\n\r\nv=0".encode()
        connections = await crowd(server, 90)
        for _, writer in connections:
            writer.write(half)
        await until(lambda: sum(guard._request is not None for guard in server.listener.guards.values()) == 90)
        over.watch(monkeypatch, Guard, "ended")
        if late:
            async with asyncio.timeout(30):
                answers = await asyncio.gather(*(ended(reader) for reader, _ in connections))
            assert all(answer.startswith(b"HTTP/1.1 408 ") for answer in answers)
        for _, writer in connections:
            writer.transport.abort()
        await until(lambda: over.total == 90)
        assert over.most <= 2 * WORK_PER_TURN


@pytest.mark.asyncio
async def test_frames_that_come_at_once_are_answered_a_few_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    async with listening() as server, aiohttp.ClientSession() as http, per_turn() as heard:
        socket = await http.ws_connect(f"{server.address}/ws", params={"token": server.token()}, autoping=False)
        peer = Peer(socket)
        await peer.request("join", room="lobby", name="Ada")
        heard.watch(monkeypatch, server.parts.conference, "heard")
        for _ in range(300):
            await socket.ping()
        await until(lambda: heard.total >= 300)
        assert heard.most <= FRAMES_AT_ONCE
        await socket.close()


@pytest.mark.asyncio
async def test_a_body_that_nobody_wants_is_answered_and_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []
    original = Guard.buffer_updated

    def counting(guard: Guard, count: int) -> None:
        read.append(count)
        original(guard, count)

    monkeypatch.setattr(Guard, "buffer_updated", counting)
    size = 4 << 20
    head = f"PUT /rooms/lobby/participants/nobody/source HTTP/1.1\r\nHost: x\r\nContent-Length: {size}\r\n\r\n"
    async with listening() as server:
        reader, writer = await server.open(head.encode())
        writer.write(bytes(size))
        answer = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 20)
        assert answer.startswith(b"HTTP/1.1 401 ")
        async with asyncio.timeout(20):
            await ended(reader)
        assert sum(read) <= 8 * UNWANTED_BYTES
        writer.close()


@pytest.mark.asyncio
async def test_after_a_small_body_that_nobody_wanted_the_connection_goes_on() -> None:
    head = b"PUT /rooms/lobby/participants/nobody/source HTTP/1.1\r\nHost: x\r\nContent-Length: 40000\r\n\r\n"
    async with listening() as server:
        reader, writer = await server.open()
        for _ in range(5):
            writer.write(head + bytes(40_000))
            assert (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 20)).startswith(b"HTTP/1.1 401 ")
            await reader.readuntil(b"}")
            writer.write(REQUEST)
            assert (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 20)).startswith(b"HTTP/1.1 200 ")
            await reader.readuntil(b"}")
        writer.close()


@pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, loop_factory()])
def test_uploads_arrive_whole_amid_a_crowd(new_loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
    image = b"\xff\xd8\xff\xe0" + bytes(range(256)) * 12_000

    async def upload() -> None:
        # uvloop keeps a descriptor from its first server on.
        async with await asyncio.start_server(lambda _reader, writer: writer.close(), "127.0.0.1", 0):
            pass
        async with listening() as server, aiohttp.ClientSession() as http:
            token = server.token(identity="ada")
            ada = Peer(await http.ws_connect(f"{server.address}/ws", params={"token": token}))
            participant = (await ada.request("join", room="lobby", name="Ada"))["participant"]
            address = f"{server.address}/rooms/lobby/participants/{participant}/source"
            headers = {"Authorization": f"Bearer {token}", "Content-Type": "image/jpeg"}

            async def put(index: int) -> None:
                async with http.put(f"{address}?index={index}", data=io.BytesIO(image), headers=headers) as response:
                    assert response.status == 201
                    assert (await response.json())["sha256"] == hashlib.sha256(image).hexdigest()

            connections = await crowd(server, 100)
            for _, writer in connections:
                writer.write(REQUEST)
            await asyncio.gather(*(put(index) for index in range(3)))
            await asyncio.gather(*(reader.readuntil(b"\r\n\r\n") for reader, _ in connections))
            for _, writer in connections:
                writer.close()
                with contextlib.suppress(ConnectionError):
                    await writer.wait_closed()
            await ada.socket.close()

    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(upload())
