"""What is wrong is told before anything is loaded, and the port answers while the model loads."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from server.commands.serve import check_files
from server.errors import SettingsError
from server.settings import Settings
from tests.server.serving import starting


@pytest.fixture
def taken() -> Iterator[int]:
    """A port on which somebody listens."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        yield int(listening.getsockname()[1])


async def run(*arguments: str) -> tuple[int | None, str]:
    """Exit status and what stands on standard error."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-X", "importtime", "-m", "server", *arguments),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    try:
        async with asyncio.timeout(120):
            _, errors = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return process.returncode, errors.decode()


@pytest.mark.asyncio
@pytest.mark.parametrize("command", ["serve", "call"])
async def test_a_port_in_use_is_told_before_anything_is_loaded(command: str, taken: int) -> None:
    status, errors = await run(command, "--port", str(taken))
    assert status == 2
    assert f"port {taken}" in errors.splitlines()[-1]
    assert "model.talking_head" not in errors, "the model was imported first"


@pytest.mark.asyncio
async def test_missing_weights_are_told_before_anything_is_loaded(tmp_path: Path) -> None:
    status, errors = await run("serve", "--port", "0", "--weights", str(tmp_path / "none.safetensors"))
    assert status == 2
    assert "none.safetensors" in errors.splitlines()[-1]
    assert "model.talking_head" not in errors


def test_calls_can_begin_before_torch_is_loaded() -> None:
    program = "import sys, server.commands.serve, server.live; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True, timeout=120)


def test_a_missing_page_is_told(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="VISAVIS_CLIENT_FOLDER"):
        check_files(Settings(client_folder=tmp_path))


@pytest.mark.slow
@pytest.mark.e2e
@pytest.mark.asyncio
async def test_the_port_answers_while_the_model_loads() -> None:
    async with (
        asyncio.timeout(150),
        aiohttp.ClientSession() as http,
        starting(VISAVIS_ENGINE="torch") as process,
    ):
        assert process.stderr is not None
        log: list[dict[str, Any]] = [json.loads(await process.stderr.readline())]
        assert log[0]["message"] == "loading the model"
        address = f"http://127.0.0.1:{log[0]['port']}"
        async with http.get(f"{address}/healthz") as answer:
            assert answer.status == 200
        async with http.get(f"{address}/readyz") as answer:
            # The whole of torch and of the model is still to be loaded when the line above is written.
            assert (answer.status, (await answer.json())["status"]) == (503, "starting")
            assert answer.headers["Retry-After"]
        # Whoever joins meanwhile need not come again.
        async with http.get(f"{address}/api/config", params={"room": "lobby"}) as answer:
            token = (await answer.json())["token"]
        async with http.ws_connect(f"{address}/ws", params={"token": token}) as socket:
            await socket.send_json({"type": "join", "id": 1, "room": "lobby", "name": "Ada", "client": "page"})
            while (message := await socket.receive_json())["type"] != "ok":
                assert message["type"] == "roster"
        async with http.get(f"{address}/readyz") as answer:
            assert answer.status == 503
        while "listening on" not in log[-1]["message"]:
            log.append(json.loads(await process.stderr.readline()))
        async with http.get(f"{address}/readyz") as answer:
            assert (answer.status, (await answer.json())["status"]) == (200, "ready")


@pytest.mark.slow
@pytest.mark.e2e
@pytest.mark.asyncio
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_while_the_model_loads_ends_everything_at_once(number: signal.Signals) -> None:
    async with asyncio.timeout(150), starting(VISAVIS_ENGINE="torch") as process:
        assert process.stderr is not None
        assert json.loads(await process.stderr.readline())["message"] == "loading the model"
        process.send_signal(number)
        said = [json.loads(line)["message"] async for line in process.stderr]
        assert await process.wait() == 0
    assert not any("listening" in line for line in said)
    assert said[-1] == "stopped"
