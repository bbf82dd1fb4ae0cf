"""Invitations and administration over HTTP: who may do what, what it does to a call, and a description that holds."""

from __future__ import annotations

from typing import Any

import jwt
import pytest

from server.routes.api.openapi import description
from server.routes.api.operations import OPERATIONS
from tests.server.fakes import until
from tests.server.signalling import Call, running_call
from tests.server.signalling.test_call import publication_of, publish_motion

SECRET = "0123456789abcdef0123456789abcdef"
KEY: dict[str, Any] = {"api_key": "key", "api_secret": SECRET}


async def ask(
    call: Call, method: str, path: str, headers: dict[str, str] | None = None, body: Any = None
) -> tuple[int, dict[str, Any]]:
    answer = await call.client.request(method, path, json=body, headers=headers)
    return answer.status, await answer.json() if answer.content_type == "application/json" else {}


@pytest.mark.asyncio
async def test_who_was_invited_joins_with_a_token_of_its_own() -> None:
    async with running_call(**KEY) as call:
        status, made = await ask(call, "POST", "/api/rooms/lobby/invitations", call.bearer(invite=True), {"hours": 1})
        assert (status, made["room"]) == (201, "lobby")
        tokens = [(await ask(call, "POST", "/api/tokens", None, {"invitation": made["invitation"]}))[1] for _ in "ab"]
        assert tokens[0]["identity"] != tokens[1]["identity"]
        for token in tokens:
            peer = await call.connect(token["token"])
            assert (await peer.request("join", room="lobby", name="Guest"))["type"] == "ok"
            claims = call.parts.authority.verify(token["token"])
            assert claims.video.canPublish
            headers = {"Authorization": f"Bearer {token['token']}"}
            assert (await ask(call, "POST", "/api/rooms/lobby/invitations", headers, {}))[0] == 403
            await peer.socket.close()


@pytest.mark.asyncio
async def test_an_invitation_permits_no_more_than_its_maker_may() -> None:
    async with running_call(**KEY, invitation_hours=2.0) as call:
        path = "/api/rooms/lobby/invitations"
        assert (await ask(call, "POST", path, None, {}))[0] == 401
        assert (await ask(call, "POST", path, call.bearer(), {}))[0] == 403
        assert (await ask(call, "POST", path, call.bearer("studio", invite=True), {}))[0] == 403
        watcher = call.bearer(invite=True, publish=False)
        assert (await ask(call, "POST", path, watcher, {}))[0] == 403
        status, made = await ask(call, "POST", path, watcher, {"publish": False, "hours": 1e6})
        assert status == 201
        invitation = call.parts.invitations.redeem(made["invitation"])
        assert not invitation.canPublish
        assert invitation.exp <= call.parts.authority.clock() + 2 * 3600
        for administrator in (call.bearer("", admin=True), call.bearer("lobby", room_admin=True)):
            assert (await ask(call, "POST", path, administrator, {}))[0] == 201
        wrongs: tuple[Any, ...] = ({"hours": -1}, {"hours": "1"}, {"surprise": 1}, [], {"publish": 1})
        for wrong in wrongs:
            assert (await ask(call, "POST", path, call.bearer(invite=True), wrong))[0] == 400


@pytest.mark.asyncio
async def test_tokens_and_invitations_do_not_pass_for_each_other() -> None:
    async with running_call(**KEY) as call:
        invitation = call.parts.invitations.issue("lobby", hours=1)
        token = call.token(invite=True, admin=True)
        assert (await ask(call, "GET", "/api/rooms", {"Authorization": f"Bearer {invitation}"}))[0] == 401
        old = call.parts.invitations.issue("lobby", hours=-0.01)
        forged = jwt.encode({"iss": "key", "exp": 2e9, "room": "lobby"}, SECRET, algorithm="HS256")
        for text in (token, old, forged, invitation[:-2], "x", ""):
            status, answer = await ask(call, "POST", "/api/tokens", None, {"invitation": text})
            assert status in (400, 401), answer
        assert (await ask(call, "POST", "/api/tokens", None, {"invitation": "x" * 2000}))[0] == 400
        assert (await call.client.post("/api/tokens", data=b"x" * 5000)).status == 413
        assert (await call.client.post("/api/tokens", data=b"{}", headers={"Content-Type": "text/plain"})).status == 415
        headers = {"Content-Type": "application/json"}
        assert (await call.client.post("/api/tokens", data=b"[" * 4000, headers=headers)).status == 400


@pytest.mark.asyncio
async def test_rooms_are_seen_by_who_administers_them() -> None:
    async with running_call(**KEY) as call:
        peers = [await call.join(name, room) for name, room in (("Ada", "lobby"), ("Bob", "lobby"), ("Cy", "studio"))]
        admin, room_admin = call.bearer("", admin=True), call.bearer("studio", room_admin=True)
        status, listed = await ask(call, "GET", "/api/rooms", admin)
        assert status == 200
        assert {room["name"]: room["participants"] for room in listed["rooms"]} == {"lobby": 2, "studio": 1}
        assert [r["name"] for r in (await ask(call, "GET", "/api/rooms", room_admin))[1]["rooms"]] == ["studio"]
        assert (await ask(call, "GET", "/api/rooms", call.bearer()))[0] == 403
        assert (await ask(call, "GET", "/api/rooms"))[0] == 401
        assert (await ask(call, "GET", "/api/rooms/lobby", room_admin))[0] == 403
        assert (await ask(call, "GET", "/api/rooms/nobody", admin))[0] == 404
        _, room = await ask(call, "GET", "/api/rooms/lobby", admin)
        assert [p["name"] for p in room["participants"]] == ["Ada", "Bob"]
        ada = peers[0][1]["participant"]
        assert (await ask(call, "GET", f"/api/rooms/lobby/participants/{ada}", admin))[1] == room["participants"][0]
        assert (await ask(call, "GET", f"/api/rooms/studio/participants/{ada}", admin))[0] == 404
        for peer, _ in peers:
            await peer.socket.close()


