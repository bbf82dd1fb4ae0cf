"""Whole calls over real peer connections on loopback: publish, watch, leave; and 200 times with nothing left behind."""

from __future__ import annotations

import asyncio

import pytest
from aiortc import RTCPeerConnection

from model.errors import VisavisError, WeightsError
from model.motion import View
from server.errors import code_of
from server.media.aiortc_private import close_peer
from tests.server.fakes import FakeClock, until
from tests.server.signalling import (
    CACHED,
    JPEG,
    Call,
    FakePublication,
    Peer,
    Silence,
    accept,
    assert_released,
    connected,
    offer,
    pass_seconds,
    peer_connection,
    resources,
    running_call,
)


async def publish_motion(peer: Peer, **fields: str) -> RTCPeerConnection:
    connection = peer_connection()
    motion = connection.createDataChannel("motion", ordered=False, maxRetransmits=0)
    connection.createDataChannel("control")
    motion.on("open", lambda: motion.send(b"motion"))
    connection.addTrack(Silence())
    answer = await peer.request("publish", sdp=await offer(connection), **fields)
    assert answer["type"] == "ok", answer
    await accept(connection, answer["sdp"])
    await connected(connection)
    return connection


async def subscribe(peer: Peer, target: str) -> tuple[RTCPeerConnection, str]:
    connection = peer_connection()
    connection.addTransceiver("video", direction="recvonly")
    connection.addTransceiver("audio", direction="recvonly")
    answer = await peer.request("subscribe", participant=target, sdp=await offer(connection))
    assert answer["type"] == "ok", answer
    await accept(connection, answer["sdp"])
    return connection, str(answer["subscription"])


def publication_of(participant: str) -> FakePublication:
    (found,) = [p for p in FakePublication.alive if p.participant == participant]
    return found


async def pictures(connection: RTCPeerConnection, count: int = 2) -> None:
    (receiver,) = [r for r in connection.getReceivers() if r.track.kind == "video"]
    async with asyncio.timeout(20):
        for _ in range(count):
            await receiver.track.recv()


@pytest.mark.asyncio
async def test_motion_arrives_and_pictures_come_back() -> None:
    async with running_call() as call:
        sender, me = await call.join("Ada", client="daemon")
        viewer, _ = await call.join("Bob")
        sending = await publish_motion(sender)
        roster = await viewer.roster(lambda r: r[0]["state"] == "live")
        assert (roster[0]["kind"], roster[0]["publication"]) == ("motion", 1)
        publication = publication_of(me["participant"])
        assert set(publication.channels) == {"motion", "control"}
        assert [track.kind for track in publication.tracks] == ["audio"]

        watching, subscription = await subscribe(viewer, me["participant"])
        await pictures(watching)
        assert publication.messages == [b"motion"]
        (held,) = publication.subscriptions
        assert held.bound is not None
        await viewer.request("view", subscription=subscription, yaw=20.0, pitch=-5.0)
        assert held.view == View(yaw=20.0, pitch=-5.0)
        await viewer.request("view", subscription=subscription, reset=True)
        assert held.view == View()
        await viewer.request("report", subscription=subscription, fps=25.0, freezes=1)
        numbers = (await viewer.request("statistics"))["participants"][me["participant"]]
        assert numbers["viewers"] == 1
        assert numbers["reports"] == [{"fps": 25.0, "freezes": 1}]
        assert (await viewer.request("frames"))["subscriptions"] == {subscription: [[90_000, 12_250.0]]}
        assert (await sender.request("frames"))["subscriptions"] == {}
        assert (await sender.request("view", subscription=subscription))["code"] == "not_found"
        assert (await viewer.request("unsubscribe", subscription=subscription))["type"] == "ok"
        assert held.closed
        await close_peer(watching)
        await close_peer(sending)


