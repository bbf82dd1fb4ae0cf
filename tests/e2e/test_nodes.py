"""The page and nodes behind one origin: it is sent to the room, moves with it, and comes back when a node dies."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from server.recording.manifest import read_manifest
from tests.e2e.conftest import Visit
from tests.e2e.one_origin import OneOrigin
from tests.e2e.staged import Stage
from tests.server.nodes import KEY, redis_server

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

SENDS_THE_PICTURE = 'localStorage.setItem("visavis.sending", "camera");'


class Nodes:
    """Stages by name, behind one origin."""

    def __init__(self, origin: OneOrigin, stages: dict[str, Stage]) -> None:
        self.origin = origin
        self.stages = stages

    def people(self, name: str) -> dict[str, str]:
        """Participant by name, of the room at that node."""

        async def people() -> dict[str, str]:
            return {p.name: p.id for p in self.stages[name]._room().rooms.roster("lobby")}

        return self.stages[name].run(people())

    def drain(self, name: str) -> None:
        """As on SIGTERM."""
        stage = self.stages[name]

        async def drain() -> None:
            stage._room().draining = True
            assert stage._parts is not None
            await stage._parts.nodes.drain(5.0)

        stage.run(drain())

    def kill(self, name: str) -> None:
        """It renews its lease no more, and nobody reaches it."""
        stage = self.stages[name]

        async def stop_renewing() -> None:
            assert stage._parts is not None
            stage._parts.nodes._task.cancel()  # type: ignore[attr-defined]

        stage.run(stop_renewing())
        self.origin.cut(name)


@pytest.fixture
def nodes(tmp_path: Path) -> Iterator[Nodes]:
    """Three, of which `a` is asked first."""
    with redis_server() as server, ExitStack() as stack:
        server.settle()
        origin = stack.enter_context(OneOrigin())
        stages = {
            name: stack.enter_context(
                Stage(
                    **KEY,
                    redis_url=server.url,
                    node_name=name,
                    node_address=f"{origin.url}/nodes/{name}",
                    gone_seconds=60.0,
                    private_candidates=True,
                    recordings=tmp_path / name,
                    recording_min_free_mb=0,
                )
            )
            for name in "abc"
        }
        origin.ports = {name: stage.port for name, stage in stages.items()}
        origin.entry = "a"
        yield Nodes(origin, stages)


def test_the_page_goes_where_the_room_is(visit: Visit, nodes: Nodes) -> None:
    address = f"{nodes.origin.url}/?room=lobby#token={nodes.stages['a'].token()}"
    ada = visit(address, script=SENDS_THE_PICTURE)
    ada.join("Ada")
    ada.until(lambda: set(nodes.people("a")) == {"Ada"})

    # Whom another node is asked for is sent to the one that has the room.
    nodes.origin.entry = "b"
    bob = visit(f"{nodes.origin.url}/?room=lobby#token={nodes.stages['b'].token()}", script=SENDS_THE_PICTURE)
    bob.join("Bob")
    bob.until(lambda: set(nodes.people("a")) == {"Ada", "Bob"})
    who = nodes.people("a")

    # A node that drains hands the room over, and everybody goes on there as who they were.
    nodes.drain("a")
    ada.until(lambda: who in (nodes.people("b"), nodes.people("c")))
    there = "b" if nodes.people("b") else "c"
    assert nodes.people("a") == {}

    # A node that dies is given up by the others after some seconds.
    nodes.origin.entry = "c" if there == "b" else "b"
    nodes.kill(there)
    ada.until(lambda: nodes.people(nodes.origin.entry) == who)
    ada.page.get_by_role("group", name="Call controls").wait_for()
    watched = """() => window.recorded.connections.some((c) => c.connectionState === "connected"
      && c.getReceivers().some((r) => r.track?.kind === "video" && !r.track.muted))"""
    ada.wait_for(watched)
    for visitor in (ada, bob):
        assert visitor.evaluate("window.recorded.violations") == []
        assert not [said for said in visitor.complaints if said.startswith("thrown")]


def test_a_recording_is_begun_and_ended_whichever_node_is_asked(visit: Visit, nodes: Nodes, tmp_path: Path) -> None:
    token = nodes.stages["a"].token(record=True)
    host = visit(f"{nodes.origin.url}/?room=lobby#token={token}", script=SENDS_THE_PICTURE)
    host.join("Host")
    host.until(lambda: set(nodes.people("a")) == {"Host"})
    nodes.origin.entry = "b"
    host.page.get_by_role("button", name="Record this call").click()
    host.page.locator(".call-recording").get_by_text("Recording").wait_for()
    nodes.origin.entry = "c"
    host.page.get_by_role("button", name="Stop the recording").click()
    host.page.locator(".call-recording").wait_for(state="hidden")
    (folder,) = (tmp_path / "a" / "lobby").iterdir()
    host.until(lambda: (manifest := read_manifest(folder)) is not None and manifest.reason == "stopped")
    assert not (tmp_path / "b").exists()
    assert host.evaluate("window.recorded.violations") == []
