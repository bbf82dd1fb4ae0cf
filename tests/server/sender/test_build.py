"""What a sender loads for what it sends."""

from __future__ import annotations

import asyncio
import io
import subprocess
import sys
from pathlib import Path

import pytest

from model.description import random_description, read_description
from server.sender.build import make_daemon, parse_choices
from server.sender.connection.signalling import RefusedError
from server.settings import load_settings
from tests.server.signalling import FakePublication, running_call

ROOT = Path(__file__).parents[3]

MADE = """
import asyncio, io, sys
from server.sender.build import make_daemon, parse_choices
from server.settings import load_settings

async def main():
    choices = parse_choices(server="http://localhost:1", room="r", name="n", source="portrait", kbps=25.0)
    make_daemon(choices, load_settings(random_weights=False), io.StringIO())

asyncio.run(main())
print(*sorted({name.split(".")[0] for name in sys.modules}))
"""


@pytest.mark.parametrize("package", ["torch", "openvino", "scipy"])
def test_the_sender_of_a_recording_loads_no_networks(package: str, loaded: frozenset[str]) -> None:
    assert package not in loaded


def test_the_sender_of_a_recording_loads_what_connects(loaded: frozenset[str]) -> None:
    assert {"aiortc", "numpy"} <= loaded


@pytest.mark.asyncio
async def test_a_recording_is_sent_under_the_weights_in_use() -> None:
    async with running_call() as call:
        call.parts.conference.open(FakePublication, random_description().weights_hash)
        server, token = str(call.client.make_url("")), call.token(identity="daemon")
        choices = parse_choices(server=server, room="lobby", name="Ada", source="portrait", kbps=25.0, token=token)
        daemon = make_daemon(choices, load_settings(), io.StringIO())
        with pytest.raises(RefusedError, match=read_description()[0].weights_hash[:12]):
            await asyncio.wait_for(daemon.run(), 30)


@pytest.fixture(scope="module")
def loaded() -> frozenset[str]:
    """Packages that a process has imported once its daemon for the built-in talker is made."""
    ended = subprocess.run([sys.executable, "-c", MADE], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert ended.returncode == 0, ended.stderr
    return frozenset(ended.stdout.split())
