"""Webhooks: what is told of a call, signed; what is tried again, what is given up, and what is bounded."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import jwt
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from server.auth import Authority
from server.media.aiortc_private import close_peer
from server.metrics import Metrics
from server.settings import Settings
from server.signalling.participant import Participant
from server.signalling.room_events import RoomEvent, RoomEvents
from server.webhooks import MAX_WAITING, PAUSES, Webhooks, http_post, sign
from tests.server.fakes import until
from tests.server.routes.api.test_api import ask
from tests.server.signalling import running_call
from tests.server.signalling.test_call import publish_motion
from tests.server.signalling.test_screen import share

SECRET = "0123456789abcdef0123456789abcdef"


def person(who: str, publication: int = 0) -> Participant:
    return Participant(id=who, room="r", identity=who, name=who, client="page", kind="motion", publication=publication)


def told(events: list[RoomEvent]) -> list[tuple[str, str | None]]:
    return [(event.name, event.person.id if event.person else None) for event in events]


def test_events_follow_from_rosters() -> None:
    rooms = RoomEvents()
    assert told(rooms.update("r", [person("a")])) == [("room_started", None), ("participant_joined", "a")]
    assert told(rooms.update("r", [person("a")])) == []
    assert told(rooms.update("r", [person("a", 1), person("b")])) == [
        ("track_published", "a"),
        ("participant_joined", "b"),
    ]
    assert told(rooms.update("r", [person("b", 1), person("c", 5)])) == [
        *(("participant_left", "a"), ("track_published", "b"), ("participant_joined", "c")),
    ]
    assert told(rooms.update("r", [])) == [
        *(("participant_left", "b"), ("participant_left", "c"), ("room_finished", None)),
    ]
    assert told(rooms.update("r", [])) == []
    assert told(rooms.update("r", [person("a")]))[0] == ("room_started", None)


def screen(of: str, publication: int = 1) -> Participant:
    who = Participant(id=f"{of}'s", room="r", identity=of, name=of, client="screen", owner=of)
    return replace(who, kind="screen", publication=publication)


def tracks(events: list[RoomEvent]) -> list[tuple[str, str | None, tuple[str, str] | None]]:
    """Name, who, and (id, kind) of the track."""
    return [
        (e.name, e.person.id if e.person else None, (e.track.id, e.track.kind) if e.track else None) for e in events
    ]


def test_a_screen_is_a_track_of_who_shares_it() -> None:
    rooms = RoomEvents()
    rooms.update("r", [person("a"), person("b")])
    first, again = ("a's-1", "screen"), ("a's-2", "screen")
    assert tracks(rooms.update("r", [person("a"), person("b"), screen("a", 0)])) == []
    assert tracks(rooms.update("r", [person("a"), person("b"), screen("a")])) == [("track_published", "a", first)]
    assert tracks(rooms.update("r", [person("a"), person("b"), screen("a", 2)])) == [("track_published", "a", again)]
    assert tracks(rooms.update("r", [person("a"), person("b")])) == [("track_unpublished", "a", again)]
    assert tracks(rooms.update("r", [person("a"), person("b"), screen("b")])) == [
        ("track_published", "b", ("b's-1", "screen"))
    ]
    assert tracks(rooms.update("r", [])) == [
        ("track_unpublished", "b", ("b's-1", "screen")),
        *(("participant_left", "a", None), ("participant_left", "b", None), ("room_finished", None, None)),
    ]


def test_a_screen_that_never_showed_anything_is_nothing() -> None:
    rooms = RoomEvents()
    rooms.update("r", [person("a"), screen("a", 0)])
    assert tracks(rooms.update("r", [person("a")])) == []


@asynccontextmanager
async def webhook_server(statuses: list[int] | None = None) -> AsyncIterator[tuple[str, list[tuple[str, bytes]]]]:
    """A server that answers with these statuses, then with 200; and what it was posted."""
    posted: list[tuple[str, bytes]] = []

    async def hook(request: web.Request) -> web.Response:
        posted.append((request.headers["Authorization"], await request.read()))
        assert request.content_type == "application/webhook+json"
        status = statuses.pop(0) if statuses else 200
        return web.Response(status=status, headers={"Location": "/elsewhere"} if status == 302 else {})

    application = web.Application()
    application.router.add_post("/hook", hook)
    async with TestServer(application) as server:
        yield str(server.make_url("/hook")), posted


@pytest.mark.e2e
@pytest.mark.asyncio
async def test_a_call_is_told_from_its_beginning_to_its_end() -> None:
    async with webhook_server() as (url, posted):
        async with running_call(api_key="key", api_secret=SECRET, webhook_url=url) as call:
            ada, me = await call.join("Ada", identity="ada")
            sending = await publish_motion(ada)
            await until(lambda: len(posted) == 3)
            for signature, body in posted:
                claims = jwt.decode(signature, SECRET, algorithms=["HS256"], issuer="key")
                assert claims["sha256"] == base64.b64encode(hashlib.sha256(body).digest()).decode()
            await sending.close()
            # The rest is delivered while the server stops.
        events = [json.loads(body) for _, body in posted]
        assert [event["event"] for event in events] == [
            *("room_started", "participant_joined", "track_published", "participant_left", "room_finished"),
        ]
        assert len({event["id"] for event in events}) == 5
        assert all(event["room"] == {"name": "lobby"} for event in events)
        assert events[1]["participant"] == {"sid": me["participant"], "identity": "ada", "name": "Ada"}
        assert events[2]["track"]["name"] == "motion"


@pytest.mark.e2e
@pytest.mark.asyncio
async def test_a_recording_and_a_shared_screen_are_told(tmp_path: Path) -> None:
    recorded: dict[str, Any] = {"recordings": tmp_path, "recording_min_free_mb": 0}
    async with webhook_server() as (url, posted):
        async with running_call(api_key="key", api_secret=SECRET, webhook_url=url, **recorded) as call:
            ada, me = await call.join("Ada", identity="ada")
            path = "/api/rooms/lobby/recordings"
            _, made = await ask(call, "POST", path, call.bearer(record=True))
            sharing, who = await share(ada)
            await ada.request("unshare")
            await ask(call, "POST", f"{path}/{made['recording']}/stop", call.bearer(record=True))
            _, ended = await ask(call, "GET", f"{path}/{made['recording']}", call.bearer(record=True))
            await close_peer(sharing)
        events = [json.loads(body) for _, body in posted]
    assert [event["event"] for event in events] == [
        *("room_started", "participant_joined", "recording_started", "track_published", "track_unpublished"),
        *("recording_ended", "participant_left", "room_finished"),
    ]
    begun, shown, gone, over = events[2:6]
    known = {"id": made["recording"], "startedAt": int(made["started"])}
    assert begun["recording"] == known
    assert over["recording"] == known | {"endedAt": int(ended["ended"]), "reason": "stopped"}
    assert "participant" not in begun
    for event in (shown, gone):
        assert event["participant"] == {"sid": me["participant"], "identity": "ada", "name": "Ada"}
        assert event["track"] == {"sid": f"{who}-1", "name": "screen"}


@pytest.mark.asyncio
async def test_the_end_of_a_recording_is_told_when_the_server_stops(tmp_path: Path) -> None:
    recorded: dict[str, Any] = {"recordings": tmp_path, "recording_min_free_mb": 0}
    async with webhook_server() as (url, posted):
        async with running_call(api_key="key", api_secret=SECRET, webhook_url=url, **recorded) as call:
            await call.join("Ada")
            await ask(call, "POST", "/api/rooms/lobby/recordings", call.bearer(record=True))
        events = [json.loads(body) for _, body in posted]
    assert events[-1]["event"] == "recording_ended"
    assert events[-1]["recording"]["reason"] == "room_ended"


@asynccontextmanager
async def delivering(
    answer: Callable[[], int], slept: list[float] | None = None
) -> AsyncIterator[tuple[Webhooks, Metrics, list[bytes]]]:
    posted: list[bytes] = []

    async def post(body: bytes, headers: dict[str, str]) -> int:
        assert headers["Authorization"].count(".") == 2
        posted.append(body)
        await asyncio.sleep(0)
        return answer()

    async def sleep(seconds: float) -> None:
        if slept is not None:
            slept.append(seconds)
        await asyncio.sleep(0)

    metrics = Metrics()
    webhooks = Webhooks(post, Authority("key", SECRET, lambda: 1e9), metrics, lambda: "id", sleep)
    webhooks.start()
    async with asyncio.timeout(20):
        try:
            yield webhooks, metrics, posted
        finally:
            await webhooks.close()
            await webhooks.close()


def outcomes(metrics: Metrics, outcome: str) -> float:
    for line in metrics.exposition().decode().splitlines():
        if line.startswith(f'visavis_webhooks_total{{outcome="{outcome}"}}'):
            return float(line.split()[-1])
    return 0.0


@pytest.mark.asyncio
async def test_what_fails_is_tried_again_in_order_and_then_given_up() -> None:
    slept: list[float] = []
    answers = iter([500, 429, 200])
    async with delivering(lambda: next(answers, 503), slept) as (webhooks, metrics, posted):
        webhooks.add(RoomEvent("room_started", "first"))
        webhooks.add(RoomEvent("room_started", "second"))
        await until(lambda: outcomes(metrics, "failed") == 1)
        assert outcomes(metrics, "delivered") == 1
        assert [json.loads(body)["room"]["name"] for body in posted] == ["first"] * 3 + ["second"] * (len(PAUSES) + 1)
        assert slept == [*PAUSES[:2], *PAUSES]


@pytest.mark.asyncio
async def test_what_is_refused_is_not_tried_again() -> None:
    async with delivering(lambda: 410) as (webhooks, metrics, posted):
        webhooks.add(RoomEvent("room_started", "r"))
        await until(lambda: outcomes(metrics, "refused") == 1)
        assert len(posted) == 1


@pytest.mark.asyncio
async def test_what_waits_is_bounded() -> None:
    async with delivering(lambda: 200) as (webhooks, metrics, posted):
        for _ in range(MAX_WAITING + 5):
            webhooks.add(RoomEvent("room_started", "r"))
        assert outcomes(metrics, "dropped") == 5
    assert len(posted) == MAX_WAITING, "closing delivers what waits"


@pytest.mark.asyncio
async def test_nobody_there_and_redirects_are_failures() -> None:
    import aiohttp

    async with asyncio.timeout(20), aiohttp.ClientSession() as http, webhook_server([302]) as (url, posted):
        assert (
            await http_post(http, url)(b"{}", {"Authorization": "x", "Content-Type": "application/webhook+json"}) == 302
        )
        assert len(posted) == 1
        with pytest.raises(aiohttp.ClientError):
            await http_post(http, "http://127.0.0.1:1/hook")(b"{}", {})


def test_a_signature_lasts_for_minutes() -> None:
    claims: dict[str, Any] = jwt.decode(
        sign(Authority("key", SECRET, lambda: 1e9), b"{}"), SECRET, algorithms=["HS256"], options={"verify_exp": False}
    )
    assert claims["exp"] - claims["nbf"] == 300


def test_a_webhook_needs_a_key_and_an_address() -> None:
    with pytest.raises(ValueError, match="webhook_url needs"):
        Settings(webhook_url="https://example.org/hook")
    with pytest.raises(ValueError, match="begins with http"):
        Settings(webhook_url="example.org", api_key="key", api_secret=SECRET)  # type: ignore[arg-type]
