"""Resume tokens: what they say, who takes them, and what does not pass for one."""

from __future__ import annotations

import pytest

from server.auth import Authority
from server.signalling.participant import Participant
from server.signalling.resumption import MAX_RESUME_CHARACTERS, MAX_SOURCES, Resume, ResumeTokens
from tests.server.fakes import FakeClock

SECRET = "0123456789abcdef0123456789abcdef"


def tokens(clock: FakeClock, secret: str = SECRET, key: str = "key") -> ResumeTokens:
    return ResumeTokens(Authority(key, secret, clock), 185.0)


def ada() -> Participant:
    return Participant("id1", "lobby", "ada", "Ada", "page", publication=2, sources={0: "a" * 64, 3: "b" * 64})


def test_every_server_with_the_key_reads_what_one_issued() -> None:
    clock = FakeClock()
    text = tokens(clock).issue(ada())
    assert tokens(clock).read(text) == Resume("id1", "lobby", "ada", "Ada", 2, {0: "a" * 64, 3: "b" * 64})


def test_a_token_that_has_expired_says_so() -> None:
    clock = FakeClock()
    text = tokens(clock).issue(ada())
    clock.now += 185.0
    assert tokens(clock).read(text) is not None
    clock.now += 1.0
    late = tokens(clock).read(text)
    assert late is not None
    assert not late.in_time


def test_what_is_of_another_key_or_purpose_is_none() -> None:
    clock = FakeClock()
    text = tokens(clock).issue(ada())
    assert tokens(clock, secret="x" * 32).read(text) is None
    assert tokens(clock, key="other").read(text) is None
    assert tokens(clock).read(Authority("key", SECRET, clock).mint("lobby", "ada")) is None
    with pytest.raises(Exception, match="another key"):
        Authority("key", SECRET, clock).verify(text)


@pytest.mark.parametrize("text", [None, "", "x", "a.b.c", "\u0000", "\ud800", "x" * (MAX_RESUME_CHARACTERS + 1)])
def test_what_is_malformed_is_none(text: str | None) -> None:
    assert tokens(FakeClock()).read(text) is None


def test_a_token_is_short_enough_to_be_sent_whatever_a_participant_has() -> None:
    much = ada()
    much.name, much.identity, much.sources = "\U0001f600" * 64, "\u00e4" * 128, dict.fromkeys(range(256), "a" * 64)
    text = tokens(FakeClock()).issue(much)
    assert len(text) <= MAX_RESUME_CHARACTERS
    read = tokens(FakeClock()).read(text)
    assert read is not None
    assert len(read.sources) == MAX_SOURCES
