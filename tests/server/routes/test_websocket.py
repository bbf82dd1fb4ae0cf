"""The WebSocket: joining, roster, refusals, lost connections; what one client does wrong the others do not notice."""

from __future__ import annotations

import json
from typing import Any

import aiohttp
import pytest
from aiohttp import WSMsgType, web

from server.routes import websocket
from server.routes.pools import Pools
from tests.server.fakes import FakeClock
from tests.server.signalling import FakePublication, Peer, offer, pass_seconds, peer_connection, running_call


def names(roster: list[dict[str, Any]]) -> list[str]:
    return [entry["name"] for entry in roster]


@pytest.mark.asyncio
async def test_join_gives_all_that_a_client_needs() -> None:
    async with running_call(stun_urls=("stun:s:1",)) as call:
        _, answer = await call.join("Ada")
        assert answer["ice_servers"] == [{"urls": ["stun:s:1"]}]
        assert names(answer["roster"]) == ["Ada"]
        assert answer["roster"][0]["state"] == "waiting"
        assert answer["limits"]["participants"] == 16
        assert answer["resumed"] is False


@pytest.mark.asyncio
async def test_everybody_sees_joins_changes_and_leaves() -> None:
    async with running_call() as call:
        ada, _ = await call.join("Ada")
        bob, answer = await call.join("Bob")
        assert names(answer["roster"]) == ["Ada", "Bob"]
        await ada.roster(lambda r: names(r) == ["Ada", "Bob"])
        assert (await bob.request("state", muted=True, name="Robert", avatar=True))["type"] == "ok"
        changed = await ada.roster(lambda r: names(r) == ["Ada", "Robert"])
        assert (changed[1]["muted"], changed[1]["avatar"]) == (True, True)
        assert (await bob.request("leave"))["type"] == "ok"
        assert (await bob.until(lambda m: m["type"] == "closed"))["reason"] == "left"
        await ada.roster(lambda r: names(r) == ["Ada"])
        assert len(call.parts.conference.rooms) == 1


@pytest.mark.asyncio
async def test_rooms_are_apart() -> None:
    async with running_call() as call:
        ada, _ = await call.join("Ada", "one")
        _, answer = await call.join("Bob", "two")
        assert names(answer["roster"]) == ["Bob"]
        assert (await ada.request("ping", t=1.0))["t"] == 1.0
        assert names((await ada.until(lambda m: m["type"] == "roster"))["participants"]) == ["Ada"]


@pytest.mark.asyncio
@pytest.mark.parametrize("case", ["missing", "malformed", "expired", "other key"])
async def test_bad_tokens_are_401_before_the_upgrade(case: str) -> None:
    async with running_call() as call:
        tokens = {
            "missing": "",
            "malformed": "x.y.z",
            "expired": call.token(hours=-1.0),
            "other key": call.token()[:-4] + "AAAA",
        }
        answer = await call.client.get("/ws", params={"token": tokens[case]})
        assert answer.status == 401
        assert (await answer.json())["code"] == "unauthorized"
        assert call.parts.conference.rooms.names() == []


@pytest.mark.asyncio
async def test_token_opens_its_room_only() -> None:
    async with running_call() as call:
        peer = await call.connect(call.token("one"))
        answer = await peer.request("join", room="two", name="Ada")
        assert (answer["type"], answer["code"]) == ("error", "forbidden")
        assert (await peer.request("join", room="one", name="Ada"))["type"] == "ok"


@pytest.mark.asyncio
async def test_wrong_messages_get_their_error_and_others_notice_nothing() -> None:
    async with running_call() as call:
        ada, _ = await call.join("Ada")
        bob, _ = await call.join("Bob")
        await ada.roster(lambda r: len(r) == 2)
        version = call.parts.conference.rooms.version("lobby")

        async def refused(text: str, identifier: int | None) -> str:
            await bob.socket.send_str(text)
            answer = await bob.answer(identifier)
            return str(answer["code"])

        assert await refused("not json", None) == "protocol"
        assert await refused('{"type":"dance","id":900}', 900) == "protocol"
        assert await refused('{"type":"view","id":901,"subscription":"s","yaw":400}', 901) == "protocol"
        assert await refused('{"type":"ping","id":902,"t":"' + "x" * 70_000 + '"}', 902) == "too_large"
        assert await refused('{"type":"join","id":903,"room":"lobby","name":"B"}', 903) == "conflict"
        assert await refused('{"type":"publish","id":904,"sdp":"v=0 nonsense"}', 904) == "sdp"
        assert await refused('{"type":"subscribe","id":905,"participant":"nobody","sdp":"v=0"}', 905) == "not_found"
        assert await refused('{"type":"unsubscribe","id":906,"subscription":"nothing"}', 906) == "not_found"
        await bob.socket.send_bytes(b"binary")
        assert (await bob.answer(None))["code"] == "protocol"

        assert (await bob.request("ping", t=2.0))["type"] == "ok"
        assert (await ada.request("ping", t=2.0))["type"] == "ok"
        assert [m for m in ada.news if m["type"] == "roster"] == []
        assert call.parts.conference.rooms.version("lobby") == version


@pytest.mark.asyncio
async def test_requests_before_joining_are_refused() -> None:
    async with running_call() as call:
        peer = await call.connect()
        assert (await peer.request("statistics"))["code"] == "conflict"
        assert (await peer.request("ping", t=1.0))["type"] == "ok"