@pytest.mark.asyncio
async def test_rendered_pictures_are_announced_in_roster_api_and_session_description() -> None:
    async with running_call() as call:
        ada, me = await call.join("Ada")
        carl, filmed = await call.join("Carl")
        bob, _ = await call.join("Bob")
        sending = await publish_motion(ada)
        camera = peer_connection()
        camera.addTransceiver("video", direction="sendonly")
        answer = await carl.request("publish", sdp=await offer(camera))
        await accept(camera, answer["sdp"])
        await connected(camera)
        expected = {"Ada": True, "Carl": False, "Bob": False}
        roster = await bob.roster(lambda r: [p["kind"] for p in r] == ["motion", "camera", "none"])
        assert {p["name"]: p["rendered"] for p in roster} == expected
        described = await call.client.get("/api/rooms/lobby", headers=call.bearer(admin=True))
        assert {p["name"]: p["rendered"] for p in (await described.json())["participants"]} == expected

        headers = call.bearer(identity="player") | {"Content-Type": "application/sdp"}
        for target in (me, filmed):
            watching = peer_connection()
            watching.addTransceiver("audio", direction="recvonly")
            watching.addTransceiver("video", direction="recvonly")
            asked = await offer(watching)
            by_participant = await bob.request("subscribe", participant=target["participant"], sdp=asked)
            by_whep = await call.client.post(f"/whep/lobby/{target['participant']}", data=asked, headers=headers)
            for answered in (str(by_participant["sdp"]), await by_whep.text()):
                audio, video = answered.split("m=video")
                assert ("a=label:rendered\r\n" in video) == (target is me)
                assert "a=label" not in audio
            await accept(watching, by_participant["sdp"])
            await close_peer(watching)
        await close_peer(sending)
        await close_peer(camera)


@pytest.mark.asyncio
async def test_who_says_that_it_is_an_avatar_is_marked_as_one() -> None:
    async with running_call() as call:
        ada, me = await call.join("Ada")
        carl, other = await call.join("Carl")
        sending = [await publish_motion(ada), await publish_motion(carl)]
        publications = [publication_of(own["participant"]) for own in (me, other)]
        assert [publication.avatar for publication in publications] == [False, False]
        await ada.request("state", avatar=True)
        assert [publication.avatar for publication in publications] == [True, False]
        await ada.request("state", avatar=False)
        assert [publication.avatar for publication in publications] == [False, False]
        for connection in sending:
            await close_peer(connection)


@pytest.mark.asyncio
async def test_a_preview_watches_itself_and_is_in_no_roster() -> None:
    async with running_call() as call:
        ada, _ = await call.join("Ada")
        previewing, me = await call.join("Bob", preview=True)
        assert [entry["name"] for entry in me["roster"]] == ["Ada"]
        sending = await publish_motion(previewing)
        watching, _ = await subscribe(previewing, me["participant"])
        await pictures(watching)
        assert (await ada.request("statistics"))["participants"] == {}
        _, later = await call.join("Carol")
        assert [entry["name"] for entry in later["roster"]] == ["Ada", "Carol"]
        await ada.roster(lambda r: [entry["name"] for entry in r] == ["Ada", "Carol"])
        await close_peer(watching)
        await close_peer(sending)


@pytest.mark.asyncio
async def test_camera_publisher_is_relayed() -> None:
    async with running_call() as call:
        ada, me = await call.join("Ada")
        camera = peer_connection()
        camera.addTransceiver("video", direction="sendonly")
        camera.addTransceiver("audio", direction="sendonly")
        answer = await ada.request("publish", sdp=await offer(camera))
        await accept(camera, answer["sdp"])
        roster = await ada.roster(lambda r: r[0]["kind"] == "camera")
        assert roster[0]["publication"] == 1
        await connected(camera)
        assert {track.kind for track in publication_of(me["participant"]).tracks} == {"audio", "video"}
        await close_peer(camera)


