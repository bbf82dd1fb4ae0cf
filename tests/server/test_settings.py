"""Settings: read from the environment, refused in one line, and listed in the example file."""

from __future__ import annotations

from pathlib import Path

import pytest

from server.__main__ import main
from server.errors import SettingsError
from server.settings import Settings, is_loopback, load_settings

EXAMPLE = Path(__file__).parents[2] / "deploy" / "visavis.env.example"
SECRET = "s" * 32


def test_defaults_are_development_on_loopback() -> None:
    settings = load_settings()
    assert settings.development
    assert settings.host == "127.0.0.1"


def test_environment_and_overrides(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VISAVIS_PORT", "9000")
    monkeypatch.setenv("VISAVIS_STUN_URLS", "stun:a:1, stun:b:2")
    settings = load_settings(host=None)
    assert settings.port == 9000
    assert settings.stun_urls == ("stun:a:1", "stun:b:2")
    assert load_settings(port=9001).port == 9001


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"host": "0.0.0.0"}, "needs tokens"),
        ({"host": "::"}, "needs tokens"),
        ({"host": "example.org"}, "needs tokens"),
        ({"api_key": "k"}, "belong together"),
        ({"api_secret": SECRET}, "belong together"),
        ({"api_key": "k", "api_secret": "short"}, "at least 32 bytes"),
        ({"turn_urls": "turn:a:1"}, "turn_secret"),
        ({"port": 70000}, "VISAVIS_PORT"),
        ({"video_codecs": "AV1"}, "VP8 and H264"),
        ({"redis_url": "redis://r"}, "needs node_address"),
        ({"redis_url": "redis://r", "node_address": "https://a"}, "api_key"),
        ({"redis_url": "http://r", "node_address": "https://a", "api_key": "k", "api_secret": SECRET}, "redis://"),
        ({"node_address": "calls.example.org"}, "VISAVIS_NODE_ADDRESS"),
        ({"node_address": "https://calls.example.org/a?b"}, "VISAVIS_NODE_ADDRESS"),
        ({"public_address": "here"}, "VISAVIS_PUBLIC_ADDRESS"),
        ({"playout_min_ms": 500}, "playout_min_ms"),
    ],
)
def test_refused_in_one_line(given: dict[str, object], words: str) -> None:
    with pytest.raises(SettingsError, match=words) as caught:
        load_settings(**given)
    assert "\n" not in str(caught.value)
    assert SECRET not in str(caught.value)


def test_other_address_with_key_is_fine() -> None:
    assert not load_settings(host="0.0.0.0", api_key="k", api_secret=SECRET).development


def test_secret_does_not_show() -> None:
    assert SECRET not in repr(load_settings(api_key="k", api_secret=SECRET))


@pytest.mark.parametrize(
    ("address", "path"),
    [
        ("", ""),
        ("https://calls.example.org", ""),
        ("https://calls.example.org/", ""),
        ("http://[::1]:8080/nodes/calls-visavis-0/", "/nodes/calls-visavis-0"),
    ],
)
def test_the_path_of_a_node_is_that_of_its_address(address: str, path: str) -> None:
    settings = load_settings(
        node_address=address,
        redis_url="redis://:password@r:6379/0" if address else None,
        api_key="k",
        api_secret=SECRET,
    )
    assert settings.node_path == path
    assert "password" not in repr(settings)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.5.5.5", "::1", "[::1]"])
def test_loopback(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["", "0.0.0.0", "::", "localhost.example.org", "10.0.0.1"])
def test_not_loopback(host: str) -> None:
    assert not is_loopback(host)


def test_example_file_lists_every_setting() -> None:
    lines = EXAMPLE.read_text().splitlines()
    listed = {line.lstrip("# ").partition("=")[0] for line in lines if line.lstrip("# ").startswith("VISAVIS_")}
    assert listed == {f"VISAVIS_{name.upper()}" for name in Settings.model_fields}


def test_serve_without_key_exits_with_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", "--host", "0.0.0.0"]) == 2
    assert "VISAVIS_API_KEY" in capsys.readouterr().err


def test_token_command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["token", "--room", "r"]) == 2
    monkeypatch.setenv("VISAVIS_API_KEY", "k")
    monkeypatch.setenv("VISAVIS_API_SECRET", SECRET)
    capsys.readouterr()
    assert main(["token", "--room", "r"]) == 0
    assert capsys.readouterr().out.count(".") == 2
    assert main(["token", "--room", "no such room!"]) == 2
