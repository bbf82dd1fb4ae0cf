"""`token`, `invite` and `rooms`: what they print is good at a server with the same key; what is missing is one line."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

import server.__main__
from server.app import unguessable
from server.auth import Claims
from tests.server.signalling import Call, running_call

SECRET = "0123456789abcdef0123456789abcdef"
KEY: dict[str, Any] = {"api_key": "key", "api_secret": SECRET}


@pytest.fixture
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VISAVIS_API_KEY", "key")
    monkeypatch.setenv("VISAVIS_API_SECRET", SECRET)


def command(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert server.__main__.main(list(arguments)) == 0
    return capsys.readouterr().out.strip()


@pytest.mark.asyncio
async def test_tokens_have_the_grants_that_were_asked_for(key: None, capsys: pytest.CaptureFixture[str]) -> None:
    del key
    async with running_call(**KEY) as call:

        def claims(*arguments: str) -> Claims:
            return call.parts.authority.verify(command(capsys, "token", *arguments))

        plain = claims("--room", "lobby", "--identity", "ada")
        plain.may_join("lobby")
        plain.may_invite("lobby")
        assert not plain.administers("lobby")
        assert not claims("--room", "lobby", "--no-invite").video.canInvite
        head = claims("--room", "lobby", "--room-admin")
        assert (head.administers("lobby"), head.administers("studio")) == (True, False)
        admin = claims("--admin")
        assert (admin.administers("studio"), admin.video.roomJoin) == (True, False)


@pytest.mark.asyncio
async def test_the_link_of_invite_lets_somebody_in(key: None, capsys: pytest.CaptureFixture[str]) -> None:
    del key
    async with running_call(**KEY) as call:
        link = urlsplit(command(capsys, "invite", "--room", "lobby", "--server", "https://calls.example.org/v/"))
        assert (link.netloc, link.path, parse_qs(link.query)) == ("calls.example.org", "/v/", {"room": ["lobby"]})
        (invitation,) = parse_qs(link.fragment)["invitation"]
        answer = await call.client.post("/api/tokens", json={"invitation": invitation})
        assert answer.status == 201
        made = json.loads(command(capsys, "invite", "--room", "lobby", "--no-publish", "--json"))
        assert not call.parts.invitations.redeem(made["invitation"]).canPublish


async def rooms(call: Call, *arguments: str) -> tuple[int, str, str]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "server", "rooms", "--server", str(call.client.make_url("/")), *arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    output, errors = await process.communicate()
    assert process.returncode is not None
    return process.returncode, output.decode(), errors.decode()


def test_no_identifier_reads_as_an_option() -> None:
    assert all(unguessable()[:12].isalnum() for _ in range(256))


@pytest.mark.slow
@pytest.mark.e2e
@pytest.mark.asyncio
async def test_rooms_lists_mutes_removes_and_closes(key: None) -> None:
    del key
    async with running_call(**KEY) as call:
        assert (await rooms(call))[1].strip() == "no room has anybody in it"
        ada, me = await call.join("Ada")
        bob, other = await call.join("Bob")
        # Read all the while: a client that does not answer pings is gone.
        muted = asyncio.create_task(ada.until(lambda m: m["type"] == "mute"))
        removed = asyncio.create_task(bob.until(lambda m: m["type"] == "closed"))
        assert "lobby" in (await rooms(call))[1]
        status, listed, _ = await rooms(call, "lobby", "--json")
        assert status == 0
        assert [p["name"] for p in json.loads(listed)["participants"]] == ["Ada", "Bob"]
        assert (await rooms(call, "lobby", "--mute", me["participant"]))[0] == 0
        assert (await muted)["muted"] is True
        closed = asyncio.create_task(ada.until(lambda m: m["type"] == "closed"))
        assert "muted" in (await rooms(call, "lobby"))[1]
        assert (await rooms(call, "lobby", "--remove", other["participant"]))[0] == 0
        assert (await removed)["reason"] == "removed"
        assert (await rooms(call, "lobby", "--close"))[0] == 0
        assert (await closed)["reason"] == "room_closed"
        status, _, errors = await rooms(call, "lobby")
        assert (status, errors.count("\n")) == (2, 1)
        assert "no such room" in errors


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("token",), "name the --room"),
        (("rooms", "--close"), "name the room"),
        (("rooms", "--server", "http://127.0.0.1:1"), "no answer from"),
        (("invite", "--room", "a b"), "a room's name"),
        (("invite", "--room", "a", "--hours", "0"), "VISAVIS_INVITATION_HOURS"),
    ],
)
def test_what_is_missing_is_one_line(
    key: None, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], words: str
) -> None:
    del key
    assert server.__main__.main(list(arguments)) == 2
    errors = capsys.readouterr().err
    assert words in errors
    assert errors.count("\n") == 1


@pytest.mark.parametrize("name", ["invite", "rooms", "token"])
def test_without_a_key_they_say_so(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [name] if name == "rooms" else [name, "--room", "a"]
    assert server.__main__.main(arguments) == 2
    assert "VISAVIS_API_SECRET" in capsys.readouterr().err