@pytest.mark.asyncio
async def test_who_is_removed_stays_out_as_long_as_the_room_lasts() -> None:
    async with running_call(**KEY) as call:
        ada, me = await call.join("Ada", identity="ada")
        bob, _ = await call.join("Bob")
        admin = call.bearer("lobby", room_admin=True)
        path = f"/api/rooms/lobby/participants/{me['participant']}"
        assert (await ask(call, "DELETE", path, call.bearer(invite=True)))[0] == 403
        assert (await ask(call, "DELETE", path, admin))[0] == 204
        assert (await ada.until(lambda m: m["type"] == "closed"))["reason"] == "removed"
        assert len(await bob.roster(lambda r: len(r) == 1)) == 1
        assert (await ask(call, "DELETE", path, admin))[0] == 404
        for resume in (me["resume"], None):
            back, answer = await call.join("Ada", identity="ada", **({"resume": resume} if resume else {}))
            assert answer["code"] == "forbidden"
            await back.socket.close()
        await bob.request("leave")
        await until(lambda: not call.parts.conference.rooms.names())
        again, answer = await call.join("Ada", identity="ada")
        assert answer["type"] == "ok"
        await again.socket.close()


@pytest.mark.asyncio
async def test_a_room_that_is_closed_has_nobody_left() -> None:
    async with running_call(**KEY) as call:
        peers = [await call.join(name) for name in ("Ada", "Bob")]
        sending = await publish_motion(peers[0][0])
        assert (await ask(call, "DELETE", "/api/rooms/lobby", call.bearer("", admin=True)))[0] == 204
        for peer, answer in peers:
            assert (await peer.until(lambda m: m["type"] == "closed"))["reason"] == "room_closed"
            back, again = await call.join("Back", resume=answer["resume"])
            assert again["resumed"] is False, "it is a new participant"
            await back.request("leave")
        await sending.close()


@pytest.mark.e2e
@pytest.mark.asyncio
async def test_nobody_hears_who_is_muted_until_it_unmutes_itself() -> None:
    async with running_call(**KEY) as call:
        ada, me = await call.join("Ada")
        sending = await publish_motion(ada)
        publication: Any = publication_of(me["participant"])
        path = f"/api/rooms/lobby/participants/{me['participant']}/mute"
        admin = call.bearer("", admin=True)
        assert (await ask(call, "POST", path, admin, {}))[0] == 204
        assert (await ada.until(lambda m: m["type"] == "mute"))["muted"] is True
        assert publication.silent
        assert (await ada.roster(lambda r: r[0]["muted"]))[0]["muted"]
        await ada.request("state", camera_off=False)
        assert publication.silent
        await ada.request("state", muted=False)
        assert not publication.silent
        assert (await ask(call, "POST", path, admin, {"muted": True}))[0] == 204
        assert (await ask(call, "POST", path, admin, {"muted": False}))[0] == 204
        assert not publication.silent
        del publication
        await sending.close()


@pytest.mark.asyncio
async def test_the_description_is_of_what_is_served() -> None:
    async with running_call() as call:
        status, document = await ask(call, "GET", "/api/openapi.json")
        assert status == 200
        assert document == description()
        served = {
            (route.method, route.resource.canonical)
            for route in call.client.server.app.router.routes()  # type: ignore[attr-defined]
            if route.resource and route.resource.canonical.startswith("/api/") and route.method != "HEAD"
        }
        described = {(m.upper(), path) for path, methods in document["paths"].items() for m in methods}
        beside = {("GET", "/api/openapi.json"), ("GET", "/api/config")}
        assert served - beside == described


def test_every_reference_of_the_description_leads_somewhere() -> None:
    document = description()
    names = {operation["operationId"] for methods in document["paths"].values() for operation in methods.values()}
    assert len(names) == len(OPERATIONS)

    def references(value: Any) -> list[str]:
        if isinstance(value, dict):
            return [str(value.get("$ref"))] * ("$ref" in value) + [r for v in value.values() for r in references(v)]
        return [r for v in value for r in references(v)] if isinstance(value, list) else []

    found = set(references(document))
    assert {f"#/components/schemas/{name}" for name in document["components"]["schemas"]} == found


@pytest.mark.asyncio
async def test_every_operation_answers_what_it_is_described_to() -> None:
    """Without a token and with one that permits nothing: a described status and the error's shape."""
    async with running_call(**KEY) as call:
        for operation in OPERATIONS:
            path = operation.path.format(room="lobby", id="x", recording="x", file="001.vav")
            described = description()["paths"][operation.path][operation.method.lower()]["responses"]
            for headers in (None, call.bearer("other"), call.bearer("", admin=True)):
                status, answer = await ask(call, operation.method, path, headers, {} if operation.takes else None)
                assert str(status) in described, (operation.name, status)
                assert status < 300 or set(answer) == {"code", "message"}
                assert operation.grant is None or headers is not None or status == 401
