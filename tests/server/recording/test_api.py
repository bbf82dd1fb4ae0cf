"""Recordings by the API, and what everybody in the room is told: with fake publications."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from server.recording.manifest import Manifest, read_manifest
from tests.server.routes.api.test_api import KEY, ask
from tests.server.signalling import Call, running_call
from tests.server.signalling.test_call import publication_of, publish_motion

ROOM = "/api/rooms/lobby/recordings"


def recording(folder: Path, **settings: Any) -> dict[str, Any]:
    return KEY | {"recordings": folder, "recording_min_free_mb": 0} | settings


async def started(call: Call, room: str = "lobby") -> dict[str, Any]:
    status, answer = await ask(call, "POST", f"/api/rooms/{room}/recordings", call.bearer(room, record=True))
    assert status == 201, answer
    return answer


def recorder(participant: dict[str, Any]) -> object:
    """Who is told what a participant sends."""
    return publication_of(participant["participant"]).recorder


@pytest.mark.asyncio
async def test_without_a_directory_there_is_one_clear_error() -> None:
    async with running_call(**KEY) as call:
        _, me = await call.join("Ada")
        assert (me["recording"], me["may_record"]) == (False, False)
        for method, path in (("POST", ROOM), ("GET", ROOM), ("GET", ROOM + "/x"), ("POST", ROOM + "/x/stop")):
            status, answer = await ask(call, method, path, call.bearer(record=True))
            assert (status, answer["code"]) == (501, "recording_off")
            assert "VISAVIS_RECORDINGS" in answer["message"]


@pytest.mark.asyncio
async def test_everybody_sees_the_mark_and_whoever_comes_later_too(tmp_path: Path) -> None:
    async with running_call(**recording(tmp_path)) as call:
        ada, _ = await call.join("Ada")
        bob, _ = await call.join("Bob")
        one = await started(call)
        assert (one["room"], one["state"], one["files"]) == ("lobby", "recording", [])
        for peer in (ada, bob):
            assert (await peer.until(lambda m: m["type"] == "recording"))["recording"] is True
        _, late = await call.join("Eve")
        assert late["recording"] is True
        path = f"{ROOM}/{one['recording']}"
        assert (await ask(call, "POST", path + "/stop", call.bearer(record=True)))[0] == 204
        assert (await ada.until(lambda m: m["type"] == "recording"))["recording"] is False
        status, ended = await ask(call, "GET", path, call.bearer(record=True))
        assert (status, ended["state"], ended["reason"]) == (200, "ended", "stopped")
        assert ended["ended"] >= ended["started"]
        assert (await ask(call, "POST", path + "/stop", call.bearer(record=True)))[0] == 404


@pytest.mark.asyncio
async def test_publications_are_recorded_as_long_as_it_runs_and_they_are_there(tmp_path: Path) -> None:
    async with running_call(**recording(tmp_path)) as call:
        ada, me = await call.join("Ada")
        sending = await publish_motion(ada)
        assert recorder(me) is None
        one = await started(call)
        first = recorder(me)
        assert first is not None
        bob, other = await call.join("Bob")
        watching = await publish_motion(bob)
        assert recorder(other) not in (None, first)
        await ada.request("state", camera_off=True)
        assert recorder(me) is first
        assert (await ask(call, "POST", f"{ROOM}/{one['recording']}/stop", call.bearer(record=True)))[0] == 204
        assert (recorder(me), recorder(other)) == (None, None)
        await sending.close()
        await watching.close()


@pytest.mark.asyncio
async def test_who_may_record_and_who_may_delete(tmp_path: Path) -> None:
    async with running_call(**recording(tmp_path)) as call:
        peer = await call.connect(call.token(record=True))
        assert (await peer.request("join", room="lobby", name="Ada"))["may_record"] is True
        _, other = await call.join("Bob")
        assert other["may_record"] is False
        for headers, wanted in ((None, 401), (call.bearer(), 403), (call.bearer("other", record=True), 403)):
            assert (await ask(call, "POST", ROOM, headers))[0] == wanted
        one = await started(call)
        path = f"{ROOM}/{one['recording']}"
        assert (await ask(call, "DELETE", path, call.bearer(record=True)))[0] == 403
        admin = call.bearer("", admin=True)
        assert (await ask(call, "DELETE", path, admin))[0] == 409
        assert (await ask(call, "POST", path + "/stop", admin))[0] == 204
        assert (await ask(call, "DELETE", path, admin))[0] == 204
        assert (await ask(call, "GET", path, admin))[0] == 404
        assert not list((tmp_path / "lobby").iterdir())


@pytest.mark.asyncio
async def test_bounds_are_errors_that_say_which(tmp_path: Path) -> None:
    async with running_call(**recording(tmp_path, max_recordings=1)) as call:
        assert (await ask(call, "POST", ROOM, call.bearer(record=True)))[0] == 404
        await call.join("Ada")
        await call.join("Bob", room="studio")
        await started(call)
        status, answer = await ask(call, "POST", ROOM, call.bearer(record=True))
        assert (status, answer["code"]) == (409, "conflict")
        status, answer = await ask(call, "POST", "/api/rooms/studio/recordings", call.bearer("studio", record=True))
        assert (status, answer["code"]) == (503, "capacity")
    async with running_call(**recording(tmp_path, recording_min_free_mb=1 << 40)) as call:
        await call.join("Bob", room="studio")
        status, answer = await ask(call, "POST", "/api/rooms/studio/recordings", call.bearer("studio", record=True))
        assert (status, "disk" in answer["message"]) == (503, True)
        assert not list((tmp_path / "studio").iterdir())


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("bound", "reason"), [({"recording_hours": 1e-6}, "duration"), ({}, "disk"), ({}, "bytes"), ({}, "room_ended")]
)
async def test_a_recording_ends_by_itself_at_its_bounds(tmp_path: Path, bound: dict[str, Any], reason: str) -> None:
    async with running_call(**recording(tmp_path, **bound)) as call:
        ada, _ = await call.join("Ada")
        one = await started(call)
        running = call.parts.recordings._running["lobby"]
        if reason == "disk":
            call.parts.recordings._limits = _with(call, min_free_bytes=1 << 60)
        elif reason == "bytes":
            call.parts.recordings._limits = _with(call, max_bytes=-1)
        elif reason == "room_ended":
            await ada.request("leave")
        if reason != "room_ended":
            assert (await ada.until(lambda m: m == {"type": "recording", "recording": False}))["recording"] is False
        path = f"{ROOM}/{one['recording']}"
        while (ended := (await ask(call, "GET", path, call.bearer(record=True)))[1])["state"] == "recording":
            pass
        assert (ended["state"], ended["reason"]) == ("ended", reason)
        del running


def _with(call: Call, **limits: Any) -> Any:
    from dataclasses import replace

    return replace(call.parts.recordings._limits, **limits)


@pytest.mark.asyncio
async def test_what_a_crash_left_is_listed_and_nothing_beside_it_can_be_named(tmp_path: Path) -> None:
    folder = tmp_path / "lobby" / "20260101T000000Z-00c0ffee"
    folder.mkdir(parents=True)
    entry: Any = {"participant": "p", "identity": "ada", "name": "Ada", "kind": "motion", "offset": 0}
    manifest = {"version": 1, "recording": folder.name, "room": "lobby", "started": 1.5}
    (folder / "recording.json").write_text(json.dumps(manifest | {"files": [entry | {"file": "001.vav"}]}))
    (folder / "001.vav").write_bytes(b"everything up to the last second")
    (folder / "secret.txt").write_text("not of the recording")
    damaged = tmp_path / "lobby" / "20260101T000001Z-00c0ffee"
    damaged.mkdir()
    (damaged / "recording.json").write_text("{")
    async with running_call(**recording(tmp_path)) as call:
        bearer = call.bearer(record=True)
        status, answer = await ask(call, "GET", ROOM, bearer)
        assert status == 200
        (found,) = answer["recordings"]
        assert (found["state"], found["files"][0]["bytes"]) == ("interrupted", 32)
        path = f"{ROOM}/{folder.name}/files/"
        fetched = await call.client.get(path + "001.vav", headers=bearer)
        assert (fetched.status, await fetched.read()) == (200, b"everything up to the last second")
        for name in ("secret.txt", "recording.json", "..%2F..%2Fsecret", "002.vav"):
            assert (await ask(call, "GET", path + name, bearer))[0] == 404
        assert (await ask(call, "GET", ROOM + "/..%2F..", bearer))[0] == 404
    assert read_manifest(damaged) is None
    assert isinstance(read_manifest(folder), Manifest)
