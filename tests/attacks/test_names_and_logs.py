"""Names that deceive, paths that no file has, tokens in the log, settings that no browser takes."""

from __future__ import annotations

import asyncio
import io
import json
import logging

import pytest
from yarl import URL

from server.errors import SettingsError
from server.logs import HumanFormatter, JsonFormatter
from server.settings import load_settings
from server.signalling.names import sameness, visible_name
from tests.attacks.listening import ended, listening
from tests.server.signalling import running_call

TOKEN = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhZGEifQ.c2lnbmF0dXJl"


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("Ada", "Ada"),
        ("A\u202eda\u202c", "Ada"),
        ("Ada\u200b\u200d\ufeff", "Ada"),
        ("Ada\x07\x1b[31m", "Ada[31m"),
        ("Ada\u3164", "Ada"),
        ("  Ada \u2003 L.\n", "Ada L."),
        ("A" + "\u0301" * 60, "Á" + "\u0301" * 4),
        ("李娜", "李娜"),
        ("Zoë", "Zoë"),
        ("\u200b\u2060", ""),
    ],
)
def test_only_what_is_seen_of_a_name_is_shown(given: str, shown: str) -> None:
    assert visible_name(given) == shown


@pytest.mark.parametrize(("one", "other"), [("Ada", "ada"), ("Ada", "Ａda"), ("ﬁn", "fin"), ("Straße", "STRASSE")])
def test_names_that_look_the_same_are_the_same(one: str, other: str) -> None:
    assert sameness(one) == sameness(other)


@pytest.mark.asyncio
async def test_nobody_takes_a_name_that_looks_like_anothers() -> None:
    async with running_call() as call:
        names = ["Ada", "Ada\u200b", "\u202eAda", "ADA", "Ａda"]
        got = [(await call.join(name))[1]["name"] for name in names]
        assert got == ["Ada", "Ada (2)", "Ada (3)", "ADA (4)", "Ａda (5)"]
        _, refused = await call.join("\u200b\u200b")
        assert (refused["type"], refused["code"]) == ("error", "protocol")


@pytest.mark.asyncio
@pytest.mark.parametrize("path", ["/client/%00", "/client/a%00.js", "/client/" + "a" * 300, "/client/" + "a/" * 2500])
async def test_a_path_that_no_file_can_have_is_404(path: str) -> None:
    async with running_call() as call:
        answer = await call.client.get(URL(path, encoded=True))
        assert answer.status == 404
        assert (await answer.json())["code"] == "not_found"


@pytest.mark.parametrize(
    "line",
    [
        f"GET /ws?token={TOKEN}&x=1 HTTP/1.1",
        f"b'GET /ws?token={TOKEN} HTTP/1.1\\r\\n'",
        f'"Authorization": "Bearer {TOKEN}"',
        f"Bearer secret-that-is-no-jwt {TOKEN}",
        TOKEN,
    ],
)
def test_no_formatter_lets_a_token_through(line: str) -> None:
    record = logging.makeLogRecord({"name": "aiohttp.server", "levelno": 40, "levelname": "ERROR", "msg": line})
    vars(record)["path"] = line
    try:
        raise ValueError(line)
    except ValueError as error:
        record.exc_info = (type(error), error, error.__traceback__)
    for text in (HumanFormatter().format(record), JsonFormatter().format(record)):
        assert TOKEN not in text
        assert "secret-that-is-no-jwt" not in text
        assert "[token]" in text
    json.loads(JsonFormatter().format(record))


@pytest.mark.asyncio
async def test_a_request_that_cannot_be_read_leaves_no_token_in_the_log() -> None:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(HumanFormatter())
    root = logging.getLogger()
    before = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    try:
        async with listening() as server:
            for request in (
                f"GET /ws?token={TOKEN} HTTP/9.9\r\n\r\n",
                f"G\x01T /ws?token={TOKEN} HTTP/1.1\r\n\r\n",
                f"GET /ws?token={TOKEN}\r\n\r\n",
                f"GET /ws HTTP/1.1\r\nAuthorization : Bearer {TOKEN}\r\n\r\n",
            ):
                reader, writer = await server.open(request.encode())
                await asyncio.wait_for(ended(reader), 20)
                writer.close()
    finally:
        root.removeHandler(handler)
        root.setLevel(before)
    assert TOKEN not in stream.getvalue()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("stun_urls", "stun.example.org:3478"),
        ("stun_urls", "turn:stun.example.org"),
        ("stun_urls", "https://stun.example.org"),
        ("turn_urls", "turn.example.org:3478"),
        ("turn_urls", "turn:"),
    ],
)
def test_ice_addresses_without_their_scheme_are_refused_at_start(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=name.upper()):
        load_settings(**{name: value, "turn_secret": "s"})
