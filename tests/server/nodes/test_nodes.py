"""Nodes of one process over a real Redis: who asks the wrong one is sent on, rooms move, and calls outlive Redis."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import redis

from server.__main__ import main
from server.media.aiortc_private import close_peer
from server.nodes.lease import RENEW_SECONDS, node_mark
from tests.server.fakes import until
from tests.server.nodes import KEY, Nodes, running_nodes
from tests.server.sender.connection.test_session import Studio
from tests.server.signalling import JPEG, Peer, offer, peer_connection, running_call
from tests.server.signalling.test_call import publish_motion

PATH = "/nodes/{name}"


async def connect(nodes: Nodes, name: str, room: str = "lobby", identity: str | None = None) -> Peer:
    """A client of one node, whichever has the room."""
    return await nodes.calls[name].connect(nodes.token(room, identity=identity))


async def join(
    nodes: Nodes, name: str, who: str = "Ada", room: str = "lobby", **fields: Any
) -> tuple[Peer, dict[str, Any]]:
    peer = await connect(nodes, name, room, identity=who.lower())
    return peer, await peer.request("join", room=room, name=who, **fields)


async def hold(nodes: Nodes, name: str, room: str = "lobby") -> Peer:
    """Somebody keeps the room open at that node."""
    peer, answer = await join(nodes, name, "Host", room)
    assert answer["type"] == "ok", answer
    return peer


async def becomes(true: Callable[[], Awaitable[bool]]) -> None:
    """Ask until it is true; fails after a generous limit."""
    for _ in range(300):
        if await true():
            return
        await asyncio.sleep(0.1)
    raise AssertionError("it never came true")


def lease_of(client: redis.Redis, name: str) -> str:
    """The ID under which Redis knows a node."""
    everybody = [str(node) for node in client.zrange("{visavis}:leases", 0, -1)]
    (found,) = [node for node in everybody if client.hget(f"{{visavis}}:node:{node}", "name") == name]
    return found


def bearer(nodes: Nodes, room: str = "lobby", **options: Any) -> dict[str, str]:
    return {"Authorization": f"Bearer {nodes.token(room, **options)}"}


@asynccontextmanager
async def sender(nodes: Nodes, name: str) -> AsyncIterator[Studio]:
    """A daemon that knows one node by its address; its clock is its own, its pauses take no time."""
    call = nodes.calls[name]
    made = Studio(call, nodes.address(name), token=nodes.token(identity="daemon"))
    try:
        yield made
    finally:
        made.running.cancel()
        await asyncio.gather(made.running, return_exceptions=True)


@pytest.mark.asyncio
async def test_who_joins_at_another_node_is_sent_to_the_one_that_has_the_room() -> None:
    async with running_nodes("a", "b") as nodes:
        host = await hold(nodes, "a")
        ada, answer = await join(nodes, "b")
        assert (answer["type"], answer["code"]) == ("error", "moved")
        assert answer["address"] == nodes.address("a")
        assert (await ada.request("ping", t=1))["type"] == "ok", "an error changes nothing"
        there, answer = await join(nodes, "a")
        assert [p["name"] for p in answer["roster"]] == ["Host", "Ada"]
        preview, answer = await join(nodes, "b", preview=True)
        assert answer["code"] == "moved"
        stranger, answer = await join(nodes, "b", room="lobby")
        for peer in (host, ada, there, preview, stranger):
            await peer.socket.close()


@pytest.mark.asyncio
async def test_whom_a_token_does_not_let_in_is_told_no_address_and_opens_no_room() -> None:
    async with running_nodes("a", "b") as nodes:
        host = await hold(nodes, "a")
        peer = await connect(nodes, "b", room="studio")
        assert (await peer.request("join", room="lobby", name="Eve"))["code"] == "forbidden"
        recordings = "/api/rooms/lobby/recordings"
        for method, path in (
            ("POST", "/whip/lobby"),
            ("POST", "/whep/lobby/x"),
            ("GET", "/api/rooms/lobby"),
            ("POST", recordings),
            ("GET", recordings),
            ("GET", f"{recordings}/20260101T000000Z-00c0ffee-{node_mark(nodes.address('a'))}"),
        ):
            wrong = await nodes.calls["b"].client.request(
                method, path, headers=bearer(nodes, "studio"), allow_redirects=False
            )
            assert wrong.status == 403
        await asyncio.gather(host.socket.close(), peer.socket.close())


@pytest.mark.asyncio
async def test_http_is_redirected_with_its_method_and_query() -> None:
    async with running_nodes("a", "b", path=PATH) as nodes:
        host = await hold(nodes, "a")
        admin, guest = bearer(nodes, "", admin=True), bearer(nodes)
        recording = f"/api/rooms/lobby/recordings/20260101T000000Z-00c0ffee-{node_mark(nodes.address('a'))}"
        requests = [
            ("POST", "/whip/lobby", guest, "application/sdp"),
            ("PATCH", "/whip/lobby/x", guest, "application/trickle-ice-sdpfrag"),
            ("DELETE", "/whip/lobby/x", guest, None),
            ("POST", "/whep/lobby/x", guest, "application/sdp"),
            ("PATCH", "/whep/lobby/x/y", guest, "application/trickle-ice-sdpfrag"),
            ("DELETE", "/whep/lobby/x/y", guest, None),
            ("PUT", "/rooms/lobby/participants/x/source?index=1", guest, "image/jpeg"),
            ("GET", "/api/rooms/lobby", admin, None),
            ("DELETE", "/api/rooms/lobby", admin, None),
            ("GET", "/api/rooms/lobby/participants/x", admin, None),
            ("DELETE", "/api/rooms/lobby/participants/x", admin, None),
            ("POST", "/api/rooms/lobby/participants/x/mute", admin, "application/json"),
            ("POST", "/api/rooms/lobby/recordings", admin, None),
            ("GET", recording, admin, None),
            ("POST", recording + "/stop", admin, None),
            ("DELETE", recording, admin, None),
            ("GET", recording + "/files/001.vav", admin, None),
        ]
        for method, path, headers, content in requests:
            for prefix in ("", "/nodes/b"):  # also where somebody was sent to the wrong one
                answer = await nodes.calls["b"].client.request(
                    method,
                    prefix + path,
                    headers=headers | ({"Content-Type": content} if content else {}),
                    data=JPEG if content == "image/jpeg" else b"{}" if content else None,
                    allow_redirects=False,
                )
                assert answer.status == 307, (method, path)
                assert answer.headers["Location"] == nodes.address("a") + path
                assert (await answer.json())["code"] == "moved"
                assert ("Access-Control-Allow-Origin" in answer.headers) == path.startswith(("/whip", "/whep"))
        await host.socket.close()


@pytest.mark.asyncio
async def test_a_camera_of_others_follows_to_the_node_and_its_session_is_there() -> None:
    async with running_nodes("a", "b", path=PATH) as nodes:
        host = await hold(nodes, "a")
        camera = peer_connection()
        camera.addTransceiver("video", direction="sendonly")
        sdp, headers = await offer(camera), bearer(nodes, identity="cam") | {"Content-Type": "application/sdp"}
        asked = await nodes.calls["b"].client.post("/whip/lobby", data=sdp, headers=headers, allow_redirects=False)
        assert asked.status == 307
        # One origin in front of all nodes would let a client follow with its token; here there is none.
        session = nodes.calls["a"].client.session
        created = await session.post(asked.headers["Location"], data=sdp, headers=headers)
        assert created.status == 201
        where = created.headers["Location"]
        assert where.startswith(f"{nodes.address('a')}/whip/lobby/")
        assert (await session.delete(where, headers=headers)).status == 200
        await close_peer(camera)
        await host.socket.close()


@pytest.mark.asyncio
async def test_a_node_is_reached_below_its_own_path_too_but_its_numbers_are_not() -> None:
    async with running_nodes("a", path=PATH) as nodes:
        client = nodes.calls["a"].client
        peer = Peer(await client.ws_connect("/nodes/a/ws", params={"token": nodes.token()}))
        assert (await peer.request("join", room="lobby", name="Ada"))["type"] == "ok"
        assert (await client.get("/nodes/a/api/rooms", headers=bearer(nodes, "", admin=True))).status == 200
        for path in ("/nodes/a/metrics", "/nodes/a/readyz", "/nodes/a/healthz", "/nodes/b/api/rooms"):
            assert (await client.get(path)).status == 404
        await peer.socket.close()


@pytest.mark.asyncio
async def test_rooms_of_a_node_that_drains_go_on_elsewhere_under_the_same_identities() -> None:
    async with running_nodes("a", "b") as nodes:
        ada, first = await join(nodes, "a")
        sending = await publish_motion(ada)
        assert first["type"] == "ok"
        conference = nodes.calls["a"].parts.conference
        conference.draining = True
        draining = asyncio.create_task(nodes.calls["a"].parts.nodes.drain(5.0))
        closed = await ada.until(lambda m: m["type"] == "closed")
        assert (closed["reason"], closed["address"]) == ("moved", nodes.address("b"))
        back, second = await join(nodes, "b", resume=first["resume"])
        assert (second["participant"], second["name"], second["resumed"]) == (first["participant"], "Ada", True)
        again = await publish_motion(back)
        await draining
        assert conference.rooms.names() == []
        _, sent_on = await join(nodes, "a", "Bob")
        assert (sent_on["code"], sent_on["address"]) == ("moved", nodes.address("b"))
        _, new = await join(nodes, "a", "Bob", room="studio")
        assert new["code"] == "moved", "a node that drains opens no rooms"
        for connection in (sending, again):
            await close_peer(connection)


@pytest.mark.asyncio
async def test_who_comes_to_a_room_that_is_about_to_move_makes_it_move() -> None:
    async with running_nodes("a", "b") as nodes:
        host = await hold(nodes, "a")
        nodes.calls["a"].parts.conference.draining = True
        _, answer = await join(nodes, "a")
        assert (answer["code"], answer["address"]) == ("moved", nodes.address("b"))
        assert (await host.until(lambda m: m["type"] == "closed"))["reason"] == "moved"


@pytest.mark.asyncio
async def test_where_no_other_node_takes_rooms_they_stay_as_long_as_they_may() -> None:
    async with running_nodes("a") as nodes:
        host = await hold(nodes, "a")
        nodes.calls["a"].parts.conference.draining = True
        await nodes.calls["a"].parts.nodes.drain(0.1)
        assert (await host.request("ping", t=1))["type"] == "ok"
        _, answer = await join(nodes, "a")
        assert answer["code"] == "draining"
        await host.socket.close()


@pytest.mark.asyncio
async def test_calls_outlive_redis_and_new_rooms_wait_for_it() -> None:
    async with running_nodes("a", "b") as nodes:
        host = await hold(nodes, "a")
        nodes.redis.stop()
        _, answer = await join(nodes, "b", room="studio")
        assert answer["code"] == "nodes_unavailable"
        refused = await nodes.calls["b"].client.post(
            "/whip/studio", headers=bearer(nodes, "studio") | {"Content-Type": "application/sdp"}
        )
        assert (refused.status, (await refused.json())["code"]) == (503, "nodes_unavailable")
        assert int(refused.headers["Retry-After"]) > 0
        listed = await nodes.calls["a"].client.get("/api/nodes", headers=bearer(nodes, "", admin=True))
        assert listed.status == 503
        ada, answer = await join(nodes, "a")
        assert answer["type"] == "ok", "a room that is here is here"
        metrics = await nodes.calls["b"].client.get("/metrics")
        await until(lambda: b"reachable 0.0" in nodes.calls["b"].parts.metrics.exposition())
        assert metrics.status == 200
        nodes.redis.start()  # and it has forgotten everything

        async def sent_to_a() -> bool:
            return (await join(nodes, "b", "Bob"))[1].get("address") == nodes.address("a")

        await becomes(sent_to_a)
        assert (await host.request("ping", t=1))["type"] == "ok"
        for peer in (host, ada):
            await peer.socket.close()


@pytest.mark.asyncio
async def test_a_room_that_was_opened_elsewhere_meanwhile_is_left_for_it() -> None:
    async with running_nodes("a", "b") as nodes:
        host = await hold(nodes, "a")
        with nodes.redis.client() as client:
            # What Redis holds after `a` was cut off from it for too long.
            client.zrem("{visavis}:leases", lease_of(client, "a"))
            _, answer = await join(nodes, "b", "Ada")
            assert answer["type"] == "ok"
        closed = await host.until(lambda m: m["type"] == "closed")
        assert (closed["reason"], closed["address"]) == ("moved", nodes.address("b"))


@pytest.mark.asyncio
async def test_who_was_removed_stays_out_where_the_room_moves_to() -> None:
    async with running_nodes("a", "b") as nodes:
        host = await hold(nodes, "a")
        _, eve = await join(nodes, "a", "Eve")
        path = f"/api/rooms/lobby/participants/{eve['participant']}"
        assert (await nodes.calls["a"].client.delete(path, headers=bearer(nodes, "", admin=True))).status == 204
        nodes.calls["a"].parts.conference.draining = True
        await nodes.calls["a"].parts.nodes.drain(0.1)
        assert (await join(nodes, "b", "Eve", resume=eve["resume"]))[1]["code"] == "forbidden"
        assert (await join(nodes, "b", "Host"))[1]["type"] == "ok"
        del host


@pytest.mark.asyncio
async def test_who_was_removed_stays_out_when_its_node_dies() -> None:
    async with running_nodes("a", "b") as nodes:
        host = await hold(nodes, "a")
        _, eve = await join(nodes, "a", "Eve")
        path = f"/api/rooms/lobby/participants/{eve['participant']}"
        await nodes.calls["a"].client.delete(path, headers=bearer(nodes, "", admin=True))
        with nodes.redis.client() as client:
            await until(lambda: bool(client.exists("{visavis}:barred:lobby")), 10 * RENEW_SECONDS)
            nodes.calls["a"].parts.nodes._task.cancel()  # type: ignore[attr-defined]
            client.zrem("{visavis}:leases", lease_of(client, "a"))
        assert (await join(nodes, "b", "Eve", resume=eve["resume"]))[1]["code"] == "forbidden"
        await host.socket.close()


@pytest.mark.asyncio
async def test_a_room_that_was_given_to_a_node_that_drains_goes_on_to_another() -> None:
    async with running_nodes("a", "b") as nodes:
        with nodes.redis.client() as client:
            client.set("{visavis}:room:lobby", lease_of(client, "a"))
        nodes.calls["a"].parts.conference.draining = True
        _, answer = await join(nodes, "a")
        assert (answer["code"], answer["address"]) == ("moved", nodes.address("b"))


@pytest.mark.asyncio
async def test_nodes_are_listed_for_who_administers_all_rooms() -> None:
    async with running_nodes("a", "b", path=PATH) as nodes:
        host = await hold(nodes, "a")
        client = nodes.calls["b"].client
        assert (await client.get("/api/nodes")).status == 401
        assert (await client.get("/api/nodes", headers=bearer(nodes, room_admin=True))).status == 403

        async def renewed() -> bool:
            listed = await (await client.get("/api/nodes", headers=bearer(nodes, "", admin=True))).json()
            return {node["name"]: node["rooms"] for node in listed["nodes"]} == {"a": 1, "b": 0}

        await becomes(renewed)
        answer = await client.get("/api/nodes", headers=bearer(nodes, "", admin=True))
        first = (await answer.json())["nodes"][0]
        assert first == {
            **{"name": "a", "address": nodes.address("a"), "load": 0.0, "views": 0, "capacity": 1.0, "rooms": 1},
            **{"open": True, "draining": False},
        }
        await host.socket.close()


@pytest.mark.asyncio
async def test_the_sender_follows_a_room_with_its_source_and_its_name() -> None:
    async with running_nodes("a", "b") as nodes:
        host = await hold(nodes, "a")
        async with sender(nodes, "b") as daemon:
            await daemon.with_source()
            assert daemon.pauses == [0.0], "it was sent on at once"
            who = daemon.daemon.identity.participant
            assert daemon.daemon.identity.node == nodes.address("a")
            nodes.calls["a"].parts.conference.draining = True
            await nodes.calls["a"].parts.nodes.drain(0.1)
            await until(lambda: daemon.daemon.reconnect.reconnects == 1 and len(daemon.live_feed.taken) == 2)
            assert daemon.daemon.identity.participant == who
            assert daemon.pauses == [0.0, 0.0]
            back, answer = await join(nodes, "b", "Host")
            assert (answer["roster"][0]["id"], answer["roster"][0]["name"]) == (who, "Ada")
            await daemon.stop()
            await back.socket.close()
        del host


@pytest.mark.asyncio
async def test_the_sender_hears_where_to_go_also_when_its_media_end_first() -> None:
    async with running_nodes("a", "b") as nodes, sender(nodes, "a") as daemon:
        await daemon.with_source()
        session = daemon.daemon.session
        assert session is not None
        conference = nodes.calls["a"].parts.conference
        conference.draining = True
        session._lose("the receiver closed the connection")
        await nodes.calls["a"].parts.nodes.drain(0.1)
        await until(lambda: daemon.daemon.reconnect.reconnects == 1)
        assert daemon.pauses == [0.0]
        assert daemon.daemon.identity.node == nodes.address("b")
        await daemon.stop()


@pytest.mark.asyncio
async def test_the_sender_asks_its_own_server_again_when_the_node_is_dead() -> None:
    """The node that has the room does not answer, and the others take it for dead after some attempts."""
    async with running_nodes("b") as nodes:
        with nodes.redis.client() as client:
            dead = {"name": "dead", "address": "http://127.0.0.1:9", "views": 0, "capacity": 1, "rooms": 1}
            client.zadd("{visavis}:leases", {"dead": 2**52})
            client.hset("{visavis}:node:dead", mapping={key: str(value) for key, value in dead.items()})
            client.set("{visavis}:room:lobby", "dead")
            async with sender(nodes, "b") as daemon:
                await until(lambda: len(daemon.pauses) >= 6)
                client.zrem("{visavis}:leases", "dead")
                await daemon.live()
                assert set(daemon.pauses) == {0.0, 1.0}, "sent on at once, and back a second later"
                assert daemon.daemon.identity.node is None
                await daemon.stop()


@pytest.mark.slow
@pytest.mark.asyncio
async def test_the_command_rooms_sees_all_nodes_and_acts_where_the_room_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("VISAVIS_API_KEY", KEY["api_key"])
    monkeypatch.setenv("VISAVIS_API_SECRET", KEY["api_secret"])

    async def command(*arguments: str) -> str:
        everything = ["rooms", "--server", nodes.address("b"), *arguments]
        assert await asyncio.to_thread(main, everything) == 0
        return capsys.readouterr().out

    async with running_nodes("a", "b") as nodes:
        first, second = await hold(nodes, "a"), await hold(nodes, "b", "studio")
        listed = await command()
        assert [line.split()[0] for line in listed.splitlines()] == ["lobby", "studio"]
        assert [line.split()[0] for line in (await command("--nodes")).splitlines()] == ["a", "b"]
        assert "Host" in await command("lobby")
        await command("lobby", "--close")
        assert (await first.until(lambda m: m["type"] == "closed"))["reason"] == "room_closed"
        await second.socket.close()


@pytest.mark.asyncio
async def test_what_goes_wrong_in_one_renewal_ends_none_of_the_later_ones(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with running_nodes("a", "b") as nodes:
        failures: list[str] = []

        async def broken(*_: object) -> None:
            failures.append("renewal")
            raise RuntimeError("a bug")

        with monkeypatch.context() as patch:
            patch.setattr(nodes.calls["a"].parts.nodes._registry, "renew", broken)  # type: ignore[attr-defined]
            await until(lambda: len(failures) == 2, 10 * RENEW_SECONDS)
        assert "renewing the lease failed" in caplog.text
        await becomes(lambda: _joins(nodes, "a"))


async def _joins(nodes: Nodes, name: str) -> bool:
    peer, answer = await join(nodes, name)
    await peer.socket.close()
    return bool(answer["type"] == "ok")


@pytest.mark.asyncio
async def test_a_single_node_lists_itself() -> None:
    async with running_call(**KEY, node_name="here") as call:
        peer, _ = await call.join("Ada")
        listed = await call.client.get("/api/nodes", headers=call.bearer("", admin=True))
        (node,) = (await listed.json())["nodes"]
        assert (node["name"], node["address"], node["rooms"], node["open"]) == ("here", "", 1, True)
        await peer.socket.close()
