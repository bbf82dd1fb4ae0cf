"""The scripts in a real Redis: who gets a room, when, and what happens to those of the dead. Time is the test's."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest
import redis as redis_client

from server.errors import CapacityError, MovedError, NodesUnavailableError
from server.nodes.lease import COMING_SECONDS, LEASE_SECONDS, SETTLE_SECONDS, Lease, Renewal
from server.nodes.registry import RedisRegistry, connect
from tests.server.nodes import RedisServer, redis_server

CLOCK = "local now = tonumber(redis.call('GET', 'clock'))"


class Cluster:
    """Registries of some nodes, and their clock."""

    def __init__(self, server: RedisServer, client: redis_client.Redis) -> None:
        self.server = server
        self.client = client
        self.registries: list[RedisRegistry] = []
        self.wait(1000.0)

    def wait(self, seconds: float) -> None:
        self.client.incrby("clock", round(1000 * seconds))

    def node(self, address: str) -> RedisRegistry:
        self.registries.append(RedisRegistry(connect(self.server.url), f"http://{address}", CLOCK))
        return self.registries[-1]

    async def nodes(self, *addresses: str) -> list[RedisRegistry]:
        """Nodes that take rooms, and have found each other."""
        made = [self.node(address) for address in addresses]
        for _ in range(3):
            for node, address in zip(made, addresses, strict=True):
                await renew(node, address)
            self.wait(SETTLE_SECONDS / 2)
        return made


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with redis_server() as running:
        yield running


@asynccontextmanager
async def cluster(server: RedisServer) -> AsyncIterator[Cluster]:
    with server.client() as client:
        client.flushall()
        made = Cluster(server, client)
        try:
            async with asyncio.timeout(30):
                yield made
        finally:
            for registry in made.registries:
                await registry.close()


async def renew(
    node: RedisRegistry,
    address: str,
    *claims: str,
    views: int = 0,
    capacity: float = 4.0,
    rooms: int | None = None,
    is_open: bool = True,
    releases: tuple[str, ...] = (),
    barred: tuple[tuple[str, str], ...] = (),
) -> dict[str, str]:
    count = len(claims) if rooms is None else rooms
    lease = Lease(address, f"http://{address}", views, capacity, count, is_open, not is_open)
    return dict((await node.renew(lease, Renewal(claims, releases, barred))).elsewhere)


async def where(node: RedisRegistry, room: str) -> str:
    """Where a room is placed when `node` is asked; "here" for itself."""
    try:
        await node.place(room)
    except MovedError as moved:
        return moved.address
    return "here"


@pytest.mark.asyncio
async def test_a_room_goes_to_the_least_loaded_and_stays_there(server: RedisServer) -> None:
    async with cluster(server) as some:
        a, b, c = await some.nodes("a", "b", "c")
        await renew(a, "a", views=3)
        await renew(b, "b", views=20, capacity=40.0)
        await renew(c, "c", views=4, capacity=4.0)
        assert await where(a, "lobby") == "http://b"
        await renew(b, "b", views=40, capacity=40.0)
        assert await where(c, "lobby") == "http://b"
        assert await where(b, "lobby") == "here"
        assert await where(c, "studio") == "http://a"


@pytest.mark.asyncio
async def test_the_node_that_is_asked_takes_the_room_where_none_has_less_to_do(server: RedisServer) -> None:
    async with cluster(server) as some:
        nodes = await some.nodes("a", "b", "c")
        for number, node in enumerate(nodes):
            assert await where(node, f"room{number}") == "here"


@pytest.mark.asyncio
async def test_many_rooms_between_two_renewals_are_spread_by_what_nodes_can_render(server: RedisServer) -> None:
    async with cluster(server) as some:
        a, b, c = await some.nodes("a", "b", "c")
        await renew(c, "c", capacity=8.0)
        placed = Counter([await where(a, f"room{number}") for number in range(40)])
        assert placed == {"here": 10, "http://b": 10, "http://c": 20}
        del b


@pytest.mark.asyncio
async def test_a_room_counts_until_somebody_came_or_nobody_did(server: RedisServer) -> None:
    async with cluster(server) as some:
        a, b = await some.nodes("a", "b")
        assert await where(b, "one") == "here"
        await renew(b, "b")
        assert await where(b, "two") == "http://a", "one is still to come"
        await renew(a, "a", "two")
        some.wait(COMING_SECONDS + 0.001)
        for node, name, rooms in ((a, "a", ["two"]), (b, "b", [])):
            await renew(node, name, *rooms)
        some.wait(SETTLE_SECONDS)
        assert await where(a, "three") == "http://b", "nobody came to one"


@pytest.mark.asyncio
async def test_two_nodes_that_are_asked_at_once_agree(server: RedisServer) -> None:
    async with cluster(server) as some:
        nodes = await some.nodes("a", "b", "c")
        names = ["http://a", "http://b", "http://c"]
        for number in range(20):
            answers = await asyncio.gather(*(where(node, f"room{number}") for node in nodes))
            owners = {name if answer == "here" else answer for name, answer in zip(names, answers, strict=True)}
            assert len(owners) == 1


@pytest.mark.asyncio
async def test_rooms_of_a_dead_node_open_elsewhere_once_its_lease_ended(server: RedisServer) -> None:
    async with cluster(server) as some:
        a, b = await some.nodes("a", "b")
        assert await where(a, "lobby") == "here"
        await renew(a, "a", "lobby")
        some.wait(LEASE_SECONDS - 0.001)
        await renew(b, "b")
        assert await where(b, "lobby") == "http://a"
        some.wait(0.001)
        assert await where(b, "lobby") == "here"
        assert [lease.name for lease in await b.leases()] == ["b"]
        assert await renew(a, "a", "lobby") == {"lobby": "http://b"}, "it was not dead: its room is elsewhere now"


@pytest.mark.asyncio
async def test_a_node_that_starts_again_is_not_sent_to_what_it_was(server: RedisServer) -> None:
    async with cluster(server) as some:
        a, b = await some.nodes("a", "b")
        assert await where(a, "lobby") == "here"
        again = some.node("a")
        await renew(again, "a")
        assert await where(again, "lobby") == "here", "though the lease of the process before lasts for some seconds"
        assert await where(b, "lobby") == "http://a"
        assert len(await b.leases()) == 2


@pytest.mark.asyncio
async def test_a_room_that_was_given_back_opens_anywhere(server: RedisServer) -> None:
    async with cluster(server) as some:
        a, b = await some.nodes("a", "b")
        assert await where(a, "lobby") == "here"
        await renew(b, "b", releases=("lobby",))
        assert await where(b, "lobby") == "http://a", "only its own node gives a room back"
        await renew(a, "a", releases=("lobby",))
        await b.locate("lobby")
        assert await where(b, "lobby") == "here"


@pytest.mark.asyncio
async def test_asking_about_a_room_opens_none(server: RedisServer) -> None:
    async with cluster(server) as some:
        a, b = await some.nodes("a", "b")
        await a.locate("lobby")
        assert await where(b, "lobby") == "here"
        with pytest.raises(MovedError) as moved:
            await a.locate("lobby")
        assert moved.value.address == "http://b"


@pytest.mark.asyncio
async def test_a_node_that_drains_gets_no_rooms_and_gives_its_own_away(server: RedisServer) -> None:
    async with cluster(server) as some:
        a, b = await some.nodes("a", "b")
        assert await where(a, "lobby") == "here"
        await renew(a, "a", "lobby", is_open=False)
        await renew(b, "b", views=100)
        assert await where(a, "studio") == "http://b"
        assert await a.hand_over("lobby", []) == "http://b"
        assert await a.hand_over("lobby", []) == "http://b", "once given it is the other's"
        assert await where(b, "lobby") == "here"
        assert {lease.name: lease.draining for lease in await b.leases()} == {"a": True, "b": False}
        await renew(b, "b", is_open=False)
        assert await b.hand_over("lobby", []) is None
        with pytest.raises(CapacityError):
            await b.place("garden")
        assert await where(b, "lobby") == "here", "a room that is open stays where it is"


@pytest.mark.asyncio
async def test_nothing_opens_until_nodes_that_may_live_have_said_what_they_have(server: RedisServer) -> None:
    async with cluster(server) as some:
        a, b = await some.nodes("a", "b")
        assert await where(a, "lobby") == "here"
        clock = some.client.get("clock")
        some.client.flushall()  # Redis starts again, and has forgotten everything
        some.client.set("clock", str(clock))
        with pytest.raises(NodesUnavailableError):
            await b.place("lobby")
        await renew(b, "b")
        some.wait(SETTLE_SECONDS - 0.001)
        with pytest.raises(NodesUnavailableError):
            await b.place("lobby")
        assert await renew(a, "a", "lobby") == {}
        await renew(b, "b")
        assert await where(b, "lobby") == "http://a"
        some.wait(0.001)
        assert await where(b, "studio") == "here"
        some.wait(LEASE_SECONDS)  # Redis was away for longer than any lease lasts, and forgot nothing
        await renew(b, "b")
        with pytest.raises(NodesUnavailableError):
            await b.place("lobby")
        assert await renew(a, "a", "lobby") == {}
        assert await where(b, "lobby") == "http://a"


@pytest.mark.asyncio
async def test_who_was_removed_stays_out_when_the_room_moves(server: RedisServer) -> None:
    async with cluster(server) as some:
        a, b = await some.nodes("a", "b")
        assert await a.place("lobby") == []
        await renew(a, "a", "lobby", barred=(("lobby", "eve"), ("lobby", "mallory")))
        assert await a.hand_over("lobby", ["mallory", "trudy"]) == "http://b"
        assert sorted(await b.place("lobby")) == ["eve", "mallory", "trudy"]
        await renew(b, "b", releases=("lobby",))
        assert await b.place("lobby") == [], "as long as the room lasts"


@pytest.mark.asyncio
async def test_a_lease_that_is_ended_frees_its_rooms_at_once(server: RedisServer) -> None:
    async with cluster(server) as some:
        a, b = await some.nodes("a", "b")
        assert await where(a, "lobby") == "here"
        await a.end()
        assert await where(b, "lobby") == "here"
        assert [lease.name for lease in await b.leases()] == ["b"]


@pytest.mark.asyncio
async def test_what_nodes_say_of_themselves_is_listed(server: RedisServer) -> None:
    async with cluster(server) as some:
        (a,) = await some.nodes("a")
        await renew(a, "a", "lobby", views=3, capacity=12.5, rooms=2)
        assert await a.leases() == [Lease("a", "http://a", 3, 12.5, 2, True, False)]


@pytest.mark.asyncio
async def test_names_of_rooms_and_identities_are_no_code(server: RedisServer) -> None:
    async with cluster(server) as some:
        a, b = await some.nodes("a", "b")
        strange = 'x"]] return {"here"} --\u00e4'
        await renew(a, "a", "lobby", barred=(("lobby", strange),))
        assert await a.place("lobby") == [strange]
        assert await where(b, "lobby") == "http://a"


@pytest.mark.asyncio
async def test_without_redis_everybody_is_told_at_once() -> None:
    registry = RedisRegistry(connect("unix:///nowhere/redis.sock"), "http://a")
    try:
        async with asyncio.timeout(10):
            answers = await asyncio.gather(*(registry.place("lobby") for _ in range(50)), return_exceptions=True)
        assert all(isinstance(answer, NodesUnavailableError) for answer in answers)
    finally:
        await registry.close()


@pytest.mark.asyncio
async def test_a_redis_that_hangs_holds_up_nobody_for_long() -> None:
    """It takes connections and never answers: who waited for the same one fails with it, not one after the other."""
    connections: list[asyncio.StreamWriter] = []

    async def accept(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(writer)

    silent = await asyncio.start_server(accept, "127.0.0.1", 0)
    registry = RedisRegistry(connect(f"redis://127.0.0.1:{silent.sockets[0].getsockname()[1]}"), "http://a")
    try:
        async with asyncio.timeout(20):  # fifty time limits would be more
            answers = await asyncio.gather(*(registry.place("lobby") for _ in range(50)), return_exceptions=True)
        assert all(isinstance(answer, NodesUnavailableError) for answer in answers)
    finally:
        await registry.close()
        for writer in connections:
            writer.close()
        silent.close()
        await silent.wait_closed()


def test_a_single_node_does_not_load_redis() -> None:
    code = (
        "import sys, server.commands.call; from server.app import build_app; from server.settings import Settings;"
        "build_app(Settings(), None); assert not [name for name in sys.modules if name.split('.')[0] == 'redis']"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