@pytest.mark.asyncio
async def test_leaving_while_publishing_again_leaves_nothing_behind() -> None:
    async with running_call() as call:  # which looks for publications that were not closed
        ada, me = await call.join("Ada")
        first = await publish_motion(ada)
        conference = call.parts.conference
        second = peer_connection()
        second.createDataChannel("motion")
        again = asyncio.create_task(conference.publish(me["participant"], await offer(second)))
        await asyncio.sleep(0)  # it waits for the first connection to close
        assert not again.done()
        conference.leave(me["participant"])
        with pytest.raises(VisavisError):
            await asyncio.wait_for(again, 20)
        assert conference.publishers.of(me["participant"]) is None
        await close_peer(first)
        await close_peer(second)


@pytest.mark.asyncio
async def test_publishing_again_goes_on_for_the_viewers() -> None:
    """A lost connection is replaced by another of the same kind: source and subscriptions stay."""
    async with running_call() as call:
        ada, me = await call.join("Ada", identity="ada")
        bob, _ = await call.join("Bob")
        headers = call.bearer(identity="ada") | {"Content-Type": "image/jpeg"}
        path = f"/rooms/lobby/participants/{me['participant']}/source"
        assert (await call.client.put(path, data=JPEG, headers=headers)).status == 201
        first = await publish_motion(ada)
        publication = publication_of(me["participant"])
        watching, _ = await subscribe(bob, me["participant"])
        await pictures(watching)
        await close_peer(first)
        await bob.roster(lambda r: r[0]["state"] == "lost")
        second = await publish_motion(ada)
        roster = await bob.roster(lambda r: r[0]["state"] == "live")
        assert roster[0]["publication"] == 1
        assert publication_of(me["participant"]) is publication
        assert set(publication.sources) == {0}
        await pictures(watching)
        for connection in (second, watching):
            await close_peer(connection)
    CACHED.clear()


@pytest.mark.asyncio
async def test_motion_of_other_weights_is_refused_and_what_is_published_goes_on() -> None:
    async with running_call() as call:
        call.parts.conference.open(FakePublication, "ab" * 32)
        ada, me = await call.join("Ada")
        bob, _ = await call.join("Bob")
        sending = await publish_motion(ada, weights="ab" * 32)
        publication = publication_of(me["participant"])
        watching, _ = await subscribe(bob, me["participant"])
        await pictures(watching)
        other = peer_connection()
        other.createDataChannel("motion")
        refused = await ada.request("publish", sdp=await offer(other), weights="cd" * 32)
        assert (refused["type"], refused["code"]) == ("error", "weights")
        assert "\n" not in refused["message"]
        for words in ("cd" * 6, "ab" * 6, "VISAVIS_WEIGHTS"):
            assert words in refused["message"]
        await pictures(watching)
        assert sending.connectionState == "connected"
        assert publication_of(me["participant"]) is publication
        roster = call.parts.conference.rooms.roster("lobby")
        assert (roster[0].entry()["state"], roster[0].publication) == ("live", 1)
        for connection in (sending, watching, other):
            await close_peer(connection)


@pytest.mark.asyncio
@pytest.mark.parametrize(("receiver", "sender"), [("ab" * 32, {}), (None, {"weights": "cd" * 32})])
async def test_weights_are_compared_where_both_are_known(receiver: str | None, sender: dict[str, str]) -> None:
    async with running_call() as call:
        call.parts.conference.open(FakePublication, receiver)
        ada, _ = await call.join("Ada")
        await close_peer(await publish_motion(ada, **sender))


def test_the_error_of_other_weights_has_a_code_and_a_status() -> None:
    error = WeightsError("others")
    assert (code_of(error), error.http_status) == ("weights", 409)


