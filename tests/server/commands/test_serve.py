"""`python -m server serve` as a process: it says where it listens, drains on SIGTERM, ends with status 0; and logs."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import socket
import sys
from typing import Any

import aiohttp
import pytest

from server.logs import HumanFormatter, JsonFormatter
from server.media.aiortc_private import close_peer
from server.metrics import STAGES, Metrics
from tests.server.serving import running
from tests.server.signalling import Peer
from tests.server.signalling.test_call import publish_motion


async def stop(process: asyncio.subprocess.Process, number: int) -> list[dict[str, Any]]:
    process.send_signal(number)
    assert process.stderr is not None
    rest = [json.loads(line) for line in (await process.stderr.read()).splitlines()]
    assert await process.wait() == 0
    return rest


@pytest.mark.slow
@pytest.mark.e2e
@pytest.mark.asyncio
async def test_serve_drains_on_sigterm_and_stops_at_once_on_sigint() -> None:
    async with (
        asyncio.timeout(120),
        aiohttp.ClientSession() as http,
        running(VISAVIS_DRAIN_SECONDS="60") as (process, log, address),
    ):
        assert {"time", "level", "logger", "message"} <= set(log[0])
        assert max(entry.get("objects", 0) for entry in log) > 100_000, "the garbage collector visits what is loaded"
        async with http.get(f"{address}/api/config") as answer:
            token = (await answer.json())["token"]
        ada = Peer(await http.ws_connect(f"{address}/ws", params={"token": token}))
        assert (await ada.request("join", room="lobby", name="Ada"))["type"] == "ok"
        process.send_signal(signal.SIGTERM)
        async with http.get(f"{address}/healthz") as answer:
            assert answer.status == 200
        while True:
            async with http.get(f"{address}/readyz") as answer:
                if answer.status == 503:
                    break
        assert (await ada.request("ping", t=1))["type"] == "ok"
        closing = asyncio.create_task(stop(process, signal.SIGINT))
        assert (await ada.until(lambda m: m["type"] == "closed"))["reason"] == "shutdown"
        await ada.socket.close()
        assert (await closing)[-1]["message"] == "stopped"


@pytest.mark.slow
@pytest.mark.e2e
@pytest.mark.asyncio
async def test_taken_port_is_one_line_and_status_2() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "server", "serve", "--random-weights", "--port", str(taken.getsockname()[1])),
            stderr=asyncio.subprocess.PIPE,
        )
        async with asyncio.timeout(120):
            _, errors = await process.communicate()
    assert process.returncode == 2
    assert "cannot listen" in errors.decode().splitlines()[-1]
    assert "Traceback" not in errors.decode()


@pytest.mark.slow
@pytest.mark.e2e
@pytest.mark.asyncio
async def test_all_media_on_one_udp_port() -> None:
    """The real process, with the event loop it really uses; and a port that is taken is one line and status 2."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("", 0))
        number = free.getsockname()[1]
    async with (
        asyncio.timeout(120),
        aiohttp.ClientSession() as http,
        running(VISAVIS_UDP_PORT=str(number), VISAVIS_PUBLIC_ADDRESS="127.0.0.1") as (process, log, address),
    ):
        assert {"message": "all media on one UDP port", "port": number}.items() <= log[0].items()
        other = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "server", "serve", "--random-weights", "--port", "0"),
            stderr=asyncio.subprocess.PIPE,
            env=os.environ | {"VISAVIS_UDP_PORT": str(number)},
        )
        _, errors = await other.communicate()
        assert other.returncode == 2
        assert f"cannot use UDP port {number}" in errors.decode().splitlines()[-1]
        async with http.get(f"{address}/api/config") as answer:
            token = (await answer.json())["token"]
        ada = Peer(await http.ws_connect(f"{address}/ws", params={"token": token}))
        await ada.request("join", room="lobby", name="Ada")
        connection = await publish_motion(ada)
        async with http.get(f"{address}/metrics") as answer:
            assert "visavis_udp_connections 1.0" in await answer.text()
        await close_peer(connection)
        await ada.socket.close()
        await stop(process, signal.SIGINT)


def record(message: str, **fields: object) -> logging.LogRecord:
    made = logging.makeLogRecord({"name": "server.test", "levelno": 20, "levelname": "INFO", "msg": message})
    vars(made).update(fields)
    return made


def test_log_formats() -> None:
    entry = json.loads(JsonFormatter().format(record("joined", room="a", path=object)))
    assert (entry["level"], entry["message"], entry["room"]) == ("info", "joined", "a")
    assert entry["time"].endswith("+00:00")
    assert HumanFormatter().format(record("joined", room="a")).endswith("info    joined  room=a")


def test_metrics_are_exposed() -> None:
    metrics = Metrics()
    for stage in STAGES:
        metrics.stage(stage, 0.01)
    metrics.frame_rendered(0.02)
    metrics.frame_dropped("late")
    metrics.occupancy(1, 2, 1, 3)
    metrics.joined("page", resumed=True)
    metrics.left("silent")
    metrics.refused("protocol")
    metrics.connection_ended("timeout")
    metrics.source_enrolled(0.1)
    metrics.source_cached()
    metrics.source_refused()
    metrics.load(promised=3, capacity=4.0, cost=0.01, rate_share=1.0, overloaded=False)
    metrics.watch_nodes(lambda: True)
    metrics.watch_udp_port(lambda: 3, lambda: {"unknown": 7})
    with metrics.request("ws ping"):
        pass
    text = metrics.exposition().decode()
    assert 'visavis_stage_seconds_count{stage="total"} 1.0' in text
    assert 'visavis_frames_total{outcome="late"} 1.0' in text
    assert "visavis_participants 2.0" in text
    assert "visavis_load 0.75" in text
    assert "visavis_nodes_reachable 1.0" in text
    assert "visavis_udp_connections 3.0" in text
    assert 'visavis_udp_dropped_total{reason="unknown"} 7.0' in text
    assert 'visavis_joins_total{client="page",resumed="true"} 1.0' in text
