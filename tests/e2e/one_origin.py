"""Several nodes behind one origin, as an Ingress shows them: `/nodes/NAME` is one of them, the rest is any."""

from __future__ import annotations

import asyncio

import aiohttp
from aiohttp import web

from tests.e2e.threaded_server import ThreadedServer

OF_THE_CONNECTION = {"connection", "content-encoding", "content-length", "host", "transfer-encoding", "upgrade"}
"""Headers that are not handed on (RFC 9110, section 7.6.1)."""


class OneOrigin(ThreadedServer):
    """A reverse proxy. `entry` is the node asked where none is named."""

    def __init__(self) -> None:
        super().__init__("one origin")
        self.ports: dict[str, int] = {}
        self.entry = ""
        self._open: dict[str, set[web.WebSocketResponse]] = {}

    @property
    def url(self) -> str:
        return f"http://localhost:{self.port}"

    def cut(self, name: str) -> None:
        """From now on that node is not reached, and what was open to it broke."""
        del self.ports[name]

        async def abort() -> None:
            for socket in self._open.pop(name, set()):
                await socket.close(code=aiohttp.WSCloseCode.ABNORMAL_CLOSURE)

        self.run(abort())

    async def _start(self, port: int) -> int:
        application = web.Application()
        application.router.add_route("*", "/{path:.*}", self._handle)
        self._http = aiohttp.ClientSession(auto_decompress=False)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=2.0)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", port).start()
        return int(self._runner.addresses[0][1])

    async def _stop(self) -> None:
        await self._runner.cleanup()
        await self._http.close()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        name = request.path.split("/")[2] if request.path.startswith("/nodes/") else self.entry
        if name not in self.ports:
            return web.Response(status=502)
        url = f"http://127.0.0.1:{self.ports[name]}{request.raw_path}"
        if request.headers.get("Upgrade", "").lower() == "websocket":
            return await self._bridge(request, name, url)
        headers = {key: value for key, value in request.headers.items() if key.lower() not in OF_THE_CONNECTION}
        # The server looks at the name by which it is asked.
        headers["Host"] = request.host
        async with self._http.request(
            request.method, url, headers=headers, data=await request.read(), allow_redirects=False
        ) as answer:
            kept = [(key, value) for key, value in answer.headers.items() if key.lower() not in OF_THE_CONNECTION]
            return web.Response(status=answer.status, body=await answer.read(), headers=dict(kept))

    async def _bridge(self, request: web.Request, name: str, url: str) -> web.WebSocketResponse:
        near = web.WebSocketResponse()
        async with self._http.ws_connect(url) as far:
            await near.prepare(request)
            self._open.setdefault(name, set()).add(near)
            back = asyncio.create_task(self._carry(far, near))
            await self._carry(near, far)
            await back
        return near

    @staticmethod
    async def _carry(
        source: web.WebSocketResponse | aiohttp.ClientWebSocketResponse,
        sink: web.WebSocketResponse | aiohttp.ClientWebSocketResponse,
    ) -> None:
        async for message in source:
            await sink.send_str(message.data)
        await sink.close(code=source.close_code or aiohttp.WSCloseCode.ABNORMAL_CLOSURE)