@pytest.mark.asyncio
async def test_publishing_another_kind_ends_the_subscriptions() -> None:
    async with running_call() as call:
        ada, me = await call.join("Ada")
        bob, _ = await call.join("Bob")
        first = await publish_motion(ada)
        await bob.roster(lambda r: r[0]["state"] == "live")
        watching, subscription = await subscribe(bob, me["participant"])
        camera = peer_connection()
        camera.addTransceiver("video", direction="sendonly")
        assert (await ada.request("publish", sdp=await offer(camera)))["type"] == "ok"
        ended = await bob.until(lambda m: m["type"] == "ended")
        assert (ended["subscription"], ended["reason"]) == (subscription, "unpublished")
        await bob.roster(lambda r: (r[0]["publication"], r[0]["kind"]) == (2, "camera"))
        for connection in (first, camera, watching):
            await close_peer(connection)


@pytest.mark.asyncio
async def test_resuming_after_gone_attaches_the_source_again() -> None:
    async with running_call() as call:
        ada, me = await call.join("Ada", identity="ada")
        headers = call.bearer(identity="ada") | {"Content-Type": "image/jpeg"}
        path = f"/rooms/lobby/participants/{me['participant']}/source"
        assert (await call.client.put(path, data=JPEG, headers=headers)).status == 201
        first = await publish_motion(ada)
        # Published and with a source: newer tokens say so.
        renewed = await ada.until(lambda m: m["type"] == "resume" and _says_it_all(call, m["resume"]))
        call.parts.conference.leave(me["participant"], reason="silent")
        back, again = await call.join("x", identity="ada", resume=renewed["resume"])
        assert (again["participant"], again["name"]) == (me["participant"], "Ada")
        second = await publish_motion(back)
        assert set(publication_of(me["participant"]).sources) == {0}
        for connection in (first, second):
            await close_peer(connection)
    CACHED.clear()


def _says_it_all(call: Call, resume: str) -> bool:
    said = call.parts.resume_tokens.read(resume)
    return said is not None and (set(said.sources), said.publication) == ({0}, 1)


@pytest.mark.asyncio
async def test_publication_without_a_connection_ends_after_the_grace() -> None:
    clock = FakeClock()
    async with running_call(gone_seconds=5.0, clock=clock) as call:
        ada, me = await call.join("Ada")
        bob, _ = await call.join("Bob")
        sending = peer_connection()
        sending.createDataChannel("motion")
        answer = await call.parts.conference.publish(me["participant"], await offer(sending))
        await accept(sending, answer)
        await connected(sending)
        watching, subscription = await subscribe(bob, me["participant"])
        await close_peer(sending)
        await bob.roster(lambda r: [entry["state"] for entry in r if entry["id"] == me["participant"]] == ["lost"])
        await pass_seconds(clock, 4, ada, bob)
        assert len(FakePublication.alive) == 1
        assert not [message for message in bob.news if message["type"] == "ended"]
        await pass_seconds(clock, 2, ada, bob)
        assert (await bob.until(lambda m: m["type"] == "ended"))["subscription"] == subscription
        await until(lambda: FakePublication.alive == set())
        await close_peer(watching)


@pytest.mark.asyncio
async def test_silent_publisher_is_lost_and_its_viewers_are_told() -> None:
    async with running_call() as call:
        ada, me = await call.join("Ada")
        bob, _ = await call.join("Bob")
        sending = await publish_motion(ada)
        watching, subscription = await subscribe(bob, me["participant"])
        publication = publication_of(me["participant"])
        assert publication.on_gone is not None
        publication.on_gone()
        ended = await bob.until(lambda m: m["type"] == "ended")
        assert (ended["subscription"], ended["reason"]) == (subscription, "failed")
        await bob.roster(lambda r: r[0]["state"] == "lost")
        again = await publish_motion(ada)
        await bob.roster(lambda r: r[0]["state"] == "live" and r[0]["publication"] == 2)
        for connection in (sending, watching, again):
            await close_peer(connection)


