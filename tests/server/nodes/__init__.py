"""What the tests of many nodes share: a Redis of their own, and nodes of one process that share it."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest
import redis
from aiohttp.test_utils import TestClient, TestServer, unused_port

from server.app import build_app
from server.routes.parts import PARTS
from server.settings import Settings
from tests.server.signalling import Call, FakePublication, assert_released, resources

KEY: dict[str, Any] = {"api_key": "key", "api_secret": "0123456789abcdef0123456789abcdef"}

START_SECONDS = 20.0


class RedisServer:
    """A `redis-server` on a socket of its own, in memory alone: stopped, it has forgotten everything."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._socket = folder / "redis.sock"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"unix://{self._socket}"

    def client(self) -> redis.Redis:
        """Close it after use."""
        return redis.Redis.from_url(self.url, decode_responses=True)

    def start(self) -> None:
        """Return once it answers."""
        self._process = subprocess.Popen(
            ["redis-server", "--port", "0", "--unixsocket", str(self._socket), "--save", "", "--appendonly", "no"],
            cwd=self._folder,
            stdout=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                with self.client() as client:
                    client.ping()
                return
            except redis.ConnectionError:
                assert time.monotonic() < deadline, "redis-server does not answer"
                time.sleep(0.02)

    def stop(self) -> None:
        """End it; idempotent."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(START_SECONDS)
            self._process = None

    def settle(self) -> None:
        """Let nodes take each other for known: no waiting for those that may still live."""
        with self.client() as client:
            client.hset("{visavis}:state", "alive", str(2**52))


@contextmanager
def redis_server() -> Iterator[RedisServer]:
    """A running one; the test is skipped where it is not installed."""
    if shutil.which("redis-server") is None:
        pytest.skip("redis-server is not installed (on Debian: apt-get install redis-server)")
    with tempfile.TemporaryDirectory(prefix="redis-") as folder:
        server = RedisServer(Path(folder))
        try:
            server.start()
            yield server
        finally:
            server.stop()


class Nodes:
    """Running nodes by name. `calls["a"]` is the node `a` and clients for it."""

    def __init__(self, server: RedisServer) -> None:
        self.redis = server
        self.calls: dict[str, Call] = {}

    def address(self, name: str) -> str:
        return self.calls[name].parts.settings.node_address

    def token(self, room: str = "lobby", **options: Any) -> str:
        """Good at every node: they share the key."""
        return next(iter(self.calls.values())).token(room, **options)


@asynccontextmanager
async def running_nodes(*names: str, limit: float = 60.0, path: str = "", **settings: Any) -> AsyncIterator[Nodes]:
    """Nodes that know each other, with fake publications; nothing may be left of them afterwards.

    path: below which each is reached beside its root, as behind one proxy; `{name}` in it is the node's
    """
    before = resources()
    with redis_server() as server:
        server.settle()
        async with AsyncExitStack() as stack:
            nodes = Nodes(server)
            for name in names:
                port = unused_port()
                own = {
                    "redis_url": server.url,
                    "node_name": name,
                    "node_address": f"http://127.0.0.1:{port}{path.format(name=name)}",
                    "gone_seconds": 60.0,
                }
                application = build_app(Settings(**KEY | own | settings), FakePublication)
                client = await stack.enter_async_context(TestClient(TestServer(application, port=port)))
                nodes.calls[name] = Call(client, application[PARTS])
            for call in nodes.calls.values():
                while len(await call.parts.nodes.leases()) < len(names):
                    pass
            yield nodes
    assert not FakePublication.alive
    await assert_released(before)
