"""Offers without an end: each costs a connection, and one token or address makes a bounded number of them."""

from __future__ import annotations

from typing import Any

import pytest

from server.quota import subscriber
from server.routes import pools
from tests.server.signalling import Call, offer, peer_connection, running_call

SDP = {"Content-Type": "application/sdp"}


@pytest.fixture(autouse=True)
def few_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pools, "OFFERS_AT_ONCE", 4)
    monkeypatch.setattr(pools, "OFFERS_AT_ONCE_PER_ADDRESS", 6)
    monkeypatch.setattr(pools, "TOKENS_AT_ONCE", 3)


async def camera() -> str:
    peer = peer_connection()
    peer.addTransceiver("video", direction="sendonly")
    sdp = await offer(peer)
    await peer.close()
    return sdp


async def post(call: Call, path: str, identity: str, sdp: str = "nonsense") -> int:
    headers = call.bearer(identity=identity) | SDP
    return (await call.client.post(path, data=sdp, headers=headers)).status


@pytest.mark.asyncio
async def test_whip_whep_and_websocket_offers_of_one_token_count_together() -> None:
    async with running_call(offers_per_minute=0.001) as call:
        peer, answer = await call.join("Eve", identity="eve")
        assert await post(call, "/whip/lobby", "eve") == 400
        assert await post(call, f"/whep/lobby/{answer['participant']}", "eve") == 404, "who publishes nothing"
        statuses: list[Any] = []
        for kind, fields in (("publish", {}), ("subscribe", {"participant": "nobody"}), ("publish", {})):
            statuses.append((await peer.request(kind, sdp="nonsense", **fields))["code"])
        assert statuses == ["sdp", "not_found", "too_many_requests"]
        assert await post(call, "/whip/lobby", "eve") == 429
        assert await post(call, f"/whep/lobby/{answer['participant']}", "eve") == 429
        assert await post(call, "/whip/lobby", "ada", await camera()) == 201, "others are not touched"
        assert (await peer.request("ping", t=1.0))["type"] == "ok"
        await peer.socket.close()


@pytest.mark.asyncio
@pytest.mark.parametrize(("proxies", "statuses"), [((), [400] * 6 + [429] * 2), (("127.0.0.1",), [400] * 8)])
async def test_many_tokens_of_one_address_share_its_offers_unless_it_is_a_proxy(
    proxies: tuple[str, ...], statuses: list[int]
) -> None:
    async with running_call(offers_per_minute_per_address=0.001, proxies=proxies) as call:
        assert [await post(call, "/whip/lobby", f"guest-{n}") for n in range(8)] == statuses


@pytest.mark.asyncio
async def test_without_a_token_nothing_is_counted() -> None:
    async with running_call(offers_per_minute_per_address=0.001, proxies=()) as call:
        for _ in range(10):
            assert (await call.client.post("/whip/lobby", data="nonsense", headers=SDP)).status == 401
        assert await post(call, "/whip/lobby", "ada") == 400


@pytest.mark.asyncio
async def test_one_invitation_is_no_source_of_identities_without_end() -> None:
    async with running_call(proxies=()) as call:
        made = await call.client.post(
            "/api/rooms/lobby/invitations", json={}, headers=call.bearer(identity="ada", invite=True)
        )
        invitation = (await made.json())["invitation"]
        statuses = [(await call.client.post("/api/tokens", json={"invitation": invitation})).status for _ in range(5)]
        assert statuses == [201] * 3 + [429] * 2


@pytest.mark.parametrize(
    ("address", "counted"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::ffff", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", ""),
        ("unix", "unix"),
    ],
)
def test_of_an_ipv6_address_the_subscriber_counts(address: str, counted: str) -> None:
    assert subscriber(address) == counted
