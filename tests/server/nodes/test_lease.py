"""What a node has to say with each renewal of its lease, by example; time is the test's."""

from __future__ import annotations

from server.nodes.lease import (
    CLAIM_SECONDS,
    LEASE_SECONDS,
    MOST_CLAIMS,
    RENEW_SECONDS,
    Lease,
    LeaseState,
    Renewal,
    Renewed,
)

KNOWN = Renewed(known=True)


def renew(state: LeaseState, rooms: list[str], now: float, answer: Renewed = KNOWN) -> Renewal:
    renewal = state.renewal(rooms, now)
    state.renewed(renewal, answer, now)
    return renewal


def test_a_lease_is_renewed_often_enough_to_survive_one_failure() -> None:
    state = LeaseState()
    renew(state, [], 0.0)
    assert state.pause() == RENEW_SECONDS
    state.failed()
    assert state.away
    assert RENEW_SECONDS + state.pause() + RENEW_SECONDS <= LEASE_SECONDS


def test_rooms_are_claimed_when_they_open_and_then_now_and_again() -> None:
    state = LeaseState()
    assert renew(state, ["a"], 0.0).claims == ("a",)
    assert renew(state, ["a", "b"], 2.0).claims == ("b",)
    assert renew(state, ["a", "b"], 4.0).claims == ()
    assert renew(state, ["a", "b"], CLAIM_SECONDS).claims == ("a",)


def test_a_room_is_given_back_once_it_stayed_empty_from_one_renewal_to_the_next() -> None:
    state = LeaseState()
    renew(state, ["a"], 0.0)
    assert renew(state, [], 2.0).releases == ()
    assert renew(state, [], 4.0).releases == ("a",)
    assert renew(state, [], 6.0) == Renewal()


def test_a_room_that_somebody_is_about_to_enter_is_kept() -> None:
    state = LeaseState()
    renew(state, ["a"], 0.0)
    renew(state, [], 2.0)
    state.opened("a")
    assert renew(state, [], 4.0).releases == ()
    assert renew(state, ["a"], 6.0).releases == ()


def test_a_room_in_which_nobody_ever_arrived_is_given_back() -> None:
    state = LeaseState()
    state.opened("a")
    assert renew(state, [], 0.0).releases == ()
    assert renew(state, [], 2.0).releases == ("a",)


def test_what_redis_did_not_take_is_said_again() -> None:
    state = LeaseState()
    renew(state, ["a"], 0.0)
    renew(state, [], 2.0)
    state.bar("b", "eve")
    first = state.renewal(["b"], 4.0)
    state.failed()
    assert first == Renewal(("b",), ("a",), (("b", "eve"),))
    assert state.renewal(["b"], 5.0) == first


def test_a_lease_that_was_lost_has_all_rooms_claimed_at_once() -> None:
    state = LeaseState()
    renew(state, ["a", "b"], 0.0)
    renew(state, ["a", "b", "c"], 2.0, Renewed(known=False))
    assert state.pause() == 0.0
    assert set(renew(state, ["a", "b", "c"], 2.0).claims) == {"a", "b"}
    assert state.pause() == RENEW_SECONDS


def test_a_room_that_is_anothers_is_neither_claimed_nor_given_back() -> None:
    state = LeaseState()
    renew(state, ["a", "b"], 0.0, Renewed(known=True, elsewhere={"a": "http://other"}))
    state.moved("b")
    assert renew(state, [], CLAIM_SECONDS) == Renewal()


def test_many_rooms_are_claimed_in_several_renewals() -> None:
    state = LeaseState()
    rooms = [f"r{i}" for i in range(2 * MOST_CLAIMS + 1)]
    claimed: list[str] = []
    for _ in range(3):
        claimed += renew(state, rooms, 0.0).claims
    assert sorted(claimed) == sorted(rooms)
    assert state.pause() == RENEW_SECONDS


def test_who_was_removed_is_bounded() -> None:
    state = LeaseState()
    for number in range(2 * MOST_CLAIMS):
        state.bar("a", str(number))
    assert len(renew(state, [], 0.0).barred) == MOST_CLAIMS
    assert renew(state, [], 2.0).barred == ()


def test_load_is_what_is_promised_of_what_can_be_rendered() -> None:
    assert Lease("a", "http://a", views=3, capacity=4.0).load == 0.75
