"""Behind `https://host/visavis/`: a proxy that strips the prefix; page, WebSocket, WHIP and WHEP work through it."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urljoin

import aiohttp
import pytest
from aiohttp import WSMsgType, web
from aiohttp.test_utils import TestServer

from tests.server.signalling import Call, Peer, offer, peer_connection, running_call

PREFIX = "/visavis"
PER_HOP = {"connection", "content-length", "transfer-encoding", "host", "content-encoding", "keep-alive", "upgrade"}


@asynccontextmanager
async def behind_a_prefix(call: Call) -> AsyncIterator[str]:
    """Address of the proxied page; the proxy tells the server nothing of the prefix."""
    async with aiohttp.ClientSession(auto_decompress=False) as inner:

        async def forward(request: web.Request) -> web.StreamResponse:
            target = call.client.make_url("/" + request.match_info["rest"]).with_query(request.query)
            headers = {k: v for k, v in request.headers.items() if k.lower() not in PER_HOP}
            if "upgrade" in request.headers.get("Connection", "").lower():
                return await _forward_socket(request, inner, str(target))
            async with inner.request(
                request.method, target, headers=headers, data=await request.read(), allow_redirects=False
            ) as got:
                kept = {k: v for k, v in got.headers.items() if k.lower() not in PER_HOP}
                return web.Response(status=got.status, body=await got.read(), headers=kept)

        application = web.Application()
        application.router.add_route("*", PREFIX + "/{rest:.*}", forward)
        async with TestServer(application) as proxy:
            yield str(proxy.make_url(PREFIX + "/"))


async def _forward_socket(request: web.Request, inner: aiohttp.ClientSession, target: str) -> web.StreamResponse:
    outside = web.WebSocketResponse()
    await outside.prepare(request)
    async with inner.ws_connect(target) as inside:

        async def outwards() -> None:
            async for message in inside:
                if message.type is WSMsgType.TEXT:
                    await outside.send_str(message.data)
            await outside.close()

        task = asyncio.create_task(outwards())
        async for message in outside:
            if message.type is WSMsgType.TEXT:
                await inside.send_str(message.data)
        await inside.close()
        await task
    return outside


@pytest.mark.asyncio
async def test_everything_works_below_a_prefix() -> None:
    async with running_call() as call, behind_a_prefix(call) as page, aiohttp.ClientSession() as http:
        async with http.get(page) as answer:
            html = await answer.text()
        addresses = re.findall(r'(?:href|src)="([^"]+)"', html)
        assert any(address.endswith("main.js") for address in addresses)
        for address in addresses:
            async with http.get(urljoin(page, address)) as answer:
                assert answer.status == 200, address
        async with http.get(urljoin(page, "client/main.js")) as answer:
            script = await answer.text()
        assert not re.search(r"fetch\([\"'`]/", script), "an address from the root leaves the prefix"
        async with http.get(urljoin(page, "api/config")) as answer:
            token = (await answer.json())["token"]

        peer = Peer(await http.ws_connect(urljoin(page, "ws"), params={"token": token}))
        assert (await peer.request("join", room="lobby", name="Ada"))["type"] == "ok"
        await peer.socket.close()

        headers = call.bearer(identity="obs") | {"Content-Type": "application/sdp"}
        publisher, player = peer_connection(), peer_connection()
        publisher.addTransceiver("video", direction="sendonly")
        player.addTransceiver("video", direction="recvonly")
        whip = urljoin(page, "whip/lobby")
        async with http.post(whip, data=await offer(publisher), headers=headers) as answer:
            assert answer.status == 201
            session = urljoin(whip, answer.headers["Location"])
        assert session.startswith(page)
        whep = urljoin(page, f"whep/lobby/{session.rsplit('/', 1)[1]}")
        async with http.post(whep, data=await offer(player), headers=headers) as answer:
            assert answer.status == 201
            watching = urljoin(whep, answer.headers["Location"])
        for location in (watching, session):
            async with http.delete(location, headers=headers) as answer:
                assert answer.status == 200, location
        await publisher.close()
        await player.close()
