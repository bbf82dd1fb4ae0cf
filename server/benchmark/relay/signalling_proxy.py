"""HTTP and WebSocket between a client and the server; of session descriptions only the relay's candidate is left.

Clients and server then know no other way to each other than the relay, whatever addresses the machine has. The server
learns the relay's ports from the checks that come from there (peer-reflexive candidates, RFC 8445 section 7.3.1.3).
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable

import aiohttp
from aiohttp import WSMsgType, web

from server.benchmark.network.datagrams import Address

MAX_BODY = 16 * 1024 * 1024

_OF_THE_CONNECTION = {"connection", "content-length", "host", "keep-alive", "transfer-encoding", "upgrade"}
"""Headers that are not handed on (RFC 9110, section 7.6.1)."""

_PRIORITY = 2_130_706_431
"""Of the best host candidate (RFC 8445, section 5.1.2)."""

WebSocket = web.WebSocketResponse | aiohttp.ClientWebSocketResponse


def with_candidate(sdp: str, address: Address | None) -> str:
    """The session description with this host candidate alone, in each section that had any; None: without any.

    A list without candidates does not say that it is complete: more are learnt from checks.
    """
    kept: list[str] = []
    named = False  # in this section
    for line in sdp.splitlines():
        if line.startswith("m="):
            named = False
        if line.startswith("a=candidate:"):
            if address is not None and not named:
                kept.append(f"a=candidate:1 1 udp {_PRIORITY} {address[0]} {address[1]} typ host")
                named = True
        elif line != "a=end-of-candidates" or address is not None:
            kept.append(line)
    return "\r\n".join(kept) + "\r\n"


class SignallingProxy:
    """In front of the server for one client. `open`, and `close` at the end."""

    def __init__(self, server: str, relay: Address) -> None:
        """`server`: its address, http://...; `relay`: where the client's media go."""
        self._server = server
        self._relay = relay
        self._runner: web.AppRunner | None = None
        self._http: aiohttp.ClientSession | None = None

    async def open(self) -> int:
        """The port of 127.0.0.1 on which it listens."""
        application = web.Application(client_max_size=MAX_BODY)
        application.router.add_route("*", "/{path:.*}", self._handle)
        self._http = aiohttp.ClientSession(auto_decompress=False)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=1.0)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        return int(self._runner.addresses[0][1])

    async def close(self) -> None:
        """End every connection; idempotent."""
        if self._http is not None:
            await self._http.close()  # sockets of clients end with those to the server
        if self._runner is not None:
            await self._runner.cleanup()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        assert self._http is not None
        address = self._server + request.raw_path
        if request.headers.get("Upgrade", "").lower() == "websocket":
            return await self._bridge(self._http, request, address)
        headers = {name: value for name, value in request.headers.items() if name.lower() not in _OF_THE_CONNECTION}
        try:
            async with self._http.request(
                request.method, address, headers=headers, data=await request.read(), allow_redirects=False
            ) as answer:
                kept = {name: value for name, value in answer.headers.items() if name.lower() not in _OF_THE_CONNECTION}
                return web.Response(status=answer.status, body=await answer.read(), headers=kept)
        except aiohttp.ClientError:
            return web.Response(status=502)

    async def _bridge(self, http: aiohttp.ClientSession, request: web.Request, address: str) -> web.StreamResponse:
        # Pings are between client and server: answered here they would say that a line is whole which is cut.
        near = web.WebSocketResponse(autoping=False, autoclose=False, max_msg_size=MAX_BODY)
        try:
            far = await http.ws_connect(address, autoping=False, autoclose=False, max_msg_size=MAX_BODY)
        except aiohttp.WSServerHandshakeError as error:
            return web.Response(status=error.status)
        except aiohttp.ClientError:
            return web.Response(status=502)
        async with far:
            await near.prepare(request)
            ways = (
                asyncio.create_task(_carry(near, far, lambda text: _rewritten(text, None))),
                asyncio.create_task(_carry(far, near, lambda text: _rewritten(text, self._relay))),
            )
            try:
                await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for way in ways:
                    way.cancel()
                await asyncio.gather(*ways, return_exceptions=True)
        return near


def _rewritten(text: str, address: Address | None) -> str:
    """A message with the candidates of its session description replaced; others as they are."""
    try:
        message = json.loads(text)
    except ValueError:
        return text
    if not isinstance(message, dict) or not isinstance(message.get("sdp"), str):
        return text
    return json.dumps(message | {"sdp": with_candidate(message["sdp"], address)})


async def _carry(source: WebSocket, sink: WebSocket, rewrite: Callable[[str], str]) -> None:
    """Hand on until one side closes; then the other one is closed with the same code."""
    try:
        while True:
            frame = await source.receive()
            if frame.type is WSMsgType.TEXT:
                await sink.send_str(rewrite(frame.data))
            elif frame.type is WSMsgType.BINARY:
                await sink.send_bytes(frame.data)
            elif frame.type is WSMsgType.PING:
                await sink.ping(frame.data)
            elif frame.type is WSMsgType.PONG:
                await sink.pong(frame.data)
            else:
                break
    except (aiohttp.ClientError, OSError):
        pass
    await sink.close(code=source.close_code or aiohttp.WSCloseCode.ABNORMAL_CLOSURE)
