"""Connections that do nothing, half requests and held uploads: each ends by itself, and none takes what others need."""

from __future__ import annotations

import asyncio

import aiohttp
import pytest

from server.errors import CapacityError, TooManyRequestsError
from server.listener import ConnectionCounts
from server.quota import Quota, RateQuota
from tests.attacks.listening import ended, listening
from tests.server.fakes import until
from tests.server.signalling import JPEG, Peer

HALF_HEADER = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-Slow: "
HALF_BODY = b"POST /whip/lobby HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/sdp\r\nContent-Length: 9000\r\n"


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("case", "sent"),
    [
        ("idle socket", b""),
        ("half a header", HALF_HEADER),
        ("half a body that nobody reads", b"GET /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 90\r\n\r\nhalf"),
        ("idle after an answer", b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"),
    ],
)
async def test_a_connection_that_does_nothing_more_is_closed(
    case: str, sent: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("server.listener.KEEP_ALIVE_SECONDS", 0.5)
    async with listening(header_seconds=0.5, body_seconds=0.5) as server:
        connections = [await server.open(sent) for _ in range(20)]
        async with asyncio.timeout(20):
            await asyncio.gather(*(ended(reader) for reader, _ in connections))
        await until(lambda: len(server.listener.counts) == 0)
        for _, writer in connections:
            writer.close()


@pytest.mark.asyncio
async def test_a_header_that_comes_byte_by_byte_is_not_waited_for_for_ever() -> None:
    async with listening(header_seconds=0.6) as server:
        reader, writer = await server.open(HALF_HEADER)

        async def drip() -> None:
            for _ in range(200):
                writer.write(b"x")
                await asyncio.sleep(0.05)

        dripping = asyncio.create_task(drip())
        async with asyncio.timeout(20):
            await ended(reader)
        dripping.cancel()
        await asyncio.gather(dripping, return_exceptions=True)
        writer.close()


@pytest.mark.asyncio
async def test_half_a_body_is_answered_408_and_logged_as_no_error(caplog: pytest.LogCaptureFixture) -> None:
    async with listening(body_seconds=0.5) as server:
        authorization = f"Authorization: Bearer {server.token(identity='obs')}\r\n\r\n".encode()
        reader, writer = await server.open(HALF_BODY + authorization + b"v=0")
        answer = await asyncio.wait_for(ended(reader), 20)
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert b'"request_timeout"' in answer
        writer.close()
        await until(lambda: len(server.listener.counts) == 0)
    assert not [record for record in caplog.records if record.levelname in ("ERROR", "CRITICAL")]


@pytest.mark.asyncio
async def test_a_request_that_breaks_off_is_no_error_of_the_server(caplog: pytest.LogCaptureFixture) -> None:
    async with listening() as server:
        authorization = f"Authorization: Bearer {server.token(identity='obs')}\r\n\r\n".encode()
        for _ in range(5):
            _, writer = await server.open(HALF_BODY + authorization + b"v=0")
            await asyncio.sleep(0.05)
            writer.transport.abort()
        await until(lambda: len(server.listener.counts) == 0)
    assert not [record for record in caplog.records if record.levelname in ("ERROR", "CRITICAL")]


@pytest.mark.asyncio
async def test_connections_are_bounded_in_all_and_give_their_place_back() -> None:
    async with listening(max_connections=8) as server:
        held = [await server.open() for _ in range(8)]
        await until(lambda: len(server.listener.counts) == 8)
        reader, writer = await server.open()
        answer = await asyncio.wait_for(ended(reader), 20)
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert b"Retry-After" in answer
        assert b'"capacity"' in answer
        writer.close()
        held[0][1].close()
        await until(lambda: len(server.listener.counts) == 7)
        async with aiohttp.ClientSession() as http, http.get(f"{server.address}/healthz") as response:
            assert response.status == 200
        for _, other in held:
            other.close()


def test_one_address_takes_no_more_than_its_share_but_a_proxy_may() -> None:
    counts = ConnectionCounts(total=10, per_address=2, proxies=frozenset({"10.0.0.1"}))
    assert [counts.admit("1.1.1.1") for _ in range(3)] == [True, True, False]
    assert counts.admit("2.2.2.2")
    assert [counts.admit("10.0.0.1") for _ in range(8)] == [True] * 7 + [False], "bounded by the total"
    counts.gone("1.1.1.1")
    assert counts.admit("1.1.1.1")


def test_the_addresses_of_one_ipv6_network_are_one_client() -> None:
    counts = ConnectionCounts(total=10, per_address=2)
    assert [counts.admit(f"2001:db8::{host}") for host in range(1, 4)] == [True, True, False]
    assert counts.admit("2001:db8:0:1::1")
    counts.gone("2001:db8::2")
    assert counts.admit("2001:db8::9")


@pytest.mark.asyncio
async def test_a_client_that_reads_nothing_does_not_hold_its_connection() -> None:
    # Answers that nobody reads: pipelined requests until the client's window and the server's buffer are full.
    async with listening(header_seconds=0.5) as server:
        _, writer = await server.open()
        server_side = next(iter(server.listener.guards.values()))
        server_side._limit = 0.5
        for _ in range(50):
            writer.write(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n" * 20)
            await asyncio.sleep(0)
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        for _ in range(2000):
            if not server.listener.guards:
                break
            server_side._limit = 0.5
            await asyncio.sleep(0.01)
        assert not server.listener.guards
        writer.close()


@pytest.mark.asyncio
async def test_uploads_take_their_slot_before_the_body_is_read() -> None:
    async with listening(max_uploads=4, max_sources=4, body_seconds=30.0) as server, aiohttp.ClientSession() as http:
        token = server.token(identity="ada")
        ada = Peer(await http.ws_connect(f"{server.address}/ws", params={"token": token}))
        participant = (await ada.request("join", room="lobby", name="Ada"))["participant"]
        path = f"/rooms/lobby/participants/{participant}/source"
        head = (
            f"PUT {path}?index=0 HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n"
            f"Content-Type: image/jpeg\r\nContent-Length: 4000000\r\n\r\n"
        )
        # One room has half of the slots: two bodies are begun and held.
        held = [await server.open(head.encode() + JPEG) for _ in range(2)]
        await asyncio.sleep(0.2)
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "image/jpeg"}
        async with http.put(server.address + path, data=JPEG, headers=headers) as response:
            assert response.status == 503
            assert response.headers["Retry-After"]
            assert (await response.json())["code"] == "capacity"
        for _, writer in held:
            writer.transport.abort()

        async def put() -> int:
            async with http.put(server.address + path, data=JPEG, headers=headers) as again:
                return again.status

        for _ in range(200):
            if (status := await put()) != 503:
                break
            await asyncio.sleep(0.02)
        assert status == 201 or status == 429
        await ada.socket.close()


@pytest.mark.asyncio
async def test_uploads_of_one_identity_are_limited_in_rate() -> None:
    async with listening(uploads_per_minute=1.0) as server, aiohttp.ClientSession() as http:
        token = server.token(identity="ada")
        ada = Peer(await http.ws_connect(f"{server.address}/ws", params={"token": token}))
        participant = (await ada.request("join", room="lobby", name="Ada"))["participant"]
        address = f"{server.address}/rooms/lobby/participants/{participant}/source"
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "image/jpeg"}
        statuses = []
        for _ in range(12):
            async with http.put(address, data=JPEG, headers=headers) as response:
                statuses.append(response.status)
        assert statuses == [201] * 10 + [429] * 2
        await ada.socket.close()


def test_a_quota_is_bounded_for_each_owner_and_in_all() -> None:
    quota = Quota("things", 3, {"identity": 2})
    quota.take(identity="ada", room="one")
    quota.take(identity="ada", room="one")
    with pytest.raises(CapacityError, match="one identity"):
        quota.take(identity="ada", room="two")
    quota.take(identity="bob", room="one")
    with pytest.raises(CapacityError, match="no more than 3"):
        quota.take(identity="eve", room="one")
    quota.release(identity="ada", room="one")
    with quota.held(identity="eve", room="one"):
        assert len(quota) == 3
    assert len(quota) == 2


def test_a_rate_is_kept_for_each_key_and_forgets_the_oldest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("server.quota.MAX_REMEMBERED", 5)
    rate = RateQuota("uploads", 1.0, 2.0)
    rate.admit("ada", 0.0)
    rate.admit("ada", 0.0)
    rate.admit("bob", 0.0)
    with pytest.raises(TooManyRequestsError):
        rate.admit("ada", 0.0)
    rate.admit("ada", 1.0)
    for number in range(100):
        rate.admit(number, 1.0)
    assert len(rate) == 5