@pytest.mark.asyncio
async def test_bad_offers_of_one_leave_the_pictures_of_others_running() -> None:
    async with running_call() as call:
        ada, me = await call.join("Ada")
        bob, _ = await call.join("Bob")
        eve, _ = await call.join("Eve")
        sending = await publish_motion(ada)
        watching, _ = await subscribe(bob, me["participant"])
        await pictures(watching)
        good = await offer(peer := peer_connection())
        await close_peer(peer)
        for sdp in ("x", "v=0\r\n", good, good.replace("m=", "m=x"), "m=audio 9 UDP/TLS/RTP/SAVPF 0\r\n" * 20):
            assert (await eve.request("publish", sdp=sdp))["code"] == "sdp"
            assert (await eve.request("subscribe", participant=me["participant"], sdp=sdp))["type"] == "error"
        await pictures(watching, 5)
        assert [m for m in bob.news if m["type"] == "ended"] == []
        await close_peer(watching)
        await close_peer(sending)


@pytest.mark.asyncio
async def test_subscriptions_are_bounded() -> None:
    async with running_call(max_subscriptions=2) as call:
        ada, me = await call.join("Ada")
        sending = await publish_motion(ada)
        watching = [(await subscribe(ada, me["participant"]))[0] for _ in range(2)]
        answer = await ada.request(
            "subscribe", participant=me["participant"], sdp=await offer(third := peer_connection())
        )
        assert answer["code"] == "capacity"
        for connection in (*watching, third, sending):
            await close_peer(connection)


@pytest.mark.asyncio
async def test_permissions_of_the_token() -> None:
    async with running_call() as call:
        ada, me = await call.join("Ada")
        sending = await publish_motion(ada)
        mute = await call.connect(call.token(publish=False, subscribe=False))
        await mute.request("join", room="lobby", name="Mute")
        assert (await mute.request("publish", sdp="v=0"))["code"] == "forbidden"
        assert (await mute.request("subscribe", participant=me["participant"], sdp="v=0"))["code"] == "forbidden"
        await close_peer(sending)


async def come_and_go(call: Call, number: int, target: str) -> None:
    """One client's life: join, publish, perhaps watch, and go in one of three ways."""
    peer, me = await call.join(f"Guest {number}")
    sending = peer_connection()
    sending.createDataChannel("motion", ordered=False, maxRetransmits=0)
    answer = await peer.request("publish", sdp=await offer(sending))
    await accept(sending, answer["sdp"])
    watching = None
    if number % 4 == 0:
        watching, _ = await subscribe(peer, target)
    if number % 10 == 0:
        await connected(sending)
    if number % 20 == 0 and watching is not None:
        await pictures(watching, 1)
    if number % 3 == 0:
        await peer.request("leave")
    elif number % 3 == 1:
        await peer.socket.close()
    else:
        call.parts.conference.leave(me["participant"], reason="silent")
    for connection in (sending, watching):
        if connection is not None:
            await close_peer(connection)
    await peer.socket.close()


@pytest.mark.slow
@pytest.mark.asyncio
async def test_200_joins_and_leaves_leave_nothing_behind() -> None:
    async with running_call(limit=500.0) as call:
        ada, me = await call.join("Ada")
        sending = await publish_motion(ada)
        reader = asyncio.create_task(_read_forever(ada))
        await come_and_go(call, 0, me["participant"])
        before = resources()
        for start in range(0, 200, 5):
            await asyncio.gather(*(come_and_go(call, n, me["participant"]) for n in range(start, start + 5)))
        assert len(call.parts.conference.rooms) == 1
        # Those who just close their socket are gone once the server has seen it.
        await until(lambda: len(FakePublication.alive) == 1)
        assert [s for s in publication_of(me["participant"]).subscriptions if not s.closed] == []
        await assert_released(before)
        reader.cancel()
        await asyncio.gather(reader, return_exceptions=True)
        await close_peer(sending)


async def _read_forever(peer: Peer) -> None:
    while True:
        await peer.socket.receive_json()
