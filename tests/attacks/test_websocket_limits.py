"""Floods of frames, bursts of honest clients, sockets that outlive their token."""

from __future__ import annotations

import asyncio
import contextlib
import time

import aiohttp
import jwt
import pytest
from aiohttp import WSMsgType
from aiohttp.test_utils import TestClient, TestServer

from server.app import build_app
from server.errors import UnauthorizedError
from server.routes.parts import PARTS
from server.settings import Settings
from tests.attacks.listening import listening
from tests.server.fakes import FakeClock
from tests.server.signalling import Call, FakePublication, Peer, running_call


@pytest.mark.asyncio
async def test_a_flood_of_pings_ends_its_own_socket_and_keeps_nobody_waiting() -> None:
    async with listening() as server, aiohttp.ClientSession() as http:
        honest = Peer(await http.ws_connect(f"{server.address}/ws", params={"token": server.token()}))
        await honest.request("join", room="lobby", name="Ada")
        flood = await http.ws_connect(f"{server.address}/ws", params={"token": server.token()}, autoping=False)
        sent = 0
        with contextlib.suppress(ConnectionError, aiohttp.ClientError):
            for sent in range(20_000):
                await flood.ping()
                if sent % 100 == 0:
                    await asyncio.sleep(0)
        assert sent < 19_999, "the server went on taking them"
        async with asyncio.timeout(10):
            reasons = [message.json() async for message in flood if message.type is WSMsgType.TEXT]
        assert not reasons or reasons[-1] == {"type": "closed", "reason": "flood"}
        assert (await honest.request("ping", t=1.0))["t"] == 1.0
        await honest.socket.close()


@pytest.mark.asyncio
@pytest.mark.parametrize("kind", ["pong", "binary"])
async def test_frames_of_other_kinds_are_limited_as_well(kind: str) -> None:
    async with listening() as server, aiohttp.ClientSession() as http:
        flood = await http.ws_connect(f"{server.address}/ws", params={"token": server.token()}, autoping=False)
        sent = 0
        with contextlib.suppress(ConnectionError, aiohttp.ClientError):
            for sent in range(20_000):
                await (flood.pong() if kind == "pong" else flood.send_bytes(b"x"))
                if sent % 50 == 0:
                    await asyncio.sleep(0)
        assert sent < 19_999


@pytest.mark.asyncio
async def test_fragments_that_end_no_message_are_limited() -> None:
    """Empty ones never reach the bound of a message, and nobody sees them before its end."""
    async with listening() as server, aiohttp.ClientSession() as http:
        honest = Peer(await http.ws_connect(f"{server.address}/ws", params={"token": server.token()}))
        await honest.request("join", room="lobby", name="Ada")
        upgrade = (
            f"GET /ws?token={server.token()} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n"
            "Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )
        reader, writer = await server.open(upgrade.encode())
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101")
        writer.write(b"\x01\x80\0\0\0\0")  # the begin of a text message, masked
        sent = 0
        with contextlib.suppress(ConnectionError):
            for _ in range(1_000):
                writer.write(b"\x00\x80\0\0\0\0" * 2_700)
                await writer.drain()
                sent += 1
        assert sent < 1_000, "16 MB of fragments were taken"
        writer.close()
        assert (await honest.request("ping", t=1.0))["t"] == 1.0
        await honest.socket.close()


@pytest.mark.asyncio
async def test_the_offers_of_a_page_that_joins_a_full_room_are_within_what_a_socket_may_bring() -> None:
    async with listening() as server, aiohttp.ClientSession() as http:
        page = Peer(await http.ws_connect(f"{server.address}/ws", params={"token": server.token()}))
        await page.request("join", room="lobby", name="Ada")
        for _ in range(32):
            answer = await page.request("subscribe", participant="nobody", sdp="v=0\r\n" + "a=x\r\n" * 4_000)
            assert answer["code"] == "not_found"
        await page.socket.close()


@pytest.mark.asyncio
async def test_a_burst_inside_the_limit_is_answered_to_the_end() -> None:
    async with running_call() as call:
        peer, _ = await call.join("Ada")
        count = 98
        for number in range(count):
            await peer.socket.send_json({"type": "ping", "id": 1000 + number, "t": float(number)})
        answers = [await peer.answer(1000 + number) for number in range(count)]
        assert [answer["t"] for answer in answers] == [float(number) for number in range(count)]
        assert (await peer.request("ping", t=0.0))["type"] == "ok"


@pytest.mark.asyncio
async def test_a_socket_ends_with_its_token() -> None:
    wall_clock = FakeClock(time.time())
    application = build_app(Settings(port=0, gone_seconds=60.0), FakePublication, wall_clock=wall_clock)
    async with asyncio.timeout(60), TestClient(TestServer(application)) as client:
        call = Call(client, application[PARTS])
        short = await call.connect(call.token(hours=1.0))
        long = await call.connect(call.token(hours=9.0))
        for peer, name in ((short, "Ada"), (long, "Bob")):
            assert (await peer.request("join", room="lobby", name=name))["type"] == "ok"
        wall_clock.now += 2 * 3600.0
        closed = await asyncio.wait_for(short.until(lambda m: m["type"] == "closed"), 20)
        assert closed["reason"] == "expired"
        assert (await long.request("ping", t=1.0))["type"] == "ok"


@pytest.mark.asyncio
async def test_one_identity_holds_a_bounded_number_of_sockets() -> None:
    async with running_call(max_sockets_per_identity=2) as call:
        token, other = call.token(identity="ada"), call.token(identity="bob")
        first = await call.connect(token)
        await call.connect(token)
        answer = await call.client.get("/ws", params={"token": token})
        assert answer.status == 503
        assert (await answer.json())["code"] == "capacity"
        assert (await (await call.connect(other)).request("ping", t=1.0))["type"] == "ok"
        await first.socket.close()

        async def again() -> bool:
            with contextlib.suppress(aiohttp.WSServerHandshakeError):
                await call.connect(token)
                return True
            return False

        for _ in range(200):
            if await again():
                return
            await asyncio.sleep(0.02)
        raise AssertionError("the place was not given back")


@pytest.mark.asyncio
@pytest.mark.parametrize("claim", ["exp", "nbf"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
async def test_times_that_are_no_numbers_are_refused(claim: str, value: float) -> None:
    async with running_call() as call:
        authority = call.parts.authority
        now = time.time()
        claims: dict[str, object] = {"iss": authority.key, "sub": "a", "exp": now + 60, "nbf": now - 60}
        claims["video"] = {"room": "lobby", "roomJoin": True}
        assert authority.verify(jwt.encode(claims, authority.secret, algorithm="HS256")).sub == "a"
        claims[claim] = value
        with pytest.raises(UnauthorizedError):
            authority.verify(jwt.encode(claims, authority.secret, algorithm="HS256"))


@pytest.mark.asyncio
async def test_a_minted_token_is_good_a_minute_earlier() -> None:
    async with running_call() as call:
        claims = call.parts.authority.verify(call.token())
        assert claims.nbf <= time.time() - 59
