"""Shared screens: one of each participant, an entry of its own in the roster, gone with whoever shares it."""

from __future__ import annotations

import pytest
from aiortc import RTCPeerConnection

from server.errors import CapacityError, ConflictError
from server.signalling.rooms import Gone
from tests.server.fakes import until
from tests.server.routes.api.test_api import KEY, ask
from tests.server.signalling import (
    FakePublication,
    GreyVideo,
    Peer,
    Silence,
    accept,
    connected,
    offer,
    peer_connection,
    running_call,
)
from tests.server.signalling.test_call import pictures, publish_motion, subscribe
from tests.server.signalling.test_rooms import LIMITS, join, make
from tests.server.test_live_call import live_call


async def share(peer: Peer, *, sound: bool = False) -> tuple[RTCPeerConnection, str]:
    """A shared screen; its connection and its id in the roster."""
    connection = peer_connection()
    connection.addTransceiver(GreyVideo(), direction="sendonly")
    if sound:
        connection.addTransceiver(Silence(), direction="sendonly")
    answer = await peer.request("share", sdp=await offer(connection))
    assert answer["type"] == "ok", answer
    await accept(connection, answer["sdp"])
    await connected(connection)
    return connection, str(answer["participant"])


def test_a_screen_takes_no_place_and_no_name_and_goes_with_its_owner() -> None:
    rooms = make()
    people = [join(rooms, name="Ada") for _ in range(LIMITS.participants)]
    screens = [rooms.share(0.0, person.id)[0] for person in people]
    assert [screen.name for screen in screens] == ["Ada", "Ada (2)", "Ada (3)"]
    assert rooms.share(1.0, people[0].id) == (screens[0], [])
    with pytest.raises(ConflictError):
        rooms.share(0.0, screens[0].id)
    with pytest.raises(CapacityError):
        join(rooms)
    rooms.update(people[0].id, name="Eve")
    assert screens[0].name == "Eve"
    gone = [event.participant for event in rooms.leave(2.0, people[0].id) if isinstance(event, Gone)]
    assert gone == [screens[0].id, people[0].id]
    assert join(rooms, name="Ada").name == "Ada"
    silent = [event.participant for event in rooms.tick(100.0) if isinstance(event, Gone)]
    assert {screen.id for screen in screens[1:]} <= set(silent)
    assert rooms.roster("a") == []
    assert len(rooms) == 0


def test_a_preview_shares_nothing() -> None:
    rooms = make()
    preview, _ = rooms.join(0.0, "a", "me", "Ada", "page", preview=True)
    with pytest.raises(ConflictError):
        rooms.share(0.0, preview.id)


@pytest.mark.asyncio
async def test_a_screen_stands_beside_the_face_and_ends_alone() -> None:
    async with running_call() as call:
        ada, me = await call.join("Ada")
        bob, _ = await call.join("Bob")
        face = await publish_motion(ada)
        screen, identifier = await share(ada, sound=True)
        roster = await bob.roster(lambda people: any(person["kind"] == "screen" for person in people))
        found = next(person for person in roster if person["id"] == identifier)
        assert (found["owner"], found["name"], found["publication"]) == (me["participant"], "Ada", 1)
        assert [person["kind"] for person in roster] == ["motion", "none", "screen"]
        assert "owner" not in roster[0]
        watching, _ = await subscribe(bob, identifier)
        await pictures(watching)
        again, same = await share(ada)
        assert same == identifier
        assert (await ada.request("unshare"))["type"] == "ok"
        assert (await bob.until(lambda m: m["type"] == "ended"))["reason"] == "gone"
        roster = await bob.roster(lambda people: len(people) == 2)
        assert [person["kind"] for person in roster] == ["motion", "none"]
        assert (await ada.request("unshare"))["code"] == "not_found"
        await until(lambda: {publication.participant for publication in FakePublication.alive} == {me["participant"]})
        for connection in (face, screen, again, watching):
            await connection.close()


@pytest.mark.asyncio
async def test_whoever_leaves_takes_its_screen_along_and_closing_does_too() -> None:
    async with running_call() as call:
        ada, _ = await call.join("Ada")
        bob, _ = await call.join("Bob")
        screen, _ = await share(ada)
        other, _ = await share(bob)
        await ada.request("leave")
        await bob.roster(lambda people: [person["kind"] for person in people] == ["none", "screen"])
        for connection in (screen, other):
            await connection.close()


@pytest.mark.asyncio
async def test_a_screen_that_breaks_off_is_gone() -> None:
    async with running_call() as call:
        ada, _ = await call.join("Ada")
        bob, _ = await call.join("Bob")
        screen, _ = await share(ada)
        await bob.roster(lambda people: len(people) == 3)
        await screen.close()
        await bob.roster(lambda people: len(people) == 2)


@pytest.mark.asyncio
async def test_what_is_no_screen_is_refused_and_leaves_nothing() -> None:
    async with running_call() as call:
        ada, _ = await call.join("Ada")
        for kind in ("motion", "sound"):
            connection = peer_connection()
            if kind == "motion":
                connection.createDataChannel("motion")
            else:
                connection.addTransceiver(Silence(), direction="sendonly")
            assert (await ada.request("share", sdp=await offer(connection)))["code"] == "sdp"
            await connection.close()
        watcher = await call.connect(call.token(publish=False))
        await watcher.request("join", room="lobby", name="Bob")
        assert (await watcher.request("share", sdp="v=0"))["code"] == "forbidden"
        assert not any(participant.owner for participant in call.parts.conference.rooms.roster("lobby"))


@pytest.mark.asyncio
async def test_administrators_see_screens_and_end_them() -> None:
    async with running_call(**KEY) as call:
        ada, me = await call.join("Ada", identity="ada")
        screen, identifier = await share(ada)
        admin = call.bearer("", admin=True)
        _, room = await ask(call, "GET", "/api/rooms/lobby", admin)
        assert [(p["kind"], p["client"], p["owner"]) for p in room["participants"]] == [
            ("none", "page", None),
            ("screen", "screen", me["participant"]),
        ]
        assert (await ask(call, "GET", "/api/rooms", admin))[1]["rooms"][0]["participants"] == 1
        path = f"/api/rooms/lobby/participants/{identifier}"
        assert (await ask(call, "DELETE", path, admin))[0] == 204
        again, _ = await share(ada)
        assert (await ask(call, "DELETE", "/api/rooms/lobby", admin))[0] == 204
        for connection in (screen, again):
            await connection.close()


@pytest.mark.e2e
@pytest.mark.asyncio
async def test_a_screens_own_packets_reach_a_viewer() -> None:
    """Real media on loopback: forwarded, not encoded again."""
    async with live_call() as (call, _):
        ada, _me = await call.join("Ada")
        bob, _ = await call.join("Bob")
        screen, identifier = await share(ada)
        watching, _ = await subscribe(bob, identifier)
        await pictures(watching, 5)
        figures = (await bob.request("statistics"))["participants"][identifier]
        assert (figures["kind"], figures["forwarded"], figures["encoders"]) == ("camera", 1, 0)
        entry = next(p for p in await bob.roster(lambda people: people[-1]["state"] == "live") if p["id"] == identifier)
        assert entry["kind"] == "screen", "also after its first pictures"
        await watching.close()
        await screen.close()
