"""Pools that a few could drain, and candidates that would make the server speak to others."""

from __future__ import annotations

import pytest

from server.signalling.candidates import MAX_CANDIDATES, usable_address, with_usable_candidates
from server.signalling.offer import parse_offer
from tests.server.signalling import JPEG, Call, offer, peer_connection, running_call

SDP = {"Content-Type": "application/sdp"}


async def publisher(call: Call, identity: str, room: str = "lobby") -> str:
    """A WHIP publisher's participant."""
    peer = peer_connection()
    peer.addTransceiver("video", direction="sendonly")
    headers = call.bearer(room, identity=identity) | SDP
    answer = await call.client.post(f"/whip/{room}", data=await offer(peer), headers=headers)
    assert answer.status == 201
    await peer.close()
    return answer.headers["Location"].rsplit("/", 1)[1]


async def watch(call: Call, participant: str, identity: str, room: str = "lobby") -> tuple[int, str]:
    """Status and code of one more WHEP viewer."""
    peer = peer_connection()
    peer.addTransceiver("video", direction="recvonly")
    headers = call.bearer(room, identity=identity) | SDP
    answer = await call.client.post(f"/whep/{room}/{participant}", data=await offer(peer), headers=headers)
    await peer.close()
    return answer.status, "" if answer.status == 201 else (await answer.json())["code"]


@pytest.mark.asyncio
async def test_whep_viewers_are_bounded_for_one_identity_and_one_room() -> None:
    async with running_call(
        max_whep_viewers=6, max_whep_viewers_per_room=4, max_whep_viewers_per_identity=2, connect_seconds=60.0
    ) as call:
        one, two = await publisher(call, "a"), await publisher(call, "b", "other")
        assert [await watch(call, one, "eve") for _ in range(3)] == [(201, ""), (201, ""), (503, "capacity")]
        assert [await watch(call, one, name) for name in ("x", "y", "z")] == [(201, ""), (201, ""), (503, "capacity")]
        assert [await watch(call, two, name, "other") for name in ("p", "q", "r")] == [
            *((201, ""), (201, "")),
            (503, "capacity"),
        ], "six in all"


@pytest.mark.asyncio
async def test_source_images_are_bounded_for_one_identity_and_one_room() -> None:
    async with running_call(max_sources_per_identity=3, max_sources_per_room=5, max_sources=4) as call:

        async def put(identity: str, participant: str, index: int) -> int:
            headers = call.bearer(identity=identity) | {"Content-Type": "image/jpeg"}
            path = f"/rooms/lobby/participants/{participant}/source?index={index}"
            answer = await call.client.put(path, data=JPEG + f"{identity}{index}".encode(), headers=headers)
            return answer.status

        participants = {}
        for name, identity in (("one", "eve"), ("two", "eve"), ("bob", "bob")):
            _, answer = await call.join(name, identity=identity)
            participants[name] = answer["participant"]
        assert [await put("eve", participants["one"], index) for index in range(2)] == [201, 201]
        assert [await put("eve", participants["two"], index) for index in range(2)] == [201, 503]
        assert await put("eve", participants["one"], 0) == 201, "in place of another"
        assert [await put("bob", participants["bob"], index) for index in range(3)] == [201, 201, 503]


@pytest.mark.parametrize(
    "address",
    [
        *("0.0.0.0", "::", "255.255.255.255", "224.0.0.1", "239.1.2.3", "ff02::1", "240.0.0.1", "::ffff:224.0.0.1"),
        *("localhost", "metadata.internal", "0f-1a.local", "127.1", "", "1.2.3.4.5"),
    ],
)
def test_addresses_that_are_never_tried(address: str) -> None:
    assert not usable_address(address, private=True)


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "::1", "fe80::1", "fd00::1"),
        *("::ffff:10.0.0.1", "100.64.0.1"),
    ],
)
def test_private_addresses_count_only_on_a_local_network(address: str) -> None:
    assert not usable_address(address, private=False) or address == "100.64.0.1"
    assert usable_address(address, private=True)


@pytest.mark.parametrize("address", ["8.8.8.8", "2001:4860:4860::8888", "::ffff:8.8.8.8"])
def test_public_addresses_count_everywhere(address: str) -> None:
    assert usable_address(address, private=False)


def test_at_most_sixteen_candidates_are_tried() -> None:
    lines = [f"a=candidate:{n} 1 udp 1 8.8.8.{n} {5000 + n} typ host" for n in range(1, 60)]
    kept = with_usable_candidates("\r\n".join(["v=0", *lines, "a=end-of-candidates"]), private=False).splitlines()
    assert kept == ["v=0", *lines[:MAX_CANDIDATES]]


@pytest.mark.asyncio
async def test_an_offer_keeps_the_candidates_that_may_be_tried() -> None:
    peer = peer_connection()
    peer.createDataChannel("motion")
    sdp = await offer(peer)
    await peer.close()
    bad = ("0.0.0.0", "224.0.0.1", "255.255.255.255", "evil.example", "8.8.8.8")
    added = "".join(f"a=candidate:9 1 udp 1 {address} 5000 typ host\r\n" for address in bad)
    sdp = sdp.replace("a=end-of-candidates", f"{added}a=end-of-candidates")
    kept = parse_offer(sdp, private_candidates=False).sdp
    assert [line.split()[4] for line in kept.splitlines() if line.startswith("a=candidate")] == ["8.8.8.8"]
    assert "end-of-candidates" not in kept
