"""What the loss of a connection means for the next one, for the sender and for the viewer alike."""

from __future__ import annotations

from typing import Any

import pytest

from server.sender.connection.loss import Membership, why_closed, why_lost
from server.sender.connection.reconnect import Why
from server.sender.connection.signalling import ConnectionLostError, RefusedError

NODE = "https://calls.example.org/nodes/b"


class Tokens:
    """Says whether it has others, and how many were forgotten."""

    def __init__(self, renewable: bool = False) -> None:
        self.renewable = renewable
        self.forgotten = 0

    def forget(self) -> None:
        self.forgotten += 1


def member(**known: str) -> Membership:
    return Membership("lobby", "Ada", **known)


def lost(error: RefusedError | ConnectionLostError, membership: Membership, *, live: bool = False) -> Why:
    return why_lost(error, membership, Tokens(), live=live)


@pytest.mark.parametrize(
    ("node", "live", "why"),
    [
        (None, False, "failed"),
        (None, True, "failed"),
        (NODE, False, "placing"),  # it may be dead, and the others are about to take its rooms
        (NODE, True, "failed"),  # a call that broke off: back at once, and its server knows where
    ],
)
def test_who_gets_no_answer_asks_the_server_that_it_was_given(node: str | None, live: bool, why: str) -> None:
    membership = member(**({} if node is None else {"node": node}), resume="r")
    assert lost(ConnectionLostError("no answer"), membership, live=live) == why
    assert (membership.node, membership.resume) == (None, "r")


@pytest.mark.parametrize(
    ("code", "why"),
    [
        *(("starting", "starting"), ("nodes_unavailable", "placing"), ("draining", "placing")),
        *(("capacity", "failed"), ("internal", "failed"), ("whatever comes later", "failed")),
    ],
)
def test_what_will_pass_is_waited_for(code: str, why: str) -> None:
    membership = member(node=NODE)
    assert lost(RefusedError(code, "not now", request="join"), membership) == why
    assert membership.node is None


def test_who_is_sent_to_another_node_asks_there_next() -> None:
    membership = member()
    assert lost(RefusedError("moved", "the room is there", NODE, "join"), membership) == "moved"
    assert membership.node == NODE


@pytest.mark.parametrize(
    ("message", "code", "address", "permanent"),
    [
        ({"reason": "moved", "address": NODE}, "moved", NODE, False),
        ({"reason": "moved", "address": 7}, "moved", None, False),
        ({"reason": "removed"}, "removed", None, True),
        ({"reason": "room_closed"}, "room_closed", None, True),
    ],
)
def test_what_the_server_says_as_it_closes_is_a_refusal(
    message: dict[str, Any], code: str, address: str | None, permanent: bool
) -> None:
    refused = why_closed({"type": "closed", **message})
    assert refused is not None
    assert (refused.code, refused.address, refused.permanent) == (code, address, permanent)


@pytest.mark.parametrize("reason", ["shutdown", "silent", "slow", "replaced", None, ["moved"]])
def test_after_any_other_closing_one_comes_back_as_who_one_was(reason: object) -> None:
    assert why_closed({"type": "closed", "reason": reason}) is None


@pytest.mark.parametrize("code", ["removed", "room_closed", "protocol", "sdp", "weights", "unauthorized", "forbidden"])
def test_what_another_attempt_cannot_cure_is_raised(code: str) -> None:
    with pytest.raises(RefusedError):
        lost(RefusedError(code, "no", request="join"), member())


def test_a_resume_token_that_is_refused_is_forgotten_and_the_room_joined_anew() -> None:
    membership = member(resume="old", participant="p")
    assert lost(RefusedError("forbidden", "no", request="join"), membership) == "failed"
    assert membership.resume is None
    with pytest.raises(RefusedError):
        lost(RefusedError("forbidden", "no", request="join"), membership)


@pytest.mark.parametrize("request_kind", ["publish", "subscribe"])
def test_what_the_token_does_not_permit_in_the_room_is_no_matter_of_joining_anew(request_kind: str) -> None:
    membership = member(resume="good", participant="p")
    with pytest.raises(RefusedError):
        lost(RefusedError("forbidden", "no", request=request_kind), membership)


def test_a_token_that_ran_out_is_renewed_where_others_can_be_had_and_it_was_good_before() -> None:
    refused = RefusedError("unauthorized", "the server refuses the token")
    tokens, membership = Tokens(renewable=True), member(resume="r", participant="p")
    assert why_lost(refused, membership, tokens, live=False) == "failed"
    assert (tokens.forgotten, membership.resume) == (1, None)
    for others, known in ((Tokens(renewable=True), member()), (Tokens(), member(participant="p"))):
        with pytest.raises(RefusedError):
            why_lost(refused, known, others, live=False)
        assert others.forgotten == 0
