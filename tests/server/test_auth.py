"""Tokens: what is minted verifies, and everything else is refused with its reason."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.auth import Authority, Claims
from server.errors import ForbiddenError, UnauthorizedError
from server.settings import Settings, load_settings
from server.turn import IceServers, turn_credentials

SECRET = "0123456789abcdef0123456789abcdef"
NOW = 1_800_000_000.0
AUTHORITY = Authority("key", SECRET, lambda: NOW)


def sign(payload: dict[str, object], secret: str = SECRET, algorithm: str = "HS256") -> str:
    return jwt.encode(payload, secret, algorithm=algorithm)


def good(**changes: object) -> dict[str, object]:
    return {"iss": "key", "sub": "ada", "exp": int(NOW) + 60, "video": {"room": "r", "roomJoin": True}} | changes


def test_minted_token_verifies() -> None:
    claims = AUTHORITY.verify(AUTHORITY.mint("r", "ada", name="Ada", hours=1.0))
    assert (claims.sub, claims.name, claims.exp) == ("ada", "Ada", NOW + 3600)
    claims.may_join("r")
    claims.may_publish()
    claims.may_subscribe()


def test_identity_is_random_when_none_is_given() -> None:
    identities = {AUTHORITY.verify(AUTHORITY.mint("r")).sub for _ in range(10)}
    assert len(identities) == 10


@pytest.mark.parametrize(
    ("token", "words"),
    [
        ("", "a token is needed"),
        ("x", "malformed"),
        ("a.b.c", "malformed"),
        ("é" * 9, "malformed"),
        ("x" * 5000, "malformed"),
        (sign(good(exp=int(NOW) - 11)), "expired"),
        (sign(good(nbf=int(NOW) + 11)), "not valid yet"),
        (sign(good(iss="other")), "another key"),
        (sign(good(), "f" * 32), "another key"),
        (sign(good(sub="")), "malformed"),
        (sign(good(sub="x" * 129)), "malformed"),
        (sign({k: v for k, v in good().items() if k != "exp"}), "malformed"),
        (sign(good(video="all")), "malformed"),
        (sign(good(exp="soon")), "malformed"),
        (sign(good(), "f" * 64, "HS512"), "malformed"),
    ],
)
def test_refused_tokens(token: str, words: str) -> None:
    with pytest.raises(UnauthorizedError, match=words):
        AUTHORITY.verify(token)


def test_unsigned_token_is_refused() -> None:
    """The algorithm `none` (RFC 8725, section 2.1)."""
    parts = [base64.urlsafe_b64encode(json.dumps(p).encode()).rstrip(b"=").decode() for p in ({"alg": "none"}, good())]
    with pytest.raises(UnauthorizedError):
        AUTHORITY.verify(".".join(parts) + ".")


@given(st.text(max_size=200))
def test_any_text_is_refused_cleanly(text: str) -> None:
    with pytest.raises(UnauthorizedError):
        AUTHORITY.verify(text)


def test_clock_leeway() -> None:
    AUTHORITY.verify(sign(good(exp=int(NOW) - 5, nbf=int(NOW) + 5)))


def test_permissions() -> None:
    claims = AUTHORITY.verify(AUTHORITY.mint("r", publish=False, subscribe=False))
    for ask in (claims.may_publish, claims.may_subscribe, lambda: claims.may_join("other")):
        with pytest.raises(ForbiddenError):
            ask()
    no_join = Claims(sub="a", exp=0, iss="key")
    with pytest.raises(ForbiddenError):
        no_join.may_join("")


def test_development_key_is_another_each_time() -> None:
    first, second = (Authority.from_settings(Settings(), lambda: NOW) for _ in range(2))
    with pytest.raises(UnauthorizedError):
        second.verify(first.mint("r"))


def test_turn_credentials_are_coturns() -> None:
    username, password = turn_credentials("north", "ada:\n1", 1_800_003_600)
    assert username == "1800003600:ada1"
    digest = hmac.new(b"north", username.encode(), hashlib.sha1).digest()
    assert password == base64.b64encode(digest).decode()
    # The same by `printf 1800003600:ada1 | openssl dgst -sha1 -hmac north -binary | base64`.
    assert password == "+N0HwZglk9xuCAVv+detMSjKT04="


def test_ice_servers() -> None:
    assert IceServers.from_settings(Settings(), lambda: NOW).for_client("a") == []
    settings = load_settings(stun_urls="stun:s:1", turn_urls="turn:t:1", turn_secret="x", turn_hours=1.0)
    stun, turn = IceServers.from_settings(settings, lambda: NOW).for_client("a")
    assert stun == {"urls": ["stun:s:1"]}
    assert turn["urls"] == ["turn:t:1"]
    assert turn["username"] == "1800003600:a"
