"""Signalling through the relay: as it came, but for the candidates of session descriptions."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp
import pytest
from aiohttp import WSMsgType, web

from server.benchmark.relay.signalling_proxy import SignallingProxy, with_candidate

RELAY = ("192.0.2.7", 4000)
SDP = "\r\n".join(
    [
        "v=0",
        "m=audio 9 UDP/TLS/RTP/SAVPF 96",
        "a=candidate:1 1 udp 2130706431 10.0.0.1 1000 typ host",
        "a=candidate:2 1 udp 2130706430 fd00::1 1001 typ host",
        "a=end-of-candidates",
        "m=video 9 UDP/TLS/RTP/SAVPF 97",
        "a=candidate:1 1 udp 2130706431 10.0.0.1 1000 typ host",
        "a=end-of-candidates",
        "m=application 9 UDP/DTLS/SCTP webrtc-datachannel",
        "a=mid:2",
        "",
    ]
)
OWN = "a=candidate:1 1 udp 2130706431 192.0.2.7 4000 typ host"
PATIENCE = 30.0


def test_an_answer_names_the_relay_alone() -> None:
    lines = with_candidate(SDP, RELAY).split("\r\n")
    assert [line for line in lines if line.startswith("a=candidate")] == [OWN, OWN]
    assert lines.count("a=end-of-candidates") == 2
    assert lines[-3:] == ["m=application 9 UDP/DTLS/SCTP webrtc-datachannel", "a=mid:2", ""]


def test_an_offer_names_nobody_and_does_not_say_that_this_is_all() -> None:
    text = with_candidate(SDP, None)
    assert "candidate" not in text
    assert text.count("m=") == 3


async def _echo(request: web.Request) -> web.StreamResponse:
    if request.path != "/ws":
        return web.json_response(
            {"path": request.path_qs, "token": request.headers.get("Authorization"), "size": len(await request.read())},
            status=201,
        )
    socket = web.WebSocketResponse(autoping=False)
    await socket.prepare(request)
    async for message in socket:
        if message.type is WSMsgType.PING:
            await socket.send_str("a ping came")
        elif message.data == "close":
            await socket.close(code=4001)
        else:
            await socket.send_str(message.data)
    return socket


async def _through_proxy(use: Any) -> None:
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", _echo)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    proxy = SignallingProxy(f"http://127.0.0.1:{runner.addresses[0][1]}", RELAY)
    try:
        address = f"http://127.0.0.1:{await proxy.open()}"
        async with asyncio.timeout(PATIENCE), aiohttp.ClientSession() as http:
            await use(http, address)
    finally:
        await proxy.close()
        await proxy.close()
        await runner.cleanup()


def test_requests_and_their_bodies_pass() -> None:
    async def use(http: aiohttp.ClientSession, address: str) -> None:
        headers = {"Authorization": "Bearer x"}
        async with http.put(f"{address}/a/b?index=1", data=bytes(300_000), headers=headers) as answer:
            assert answer.status == 201
            assert await answer.json() == {"path": "/a/b?index=1", "token": "Bearer x", "size": 300_000}

    asyncio.run(_through_proxy(use))


def test_messages_pass_with_other_candidates_and_pings_are_the_servers_to_answer() -> None:
    async def use(http: aiohttp.ClientSession, address: str) -> None:
        async with http.ws_connect(f"{address}/ws", autoping=False) as socket:
            await socket.send_str("no JSON")
            assert await socket.receive_str() == "no JSON"
            # Towards the server all candidates go; on the way back none is there to be replaced.
            await socket.send_json({"type": "publish", "id": 1, "sdp": SDP})
            assert "candidate" not in (await socket.receive_json())["sdp"]
            await socket.ping(b"x")
            assert await socket.receive_str() == "a ping came"
            await socket.send_str("close")
            assert (await socket.receive()).data == 4001

    asyncio.run(_through_proxy(use))


def test_a_server_that_is_not_there_is_said() -> None:
    async def use() -> None:
        proxy = SignallingProxy("http://127.0.0.1:1", RELAY)
        try:
            address = f"http://127.0.0.1:{await proxy.open()}"
            async with asyncio.timeout(PATIENCE), aiohttp.ClientSession() as http:
                async with http.get(address) as answer:
                    assert answer.status == 502
                with pytest.raises(aiohttp.WSServerHandshakeError, match="502"):
                    await http.ws_connect(f"{address}/ws")
        finally:
            await proxy.close()

    asyncio.run(use())
