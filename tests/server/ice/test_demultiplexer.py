"""Which connection a datagram belongs to: fragments, transactions, addresses, bounds; garbage leaves nothing."""

from __future__ import annotations

import random

import pytest
from aioice import stun

from server.ice.demultiplexer import MAX_ADDRESSES, MAX_ATTRIBUTES, Delivery, Demultiplexer, username_fragment

ADA, BOB = ("192.0.2.1", 1000), ("2001:db8::1", 2000)
HERE, THERE = b"\x0a\0\0\1", b"\x0a\0\0\2"
DTLS, RTP = b"\x16\xfe\xfd", b"\x80\x60" + bytes(10)


def request(username: str = "ada:peer", **attributes: object) -> bytes:
    message = stun.Message(stun.Method.BINDING, stun.Class.REQUEST)
    message.attributes = {"USERNAME": username, "PRIORITY": 1, **attributes}
    message.add_message_integrity(b"password")
    return bytes(message)


def response(transaction: bytes, kind: stun.Class = stun.Class.RESPONSE) -> bytes:
    return bytes(stun.Message(stun.Method.BINDING, kind, transaction_id=transaction))


def two() -> Demultiplexer[str]:
    table: Demultiplexer[str] = Demultiplexer()
    table.add("ada", "ada")
    table.add("bob", "bob")
    return table


def test_a_request_goes_by_its_fragment_wherever_it_comes_from() -> None:
    table = two()
    assert table.route(request("ada:x"), BOB) == Delivery("ada", "request")
    assert table.route(request("bob:x"), BOB) == Delivery("bob", "request")
    assert table.route(request("ad:x"), BOB) is None
    assert table.route(request("ada"), BOB) is None, "without a colon there is no fragment"
    assert (table.counters.unknown, table.counters.malformed) == (1, 1)


def test_data_goes_by_an_address_that_was_authenticated() -> None:
    table = two()
    assert table.route(RTP, ADA) is None
    table.learn("ada", ADA, HERE)
    table.learn("bob", BOB, HERE)
    for data in (DTLS, RTP):
        assert table.route(data, ADA) == Delivery("ada", "data")
        assert table.route(data, BOB) == Delivery("bob", "data")
    assert table.counters.unknown == 1


def test_answers_leave_from_the_address_that_the_peer_sends_to() -> None:
    table = two()
    table.learn("ada", ADA, HERE)
    assert table.local_for("ada", ADA) == HERE
    table.route(RTP, ADA, THERE)
    assert table.local_for("ada", ADA) == THERE
    assert table.local_for("bob", ADA) is None


def test_a_peer_whose_address_changes_is_found_under_both() -> None:
    table = two()
    table.learn("ada", ADA)
    table.learn("ada", BOB)
    assert table.route(RTP, ADA) == table.route(RTP, BOB) == Delivery("ada", "data")


def test_an_address_changes_hands_only_by_an_answer_from_there() -> None:
    table = two()
    table.learn("ada", ADA, HERE)
    table.learn("bob", ADA, THERE)
    assert table.route(RTP, ADA) == Delivery("ada", "data"), "a source address can be forged"
    table.learn("bob", ADA, proven=True)
    assert table.route(RTP, ADA) == Delivery("bob", "data")
    table.remove("ada")
    assert table.route(RTP, ADA) == Delivery("bob", "data"), "the earlier owner takes nothing along"


def test_a_response_goes_to_whoever_asked_and_nowhere_afterwards() -> None:
    table = two()
    transaction = b"123456789012"
    table.expect("bob", transaction)
    assert table.route(response(transaction), ADA) == Delivery("bob", "response")
    assert table.route(response(transaction, stun.Class.ERROR), ADA) == Delivery("bob", "response")
    table.forget("bob", transaction)
    assert table.route(response(transaction), ADA) is None


def test_a_connection_that_is_removed_leaves_nothing() -> None:
    table = two()
    for owner, address in (("ada", ADA), ("bob", BOB)):
        table.learn(owner, address)
        table.expect(owner, owner.encode().ljust(12))
        table.remove(owner)
        table.remove(owner)
        table.learn(owner, address)  # what comes late changes nothing
        table.expect(owner, bytes(12))
        table.forget(owner, bytes(12))
    assert (len(table), table.entries) == (0, 0)


def test_fragments_are_unique() -> None:
    table = two()
    with pytest.raises(ValueError, match="taken"):
        table.add("other", "ada")


def test_addresses_of_one_connection_are_bounded() -> None:
    table = two()
    for port in range(1, 10 * MAX_ADDRESSES):
        if table.route(request(), ("192.0.2.1", port)) is not None:
            table.learn("ada", ("192.0.2.1", port))
    assert table.entries == 2 + MAX_ADDRESSES
    assert table.counters.refused == 9 * MAX_ADDRESSES - 1
    assert table.route(request(), ("192.0.2.1", 1)) is not None, "known addresses stay"


def test_garbage_changes_nothing_but_counters() -> None:
    table = two()
    table.learn("ada", ADA, HERE)
    entries = table.entries
    dice = random.Random(5)
    whole = request()
    routed = 0
    for number in range(20_000):
        match number % 3:
            case 0:
                datagram = dice.randbytes(dice.randrange(64))
            case 1:
                datagram = whole[: dice.randrange(len(whole))]
            case _:
                place = dice.randrange(len(whole))
                datagram = whole[:place] + dice.randbytes(1) + whole[place + 1 :]
        routed += table.route(datagram, ("198.51.100.1", dice.randrange(1, 65_536))) is not None
    dropped = table.counters
    assert table.entries == entries
    assert routed + dropped.malformed + dropped.unknown == 20_000
    assert dropped.malformed > 1000
    assert dropped.unknown > 1000


def test_the_search_for_the_user_name_ends() -> None:
    empty = bytes(4) * 300
    header = b"\0\1" + (len(empty)).to_bytes(2, "big") + b"\x21\x12\xa4\x42" + bytes(12)
    assert username_fragment(header + empty) is None
    name = b"\0\6\0\4ab:c"
    late = bytes(4) * MAX_ATTRIBUTES + name
    assert username_fragment(b"\0\1" + len(late).to_bytes(2, "big") + header[4:20] + late) is None
    assert username_fragment(b"\0\1\0\x08" + header[4:20] + name) == b"ab"
    assert username_fragment(b"\0\1\0\x08" + header[4:20] + b"\0\6\xff\xffab:c") == b"ab", "never beyond the datagram"