@pytest.mark.asyncio
async def test_client_that_never_joins_is_closed() -> None:
    async with running_call(join_seconds=0.1) as call:
        peer = await call.connect()
        assert (await peer.until(lambda m: m["type"] == "closed"))["reason"] == "join"


@pytest.mark.asyncio
async def test_enormous_message_ends_only_its_sender() -> None:
    async with running_call() as call:
        ada, _ = await call.join("Ada")
        bob, _ = await call.join("Bob")
        await bob.socket.send_str("x" * 300_000)
        message = await bob.socket.receive(timeout=10)
        while message.type is WSMsgType.TEXT:
            message = await bob.socket.receive(timeout=10)
        assert bob.socket.close_code == aiohttp.WSCloseCode.MESSAGE_TOO_BIG
        roster = await ada.roster(lambda r: len(r) == 2 and r[1]["state"] == "lost")
        assert names(roster) == ["Ada", "Bob"]


@pytest.mark.asyncio
async def test_flood_is_refused() -> None:
    async with running_call(max_messages_per_second=5.0) as call:
        peer, _ = await call.join()
        for number in range(100, 130):
            await peer.socket.send_str(json.dumps({"type": "ping", "id": number, "t": 0}))
        refused = await peer.until(lambda m: m["type"] == "error")
        assert refused["code"] == "too_many_requests"


@pytest.mark.asyncio
async def test_room_and_server_bounds() -> None:
    async with running_call(max_rooms=1, max_participants=2) as call:
        for name in ("Ada", "Bob"):
            await call.join(name)
        _, full = await call.join("Cy")
        assert full["code"] == "capacity"
        _, other = await call.join("Dee", "elsewhere")
        assert other["code"] == "capacity"


async def break_off(peer: Peer) -> None:
    """The network is gone: no closing handshake."""
    response = peer.socket._response
    assert response.connection is not None
    assert response.connection.transport is not None
    response.connection.transport.abort()


@pytest.mark.asyncio
async def test_lost_connection_is_resumed_without_a_duplicate() -> None:
    async with running_call() as call:
        ada, _ = await call.join("Ada")
        bob, first = await call.join("Bob", identity="bob")
        await break_off(bob)
        await ada.roster(lambda r: len(r) == 2 and r[1]["state"] == "lost")
        _, second = await call.join("Bob", identity="bob", resume=first["resume"])
        assert second["resumed"] is True
        assert second["participant"] == first["participant"]
        roster = await ada.roster(lambda r: r[1]["state"] == "waiting")
        assert names(roster) == ["Ada", "Bob"]


@pytest.mark.asyncio
async def test_resuming_over_an_open_connection_replaces_it() -> None:
    async with running_call() as call:
        old, first = await call.join("Ada", identity="ada")
        new, second = await call.join("Ada", identity="ada", resume=first["resume"])
        assert (await old.until(lambda m: m["type"] == "closed"))["reason"] == "replaced"
        assert second["participant"] == first["participant"]
        assert (await new.request("ping", t=1.0))["type"] == "ok"
        assert len(call.parts.conference.rooms) == 1


@pytest.mark.asyncio
async def test_vanished_peer_is_gone_and_may_still_resume() -> None:
    clock = FakeClock()
    async with running_call(gone_seconds=5.0, clock=clock) as call:
        ada, _ = await call.join("Ada")
        bob, first = await call.join("Bob", identity="bob")
        await break_off(bob)
        await pass_seconds(clock, 6, ada)
        await ada.roster(lambda r: names(r) == ["Ada"])
        _, second = await call.join("Somebody", identity="bob", resume=first["resume"])
        assert (second["participant"], second["name"]) == (first["participant"], "Bob")


@pytest.mark.asyncio
async def test_speaking_reaches_everybody() -> None:
    async with running_call() as call:
        ada, me = await call.join("Ada")
        peer = peer_connection()
        peer.addTransceiver("audio", direction="sendonly")
        await ada.request("publish", sdp=await offer(peer))
        (publication,) = FakePublication.alive
        publication.audio_level = -20.0
        assert (await ada.until(lambda m: m["type"] == "speaking"))["participant"] == me["participant"]
        await ada.request("state", muted=True)
        assert (await ada.until(lambda m: m["type"] == "speaking"))["participant"] is None
        await peer.close()


@pytest.mark.asyncio
async def test_shutdown_is_told() -> None:
    async with running_call() as call:
        ada, _ = await call.join("Ada")
        await call.parts.conference.close()
        assert (await ada.until(lambda m: m["type"] == "closed"))["reason"] == "shutdown"
        peer = await call.connect()
        assert (await peer.request("join", room="lobby", name="Late"))["code"] == "draining"


@pytest.mark.asyncio
async def test_queue_of_a_slow_client_is_bounded_and_keeps_the_newest_roster() -> None:
    async with running_call() as call:
        claims = call.parts.authority.verify(call.token())
        socket = websocket.Socket(
            call.parts, claims, web.WebSocketResponse(), Pools.from_settings(call.parts.settings), None
        )
        for version in range(1000):
            socket.send({"type": "roster", "version": version})
        assert [m["version"] for m in socket._outgoing] == [999]
        for number in range(1000):
            socket.send({"type": "ok", "id": number})
        assert len(socket._outgoing) == websocket.MAX_QUEUED + 1
        assert socket._outgoing[-1] == {"type": "closed", "reason": "slow"}
