"""Recordings on several nodes: the node that records has them, and any node says which that is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from server.nodes.lease import node_mark
from tests.server.nodes import Nodes, running_nodes
from tests.server.nodes.test_nodes import bearer, hold, lease_of

ROOM = "/api/rooms/lobby/recordings"


async def ask(nodes: Nodes, name: str, method: str, path: str) -> tuple[int, Any]:
    """Status, and the answer's object or where it sends the client."""
    answer = await nodes.calls[name].client.request(
        method, path, headers=bearer(nodes, "", admin=True), allow_redirects=False
    )
    if answer.status == 307:
        return 307, answer.headers["Location"]
    return answer.status, await answer.json() if answer.content_type == "application/json" else {}


@pytest.mark.asyncio
async def test_a_recording_is_asked_for_at_the_node_that_has_it_even_when_its_room_has_moved(tmp_path: Path) -> None:
    async with running_nodes("a", "b", recordings=tmp_path, recording_min_free_mb=0) as nodes:
        host = await hold(nodes, "a")
        assert await ask(nodes, "b", "POST", ROOM) == (307, nodes.address("a") + ROOM)
        status, made = await ask(nodes, "a", "POST", ROOM)
        assert status == 201
        recording = f"{ROOM}/{made['recording']}"
        for method, path in (("GET", recording), ("POST", recording + "/stop"), ("GET", recording + "/files/001.vav")):
            assert await ask(nodes, "b", method, path) == (307, nodes.address("a") + path)
        assert (await ask(nodes, "a", "GET", recording))[1]["state"] == "recording"
        nodes.calls["a"].parts.conference.draining = True
        await nodes.calls["a"].parts.nodes.drain(0.1)
        await host.until(lambda m: m["type"] == "closed")
        back = await hold(nodes, "b")
        while (ended := (await ask(nodes, "a", "GET", recording))[1])["state"] == "recording":
            pass
        assert ended["reason"] == "room_ended", "a recording does not move with its room"
        assert await ask(nodes, "b", "DELETE", recording) == (307, nodes.address("a") + recording)
        await back.socket.close()


@pytest.mark.asyncio
async def test_each_node_lists_what_it_recorded_and_names_the_others(tmp_path: Path) -> None:
    """Here they share a directory: what another is recording is no interrupted recording of this one."""
    async with running_nodes("a", "b", recordings=tmp_path, recording_min_free_mb=0) as nodes:
        host = await hold(nodes, "a")
        _, made = await ask(nodes, "a", "POST", ROOM)
        _, listed = await ask(nodes, "a", "GET", ROOM)
        assert [(one["recording"], one["state"]) for one in listed["recordings"]] == [(made["recording"], "recording")]
        assert listed["elsewhere"] == [nodes.address("b")]
        assert (await ask(nodes, "b", "GET", ROOM))[1] == {"recordings": [], "elsewhere": [nodes.address("a")]}
        await host.socket.close()


@pytest.mark.asyncio
async def test_of_a_node_that_is_gone_the_others_have_what_their_directory_has(tmp_path: Path) -> None:
    async with running_nodes("a", "b", recordings=tmp_path, recording_min_free_mb=0) as nodes:
        await hold(nodes, "a")
        _, made = await ask(nodes, "a", "POST", ROOM)
        await ask(nodes, "a", "POST", f"{ROOM}/{made['recording']}/stop")
        with nodes.redis.client() as client:
            nodes.calls["a"].parts.nodes._task.cancel()  # type: ignore[attr-defined]
            client.zrem("{visavis}:leases", lease_of(client, "a"))
        _, listed = await ask(nodes, "b", "GET", ROOM)
        assert [(one["recording"], one["state"]) for one in listed["recordings"]] == [(made["recording"], "ended")]
        assert listed["elsewhere"] == []
        assert (await ask(nodes, "b", "GET", f"{ROOM}/{made['recording']}"))[0] == 200
        gone = f"{ROOM}/20260101T000000Z-00c0ffee-{node_mark(nodes.address('a'))}"
        assert (await ask(nodes, "b", "GET", gone))[0] == 404


@pytest.mark.asyncio
async def test_what_a_node_records_is_found_and_stopped_there_while_redis_is_away(tmp_path: Path) -> None:
    async with running_nodes("a", "b", recordings=tmp_path, recording_min_free_mb=0) as nodes:
        host = await hold(nodes, "a")
        _, made = await ask(nodes, "a", "POST", ROOM)
        nodes.redis.stop()
        _, listed = await ask(nodes, "a", "GET", ROOM)
        assert ([one["state"] for one in listed["recordings"]], listed["elsewhere"]) == (["recording"], None)
        status, answer = await ask(nodes, "b", "GET", f"{ROOM}/{made['recording']}")
        assert (status, answer["code"]) == (503, "nodes_unavailable")
        assert (await ask(nodes, "a", "POST", f"{ROOM}/{made['recording']}/stop"))[0] == 204
        await host.socket.close()
